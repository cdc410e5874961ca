use std::sync::LazyLock;

use cortex_core::Flags;
use http::HeaderName;
use opentelemetry::Context;
use opentelemetry::propagation::text_map_propagator::FieldIter;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt};

use super::convert;
use crate::propagation::{self, FieldValue, Remote, TraceState};

/// W3C Trace Context Level 2 for OpenTelemetry's SDK, by our parsers; its own knows Level 1 and is lax.
///
/// It refuses what the Recommendation refuses (wrong lengths, capitals, two `traceparent` lines), joins the lines of
/// `tracestate`, keeps members that OpenTelemetry's type cannot hold, copies the random flag, and sends no empty
/// header.
///
/// # Examples
///
/// ```
/// use cortex_trace::otel::{Propagator, opentelemetry};
/// use opentelemetry::propagation::TextMapPropagator;
/// use std::collections::HashMap;
///
/// let propagator = Propagator::new();
/// let received = HashMap::from([
///     ("traceparent".to_owned(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03".to_owned()),
///     ("tracestate".to_owned(), "a@b@c=1 , d=2".to_owned()),
/// ]);
/// let context = propagator.extract_with_context(&opentelemetry::Context::new(), &received);
/// let mut sent = HashMap::new();
/// propagator.inject_context(&context, &mut sent);
/// assert_eq!(sent["traceparent"], received["traceparent"]);
/// assert_eq!(sent["tracestate"], "a@b@c=1,d=2");
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Propagator {}

/// What was received, as a value of OpenTelemetry's context.
#[derive(Clone, Debug)]
struct Received(Remote);

impl Propagator {
    /// Makes a propagator.
    pub const fn new() -> Self {
        Self {}
    }
}

impl TextMapPropagator for Propagator {
    fn inject_context(&self, context: &Context, injector: &mut dyn Injector) {
        let span = context.span();
        let Some((ours, state)) = outgoing(span.span_context(), context.get()) else {
            return;
        };
        propagation::inject(&ours, Some(&state), &mut Sender(injector));
    }

    fn extract_with_context(&self, context: &Context, extractor: &dyn Extractor) -> Context {
        let Some(remote) = propagation::extract(&Receiver(extractor)) else {
            return context.clone();
        };
        let span = convert::from_remote(&remote);
        context
            .with_remote_span_context(span)
            .with_value(Received(remote))
    }

    fn fields(&self) -> FieldIter<'_> {
        static FIELDS: LazyLock<[String; 2]> =
            LazyLock::new(|| ["traceparent".to_owned(), "tracestate".to_owned()]);
        FieldIter::new(&*FIELDS)
    }
}

/// A carrier of theirs that is read.
struct Receiver<'a>(&'a dyn Extractor);

impl propagation::Extractor for Receiver<'_> {
    fn values<'a>(&'a self, field: &HeaderName) -> impl Iterator<Item = FieldValue<'a>> {
        let values = self.0.get_all(field.as_str()).unwrap_or_default();
        values.into_iter().map(FieldValue::from)
    }
}

/// A carrier of theirs that is written; it knows no way to take anything back.
struct Sender<'a>(&'a mut dyn Injector);

impl propagation::Injector for Sender<'_> {
    fn set(&mut self, field: &HeaderName, value: &str) {
        self.0.set(field.as_str(), value.to_owned());
    }

    fn remove(&mut self, _field: &HeaderName) {}
}

/// Returns what to send for a span, given what the trace came with.
fn outgoing(span: &SpanContext, received: Option<&Received>) -> Option<(cortex_core::Context, TraceState)> {
    let (trace, id, mut flags) = convert::ids(span)?;
    let received = received.map(|received| &received.0);
    let state = match received.filter(|received| received.trace_id() == trace) {
        None => convert::from_tracestate(span.trace_state()),
        Some(received) => {
            //= https://www.w3.org/TR/trace-context-2/#random-trace-id-flag
            //# If the flag is unset in the incoming traceparent header, it MUST also be unset in any outgoing traceparent headers which use the same trace-id.
            flags = Flags::from_wire(flags.to_wire() & Flags::SAMPLED.to_wire());
            if received.flags().contains(Flags::RANDOM) {
                flags = flags | Flags::RANDOM;
            }
            merged(received.tracestate(), span)
        }
    };
    Some((cortex_core::Context::new().with_span(trace, id, flags), state))
}

/// Returns the received `tracestate` with what the SDK has changed since, so that members which its type cannot hold
/// stay, in their place.
fn merged(received: &TraceState, span: &SpanContext) -> TraceState {
    if received.iter().eq(span.trace_state()) {
        return received.clone();
    }
    let held = convert::tracestate(received);
    if held == *span.trace_state() {
        return received.clone();
    }
    let now = convert::from_tracestate(span.trace_state());
    let mut merged = received.clone();
    for (key, _) in held.into_iter().filter(|(key, _)| now.get(key).is_none()) {
        merged = merged.without(key);
    }
    let changed: Vec<_> = now
        .iter()
        .filter(|(key, value)| received.get(key) != Some(value))
        .collect();
    for (key, value) in changed.into_iter().rev() {
        merged = merged.with(key, value).unwrap_or(merged);
    }
    merged
}
