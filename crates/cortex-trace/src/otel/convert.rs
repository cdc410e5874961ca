use std::borrow::Cow;

use cortex_core::{Context, Flags, SpanId, TraceId};
use opentelemetry::trace::{self as api, SpanContext, TraceFlags};
use opentelemetry::{InstrumentationScope, Key, KeyValue};
use opentelemetry_sdk::trace as sdk;

use crate::propagation::{Remote, TraceState};
use crate::span::{cut, put};
use crate::{Attribute, Link, Resource, SpanData, SpanEvent, SpanKind, Status, Value};

/// Returns the same span as OpenTelemetry's exporters take it.
///
/// # Examples
///
/// ```
/// use cortex_trace::{ExportError, Exporter, SpanData, Tracer, otel};
/// use std::sync::mpsc;
///
/// struct Names(mpsc::Sender<String>);
///
/// impl Exporter for Names {
///     fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
///         for span in batch {
///             let theirs: otel::opentelemetry_sdk::trace::SpanData = otel::span_data(span);
///             self.0.send(theirs.name.into_owned()).map_err(ExportError::new)?;
///         }
///         Ok(())
///     }
/// }
///
/// let (sender, names) = mpsc::channel();
/// let tracer = Tracer::builder("shop").export(Names(sender)).build()?;
/// tracer.span("restock").start().end();
/// tracer.shutdown_blocking(std::time::Duration::from_secs(60))?;
/// assert_eq!(names.try_recv()?, "restock");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn span_data(span: &SpanData) -> sdk::SpanData {
    let mut events = sdk::SpanEvents::default();
    events.events = span.events.iter().map(event).collect();
    events.dropped_count = span.dropped_events;
    let mut links = sdk::SpanLinks::default();
    links.links = span.links.iter().map(link).collect();
    links.dropped_count = span.dropped_links;
    sdk::SpanData {
        span_context: SpanContext::new(
            trace_id(span.trace_id),
            span_id(span.span_id),
            TraceFlags::new(span.flags.to_wire()),
            false,
            tracestate(&span.tracestate),
        ),
        parent_span_id: span.parent_span_id.map_or(api::SpanId::INVALID, span_id),
        parent_span_is_remote: span.parent_is_remote,
        span_kind: kind(span.kind),
        name: span.name.clone(),
        start_time: span.start,
        end_time: span.end,
        attributes: key_values(&span.attributes),
        dropped_attributes_count: span.dropped_attributes,
        events,
        links,
        status: status(&span.status),
        instrumentation_scope: InstrumentationScope::builder("cortex-trace")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

/// Returns what all spans of a tracer have in common, as OpenTelemetry's exporters take it.
pub fn resource(resource: &Resource) -> opentelemetry_sdk::Resource {
    opentelemetry_sdk::Resource::builder_empty()
        .with_attributes(key_values(resource.attributes()))
        .build()
}

/// Returns a context of this process as OpenTelemetry's, to start a span of its SDK below one of ours; the invalid one
/// if there is no span in it.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Tracer, otel};
/// use cortex_trace::otel::opentelemetry::{self, trace::TraceContextExt};
///
/// let tracer = Tracer::builder("shop").build()?;
/// let ours = tracer.span("checkout").start();
/// let theirs = otel::span_context(&ours.context(), ours.tracestate());
/// let parent = opentelemetry::Context::new().with_remote_span_context(theirs); // hand it to their tracer
/// assert_eq!(
///     Some(parent.span().span_context().span_id().to_string()),
///     ours.context().span_id().map(|id| id.to_string()),
/// );
/// # Ok::<(), cortex_trace::BuildError>(())
/// ```
pub fn span_context(context: &Context, state: Option<&TraceState>) -> SpanContext {
    let (Some(trace), Some(span)) = (context.trace_id(), context.span_id()) else {
        return SpanContext::NONE;
    };
    let flags = TraceFlags::new(context.flags().to_wire());
    let state = state.map(tracestate).unwrap_or_default();
    SpanContext::new(trace_id(trace), span_id(span), flags, false, state)
}

/// Returns the context of a span that runs in this process under OpenTelemetry's SDK, to start one of ours below it;
/// `None` if it is invalid or runs elsewhere, for which there is [`remote`].
///
/// If it is sampled, the spans below it are recorded.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Tracer, otel};
/// use cortex_trace::otel::opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
/// use cortex_trace::otel::opentelemetry_sdk::trace::SdkTracerProvider;
///
/// let theirs = SdkTracerProvider::builder().build().tracer("lib").start("outer");
/// let outer = otel::context(theirs.span_context()).ok_or("invalid")?;
/// let tracer = Tracer::builder("shop").build()?;
/// let inner = tracer.span("inner").parent(outer).start();
/// assert_eq!(inner.context().trace_id(), outer.trace_id());
/// assert!(inner.is_recording());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn context(span: &SpanContext) -> Option<Context> {
    if span.is_remote() {
        return None;
    }
    let (trace, span_id, mut flags) = ids(span)?;
    if flags.contains(Flags::SAMPLED) {
        flags = flags | Flags::RECORDING;
    }
    Some(Context::new().with_span(trace, span_id, flags))
}

