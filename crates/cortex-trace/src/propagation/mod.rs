//! Trace context on the wire: W3C Trace Context Level 2, and B3 and Jaeger for those who speak them.
//!
//! Reading: [`extract`] gives a [`Remote`], which can only start a span. Writing: [`inject`] takes the
//! [`Context`](cortex_core::Context) of the current operation, so that what goes out is never what came in. Both work on
//! HTTP headers and on whatever else can be an [`Extractor`] or an [`Injector`]; [`Environment`] is that of a process.
//!
//! [`Propagators`] are the formats that a service speaks, `traceparent` and `tracestate` unless it says so.
//!
//! Baggage goes beside the trace, and without one too: [`extract_baggage`], [`inject_baggage`], [`Baggage`].
//!
//! Trace context holds no personal data of its own, and baggage what services put there; whether strangers see them is
//! the caller's decision: inject into requests to your own services, and not into every request.

mod b3;
mod baggage;
mod canonical;
mod carrier;
mod environment;
mod headers;
mod hex;
mod jaeger;
mod propagators;
mod traceparent;
mod tracestate;

pub use self::baggage::{
    Baggage, BaggageMember, BaggageProperty, InvalidBaggage, InvalidBaggageKind, extract_baggage,
    inject_baggage,
};
pub use self::carrier::{Extractor, FieldValue, Injector};
pub use self::environment::Environment;
pub use self::headers::{Remote, extract, inject};
pub(crate) use self::propagators::Caller;
pub use self::propagators::{InvalidPropagators, Propagator, Propagators};
pub use self::tracestate::{InvalidTraceState, TraceState};
