#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod export;
mod id;
#[cfg(any(feature = "file", feature = "logs"))]
mod json;
#[cfg(feature = "logs")]
mod log;
pub mod propagation;
mod sampler;
mod span;
mod tracer;

pub use self::error::{BuildError, BuildErrorKind, ExportError, FlushError};
#[cfg(feature = "console")]
pub use self::export::Console;
#[cfg(feature = "file")]
pub use self::export::OtlpJsonFile;
pub use self::export::{Exporter, Stats};
#[cfg(feature = "logs")]
pub use self::log::{Filter, FilterError, InstallError, JsonLogs};
pub use self::sampler::{
    AlwaysOff, AlwaysOn, Decision, InvalidProbability, ParentBased, Probability, SampleParams, Sampler,
    Threshold,
};
pub use self::span::{
    Attribute, Link, ServerEnd, ServerSpan, ServerStart, Span, SpanBuilder, SpanData, SpanEvent, SpanKind,
    Status, Value,
};
pub use self::tracer::{Resource, Tracer, TracerBuilder};
