//! Spans and logs of a whole process, set up at once.

mod builder;
mod environment;
mod error;
mod guard;
mod handle;
mod join;

pub use self::builder::TelemetryBuilder;
pub use self::error::TelemetryError;
pub use self::guard::TelemetryGuard;
pub use self::handle::Telemetry;