/// Returns a valid span context as the parent of a span that starts here; the sampler is asked.
///
/// # Examples
///
/// ```
/// use cortex_trace::otel::{self, opentelemetry::trace::SpanContext};
///
/// assert_eq!(otel::remote(&SpanContext::NONE), None);
/// ```
pub fn remote(span: &SpanContext) -> Option<Remote> {
    let (trace, span_id, flags) = ids(span)?;
    Some(Remote::new(
        trace,
        span_id,
        flags,
        from_tracestate(span.trace_state()),
    ))
}

/// Returns a caller elsewhere as OpenTelemetry's context of it.
pub(super) fn from_remote(remote: &Remote) -> SpanContext {
    SpanContext::new(
        trace_id(remote.trace_id()),
        span_id(remote.span_id()),
        TraceFlags::new(remote.flags().to_wire()),
        true,
        tracestate(remote.tracestate()),
    )
}

/// Returns the members that OpenTelemetry's type can hold, in their order.
///
/// # Examples
///
/// ```
/// use cortex_trace::{otel, propagation::TraceState};
///
/// let ours: TraceState = "a=1,a@b@c=2,b=3".parse()?; // Level 1 has one `@` at most
/// assert_eq!(otel::tracestate(&ours).header(), "a=1,b=3");
/// # Ok::<(), cortex_trace::propagation::InvalidTraceState>(())
/// ```
pub fn tracestate(state: &TraceState) -> api::TraceState {
    api::TraceState::from_key_value(state.iter()).unwrap_or_else(|_| {
        let held = state
            .iter()
            .filter(|member| api::TraceState::from_key_value([*member]).is_ok());
        api::TraceState::from_key_value(held).unwrap_or_default()
    })
}

/// Returns the members that are valid: OpenTelemetry's type takes empty values and control characters, too.
pub(super) fn from_tracestate(state: &api::TraceState) -> TraceState {
    let members: Vec<_> = state.into_iter().collect();
    let mut ours = TraceState::EMPTY;
    for (key, value) in members.into_iter().rev() {
        if let Ok(more) = ours.with(key, value) {
            ours = more;
        }
    }
    ours
}

/// Returns a span of OpenTelemetry's SDK as one of ours; `None` if it has no ids.
pub(super) fn from_span_data(span: sdk::SpanData) -> Option<SpanData> {
    let (trace, id, flags) = ids(&span.span_context)?;
    let (attributes, dropped_attributes) = from_key_values(span.attributes, span.dropped_attributes_count);
    Some(SpanData {
        trace_id: trace,
        span_id: id,
        parent_span_id: SpanId::new(u64::from_be_bytes(span.parent_span_id.to_bytes())),
        parent_is_remote: span.parent_span_is_remote,
        flags: flags | Flags::RECORDING,
        tracestate: from_tracestate(span.span_context.trace_state()),
        name: cut(span.name),
        kind: from_kind(&span.span_kind),
        start: span.start_time,
        end: span.end_time.max(span.start_time),
        attributes,
        dropped_attributes,
        dropped_events: span.events.dropped_count,
        events: span.events.into_iter().map(from_event).collect(),
        dropped_links: span.links.dropped_count,
        links: span.links.iter().filter_map(from_link).collect(),
        status: from_status(span.status),
    })
}

pub(super) fn ids(span: &SpanContext) -> Option<(TraceId, SpanId, Flags)> {
    let trace = TraceId::new(u128::from_be_bytes(span.trace_id().to_bytes()))?;
    let id = SpanId::new(u64::from_be_bytes(span.span_id().to_bytes()))?;
    Some((trace, id, Flags::from_wire(span.trace_flags().to_u8())))
}

