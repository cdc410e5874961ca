//! Sends spans and log records to OpenTelemetry collectors: what is sent, how it gets there, and what comes back.
//!
//! <https://opentelemetry.io/docs/specs/otlp/>

mod answer;
mod answer_json;
mod backoff;
mod channel;
mod encode;
mod env;
mod error;
mod exporter;
mod grpc;
#[cfg(feature = "logs")]
mod logs;
mod sender;
mod settings;
#[cfg(feature = "tls")]
mod tls;
mod tls_problem;
mod transport;
mod wire;

pub use self::error::{OtlpError, OtlpErrorKind};
pub use self::exporter::Otlp;
#[cfg(feature = "logs")]
pub use self::logs::{OtlpLogs, OtlpLogsBuilder};
pub use self::tls_problem::TlsProblem;
