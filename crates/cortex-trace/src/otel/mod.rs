//! To and from OpenTelemetry: what is written for its SDK works here, and what uses its SDK gets our propagation.
//!
//! The only place where OpenTelemetry's types are public. They are those of the versions that are re-exported here: a
//! program with two versions of OpenTelemetry compiles, and its halves do not see each other.
//!
//! | you have | you want | use |
//! |---|---|---|
//! | a `SpanExporter` | to give it our spans | [`Exporter`] |
//! | a `SpanProcessor` | to give it our spans | [`Processor`] |
//! | a `ShouldSample` | to let it decide for us | [`SamplerAdapter`] |
//! | an `SdkTracerProvider` | its spans in our exporters | [`Intake`] |
//! | an `SdkTracerProvider` | W3C Trace Context Level 2 | [`Propagator`] |
//! | a context of one side | to start a span below it on the other | [`span_context`], [`context`], [`remote`] |
//!
//! # Limits
//!
//! - OpenTelemetry's `TraceState` cannot hold all keys of Level 2; members that it refuses are left out, except by
//!   [`Propagator`], which passes them on.
//! - What is current for us is not current for OpenTelemetry, and the other way round: that would cost every span the
//!   attaching of a second context. Go from one to the other with the functions above where a call crosses over.
//! - There is no `TracerProvider` of our own: the SDK's, with an [`Intake`], does all that the interface asks for
//!   (arrays, links with attributes, times given by hand), which our spans do not.

mod convert;
mod driver;
mod exporter;
mod intake;
mod processor;
mod propagator;
mod sampler;

#[doc(no_inline)]
pub use {opentelemetry, opentelemetry_sdk};

pub use self::convert::{context, remote, resource, span_context, span_data, tracestate};
pub use self::exporter::Exporter;
pub use self::intake::Intake;
pub use self::processor::Processor;
pub use self::propagator::Propagator;
pub use self::sampler::SamplerAdapter;
