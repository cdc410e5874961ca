//! Logs over OTLP: a layer that turns events of `tracing` into records, and what sends them.

mod builder;
mod encode;
mod environment;
mod layer;
mod record;

pub use self::builder::OtlpLogsBuilder;
pub use self::layer::OtlpLogs;
