//! What becomes of finished spans: a queue and a thread per destination, and the destinations.

mod abort;
mod alarm;
#[cfg(any(feature = "bridge", feature = "logs"))]
mod complaint;
mod completion;
#[cfg(feature = "console")]
mod console;
mod environment;
mod exporter;
#[cfg(feature = "file")]
mod file;
mod memory;
#[cfg(any(feature = "file", feature = "otlp"))]
pub(crate) mod otlp_json;
mod pipeline;
mod queue;
mod queued;
mod reporter;
#[cfg(feature = "file")]
mod rotate;
mod start;
mod stats;
mod suppressed;
#[cfg(any(feature = "bridge", feature = "logs"))]
mod teller;
mod untracked;
mod waiting;
mod worker;

pub use self::abort::Abort;
pub(crate) use self::completion::Completion;
#[cfg(feature = "console")]
pub use self::console::Console;
#[cfg(all(feature = "logs", feature = "otlp"))]
pub(crate) use self::environment::BLRP;
pub(crate) use self::environment::BSP;
pub use self::exporter::Exporter;
#[cfg(feature = "file")]
pub use self::file::OtlpJsonFile;
pub use self::memory::InMemory;
pub(crate) use self::pipeline::Pipeline;
pub(crate) use self::queue::Limits;
#[cfg(all(feature = "logs", feature = "otlp"))]
pub(crate) use self::queued::Queued;
pub use self::reporter::Reporter;
pub use self::start::ExporterStart;
pub use self::stats::Stats;
#[cfg(feature = "otel")]
pub(crate) use self::suppressed::ask_sdk;
pub(crate) use self::suppressed::is_suppressed;
#[cfg(all(feature = "logs", feature = "otlp"))]
pub(crate) use self::suppressed::is_suppressed_event;
pub(crate) use self::untracked::Untracked;
pub(crate) use self::waiting::Waiting;
#[cfg(all(feature = "logs", feature = "otlp"))]
pub(crate) use self::worker::Consumer;
