//! What goes to the collector, as protobuf.
//!
//! <https://github.com/open-telemetry/opentelemetry-proto/tree/main/opentelemetry/proto>

use std::time::SystemTime;

use super::settings::Encoding;
use super::wire::Message;
use crate::export::otlp_json;
use crate::propagation::TraceState;
use crate::span::{Attribute, Link, SpanData, SpanEvent, SpanKind, Status, Value};
use crate::tracer::Resource;

/// What can be sent: spans or log records.
pub(super) trait Item: Sized {
    /// The path of the gRPC method.
    const METHOD: &'static str;

    /// Encodes the request that exports a batch.
    fn encode(encoding: Encoding, resource: &Resource, batch: &[&Self]) -> Vec<u8>;
}

impl Item for SpanData {
    const METHOD: &'static str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

    fn encode(encoding: Encoding, resource: &Resource, batch: &[&Self]) -> Vec<u8> {
        match encoding {
            Encoding::Json => {
                let mut line = String::new();
                otlp_json::line(&mut line, resource, batch);
                line.into_bytes()
            }
            Encoding::Protobuf => request(resource, |resource_spans| {
                resource_spans.message(2, |scope_spans| {
                    scope(scope_spans, env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
                    for span in batch {
                        scope_spans.message(2, |message| write_span(message, span));
                    }
                });
            }),
        }
    }
}

/// Writes the request around what one resource has.
pub(super) fn request(resource: &Resource, write: impl FnOnce(&mut Message<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    Message::new(&mut bytes).message(1, |of_resource| {
        of_resource.message(1, |message| attributes(message, 1, resource.attributes()));
        write(of_resource);
    });
    bytes
}

/// Writes an `InstrumentationScope`.
pub(super) fn scope(of_scope: &mut Message<'_>, name: &str, version: &str) {
    of_scope.message(1, |scope| {
        scope.text(1, name);
        scope.text(2, version);
    });
}

fn write_span(message: &mut Message<'_>, span: &SpanData) {
    message.bytes(1, &span.trace_id.get().to_be_bytes());
    message.bytes(2, &span.span_id.get().to_be_bytes());
    tracestate(message, 3, &span.tracestate);
    if let Some(parent) = span.parent_span_id {
        message.bytes(4, &parent.get().to_be_bytes());
    }
    message.text(5, &span.name);
    message.uint(6, kind(span.kind));
    message.fixed64(7, nanos(span.start));
    message.fixed64(8, nanos(span.end));
    attributes(message, 9, &span.attributes);
    message.uint(10, span.dropped_attributes.into());
    for event in &span.events {
        message.message(11, |message| write_event(message, event));
    }
    message.uint(12, span.dropped_events.into());
    for link in &span.links {
        message.message(13, |message| write_link(message, link));
    }
    message.uint(14, span.dropped_links.into());
    write_status(message, &span.status);
    message.fixed32(16, otlp_json::flags(span.flags, span.parent_is_remote));
}

fn write_event(message: &mut Message<'_>, event: &SpanEvent) {
    message.fixed64(1, nanos(event.time));
    message.text(2, &event.name);
    attributes(message, 3, &event.attributes);
    message.uint(4, event.dropped_attributes.into());
}

fn write_link(message: &mut Message<'_>, link: &Link) {
    message.bytes(1, &link.trace_id.get().to_be_bytes());
    message.bytes(2, &link.span_id.get().to_be_bytes());
    tracestate(message, 3, &link.tracestate);
    message.fixed32(6, otlp_json::flags(link.flags, link.is_remote));
}

fn write_status(message: &mut Message<'_>, status: &Status) {
    match status {
        Status::Unset => {}
        Status::Ok => message.message(15, |status| status.uint(3, 1)),
        Status::Error { description } => message.message(15, |status| {
            status.text(2, description);
            status.uint(3, 2);
        }),
    }
}

fn kind(kind: SpanKind) -> u64 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

fn tracestate(message: &mut Message<'_>, field: u32, state: &TraceState) {
    if !state.is_empty() {
        message.text(field, &state.to_string());
    }
}

/// Writes each as a `KeyValue`.
pub(super) fn attributes(message: &mut Message<'_>, field: u32, attributes: &[Attribute]) {
    for attribute in attributes {
        message.message(field, |pair| {
            pair.text(1, &attribute.key);
            value(pair, 2, &attribute.value);
        });
    }
}

/// Writes an `AnyValue`.
pub(super) fn value(message: &mut Message<'_>, field: u32, value: &Value) {
    message.message(field, |any| match value {
        Value::Str(text) => any.bytes_or_empty(1, text.as_bytes()),
        Value::Bool(value) => any.uint_or_zero(2, u64::from(*value)),
        Value::Int(value) => any.uint_or_zero(3, value.cast_unsigned()),
        Value::Float(value) => any.double(4, *value),
    });
}

/// Returns the nanoseconds since 1970, as far as they fit.
pub(super) fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
