//! Spans: running ones, and what is left of them.

#[cfg(feature = "bridge")]
mod attributes;
#[cfg(feature = "bridge")]
mod bridged;
mod builder;
mod data;
#[cfg(feature = "bridge")]
mod inbox;
mod local;
mod methods;
mod recording;
mod semantics;
mod server;
pub(crate) mod spare;
mod value;

#[cfg(feature = "bridge")]
pub(crate) use self::attributes::Attributes;
pub use self::builder::SpanBuilder;
pub use self::data::{Attribute, Link, SpanData, SpanEvent, SpanKind, Status};
#[cfg(feature = "bridge")]
pub(crate) use self::inbox::{Inboxes, Logged};
pub use self::local::Span;
pub(crate) use self::methods::Methods;
#[cfg(any(feature = "bridge", all(feature = "otlp", feature = "logs")))]
pub(crate) use self::recording::TEXT;
#[cfg(any(feature = "otel", all(feature = "otlp", feature = "logs")))]
pub(crate) use self::recording::put;
pub(crate) use self::recording::{Record, Recording, cut};
pub use self::server::{ServerEnd, ServerSpan, ServerStart};
pub use self::value::Value;
