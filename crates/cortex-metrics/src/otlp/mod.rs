//! Pushes metrics over OTLP: what is sent, how it gets there, and the task that does it.

mod answer;
mod backoff;
mod body;
mod encode;
mod env;
mod error;
mod exporter;
mod handle;
mod inbox;
mod point;
mod pusher;
mod stats;
#[cfg(test)]
mod tests;
mod transport;
mod unit;
mod worker;

pub use self::body::OtlpBody;
pub use self::error::{OtlpError, OtlpErrorKind};
pub use self::exporter::OtlpExporter;
pub use self::handle::OtlpHandle;
pub use self::stats::OtlpStats;
