#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "bridge")]
mod bridge;
mod carrier;
mod error;
#[cfg(feature = "logs")]
mod event_context;
mod export;
mod id;
#[cfg(any(feature = "file", feature = "logs", feature = "otlp"))]
mod json;
#[cfg(feature = "tower")]
pub mod layer;
#[cfg(feature = "logs")]
mod log;
#[cfg(any(feature = "bridge", feature = "logs"))]
mod log_crate;
#[cfg(feature = "otel")]
pub mod otel;
#[cfg(feature = "otlp")]
mod otlp;
#[cfg(any(feature = "console", feature = "logs"))]
mod printable;
pub mod propagation;
mod redact;
mod sampler;
mod span;
mod tail;
#[cfg(feature = "telemetry")]
mod telemetry;
mod tracer;
mod variables;

#[cfg(feature = "bridge")]
pub use self::bridge::{SetParentError, SpanExt, TraceLayer, with_remote_parent};
pub use self::carrier::{Captured, CapturedGuard, Traced};
#[cfg(feature = "tokio")]
pub use self::carrier::{spawn_blocking_traced, spawn_traced};
pub use self::error::{BuildError, BuildErrorKind, ExportError, FlushError};
#[cfg(feature = "console")]
pub use self::export::Console;
#[cfg(feature = "file")]
pub use self::export::OtlpJsonFile;
pub use self::export::{Abort, Exporter, ExporterStart, InMemory, Reporter, Stats};
#[cfg(feature = "logs")]
pub use self::log::{
    Background, BackgroundStats, DuplicateLimit, Filter, FilterError, InstallError, JsonLogs, LogHandle,
    LogStats, TextLogs,
};
#[cfg(feature = "otlp")]
pub use self::otlp::{Otlp, OtlpError, OtlpErrorKind, TlsProblem};
#[cfg(all(feature = "otlp", feature = "logs"))]
pub use self::otlp::{OtlpLogs, OtlpLogsBuilder};
pub use self::sampler::{
    Adaptive, AlwaysOff, AlwaysOn, Decision, FollowParent, InvalidProbability, InvalidSampler,
    InvalidSamplerKind, ParentBased, Probability, RateBound, Rules, SampleParams, Sampler, SamplingIntent,
    SamplingStats, Threshold, from_env_values as sampler_from_env_values,
};
pub use self::span::{
    Attribute, Link, ServerEnd, ServerSpan, ServerStart, Span, SpanBuilder, SpanData, SpanEvent, SpanKind,
    Status, Value,
};
pub use self::tail::{Segment, Tail, TailStats};
#[cfg(feature = "telemetry")]
pub use self::telemetry::{Telemetry, TelemetryBuilder, TelemetryError, TelemetryGuard};
pub use self::tracer::{Resource, Tracer, TracerBuilder};
pub use self::variables::VariableError;