pub(super) fn trace_id(id: TraceId) -> api::TraceId {
    api::TraceId::from_bytes(id.get().to_be_bytes())
}

fn span_id(id: SpanId) -> api::SpanId {
    api::SpanId::from_bytes(id.get().to_be_bytes())
}

pub(super) fn kind(kind: SpanKind) -> api::SpanKind {
    match kind {
        SpanKind::Internal => api::SpanKind::Internal,
        SpanKind::Server => api::SpanKind::Server,
        SpanKind::Client => api::SpanKind::Client,
        SpanKind::Producer => api::SpanKind::Producer,
        SpanKind::Consumer => api::SpanKind::Consumer,
    }
}

fn from_kind(kind: &api::SpanKind) -> SpanKind {
    match kind {
        api::SpanKind::Internal => SpanKind::Internal,
        api::SpanKind::Server => SpanKind::Server,
        api::SpanKind::Client => SpanKind::Client,
        api::SpanKind::Producer => SpanKind::Producer,
        api::SpanKind::Consumer => SpanKind::Consumer,
    }
}

fn status(status: &Status) -> api::Status {
    match status {
        Status::Unset => api::Status::Unset,
        Status::Ok => api::Status::Ok,
        Status::Error { description } => api::Status::Error {
            description: description.clone(),
        },
    }
}

fn from_status(status: api::Status) -> Status {
    match status {
        api::Status::Unset => Status::Unset,
        api::Status::Ok => Status::Ok,
        api::Status::Error { description } => Status::Error {
            description: cut(description),
        },
    }
}

fn event(event: &SpanEvent) -> api::Event {
    api::Event::new(
        event.name.clone(),
        event.time,
        key_values(&event.attributes),
        event.dropped_attributes,
    )
}

fn from_event(event: api::Event) -> SpanEvent {
    let (attributes, dropped_attributes) = from_key_values(event.attributes, event.dropped_attributes_count);
    SpanEvent {
        name: cut(event.name),
        time: event.timestamp,
        attributes,
        dropped_attributes,
    }
}

fn link(link: &Link) -> api::Link {
    let flags = TraceFlags::new(link.flags.to_wire());
    let state = tracestate(&link.tracestate);
    let (trace, span) = (trace_id(link.trace_id), span_id(link.span_id));
    api::Link::with_context(SpanContext::new(trace, span, flags, link.is_remote, state))
}

fn from_link(link: &api::Link) -> Option<Link> {
    let (trace_id, span_id, flags) = ids(&link.span_context)?;
    Some(Link {
        trace_id,
        span_id,
        flags,
        tracestate: from_tracestate(link.span_context.trace_state()),
        is_remote: link.span_context.is_remote(),
    })
}

fn key_values(attributes: &[Attribute]) -> Vec<KeyValue> {
    let pair =
        |attribute: &Attribute| KeyValue::new(Key::from(attribute.key.clone()), value(&attribute.value));
    attributes.iter().map(pair).collect()
}

fn value(value: &Value) -> opentelemetry::Value {
    match value {
        Value::Bool(value) => opentelemetry::Value::Bool(*value),
        Value::Int(value) => opentelemetry::Value::I64(*value),
        Value::Float(value) => opentelemetry::Value::F64(*value),
        Value::Str(value) => opentelemetry::Value::String(value.clone().into()),
    }
}

/// Makes keys unique, which the SDK does not: the last value counts. Returns also how many attributes were dropped, by
/// the SDK or because there are more than a span of ours has.
fn from_key_values(pairs: Vec<KeyValue>, mut dropped: u32) -> (Vec<Attribute>, u32) {
    let mut attributes = Vec::new();
    for pair in pairs {
        let attribute = Attribute {
            key: Cow::Owned(pair.key.into()),
            value: from_value(pair.value),
        };
        dropped = dropped.saturating_add(put(&mut attributes, attribute));
    }
    (attributes, dropped)
}

/// Writes an array as text, because ours has none.
fn from_value(value: opentelemetry::Value) -> Value {
    match value {
        opentelemetry::Value::Bool(value) => Value::Bool(value),
        opentelemetry::Value::I64(value) => Value::Int(value),
        opentelemetry::Value::F64(value) => Value::Float(value),
        opentelemetry::Value::String(value) => Value::Str(Cow::Owned(value.into())),
        other => Value::Str(Cow::Owned(other.to_string())),
    }
}
