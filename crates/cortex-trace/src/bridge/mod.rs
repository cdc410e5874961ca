//! The bridge from the `tracing` crate: its spans become spans of a [`Tracer`](crate::Tracer).

mod current;
mod error;
mod fields;
mod layer;
#[cfg(all(test, cortex_loom))]
mod model;
mod remote;
mod span_ext;
mod spans;
pub(crate) mod sync;

pub use self::error::SetParentError;
pub(crate) use self::fields::{EventFields, SpanFields};
pub use self::layer::TraceLayer;
pub use self::remote::with_remote_parent;
pub use self::span_ext::SpanExt;
