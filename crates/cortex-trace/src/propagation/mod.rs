//! Trace context on the wire: W3C Trace Context Level 2, `traceparent` and `tracestate`.
//!
//! Reading: [`extract`] gives a [`Remote`], which can only start a span. Writing: [`inject`] takes the
//! [`Context`](cortex_core::Context) of the current operation, so that what goes out is never what came in.
//!
//! The headers hold no personal data of their own; whether strangers see them is the caller's decision: inject into
//! requests to your own services, and not into every request.

mod headers;
mod traceparent;
mod tracestate;

pub use self::headers::{Remote, extract, inject};
pub use self::tracestate::{InvalidTraceState, TraceState};
