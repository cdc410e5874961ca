//! Spans: running ones, and what is left of them.

mod builder;
mod data;
mod local;
mod recording;
mod semantics;
mod server;
mod value;

pub use self::builder::SpanBuilder;
pub use self::data::{Attribute, Link, SpanData, SpanEvent, SpanKind, Status};
pub use self::local::Span;
pub(crate) use self::recording::Recording;
#[cfg(all(feature = "otlp", feature = "logs"))]
pub(crate) use self::recording::{TEXT, put};
pub use self::server::{ServerEnd, ServerSpan, ServerStart};
pub use self::value::Value;
