//! The OTLP/JSON encoding of finished spans and log records: protobuf's JSON mapping with ids in hex, as OTLP 1.x defines it.

use std::time::SystemTime;

use cortex_core::Flags;

use crate::json;
use crate::propagation::TraceState;
use crate::{Attribute, Resource, SpanData, SpanKind, Status, Value};

/// Bits of `Span.flags` above the byte of W3C: whether the parent's remoteness is known, and whether it is remote.
const HAS_IS_REMOTE: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;

/// Writes one line with one `resourceSpans`, and its end.
pub(crate) fn line(out: &mut String, resource: &Resource, batch: &[&SpanData]) {
    out.push_str(r#"{"resourceSpans":[{"resource":{"#);
    attributes(out, resource.attributes());
    out.push_str(r#"},"scopeSpans":[{"scope":{"name":"cortex-trace","version":""#);
    json::escape(out, env!("CARGO_PKG_VERSION"));
    out.push_str(r#""},"spans":["#);
    list(out, batch, |out, it| span(out, it));
    out.push_str("]}]}]}\n");
}

/// Returns the flags of a span or a link, where it is always known whether the other end is remote.
pub(crate) fn flags(flags: Flags, is_remote: bool) -> u32 {
    u32::from(flags.to_wire()) | HAS_IS_REMOTE | if is_remote { IS_REMOTE } else { 0 }
}

fn span(out: &mut String, span: &SpanData) {
    out.push_str(r#"{"traceId":""#);
    json::plain(out, span.trace_id);
    out.push_str(r#"","spanId":""#);
    json::plain(out, span.span_id);
    out.push('"');
    if let Some(parent) = span.parent_span_id {
        out.push_str(r#","parentSpanId":""#);
        json::plain(out, parent);
        out.push('"');
    }
    tracestate(out, &span.tracestate);
    out.push_str(r#","flags":"#);
    json::plain(out, flags(span.flags, span.parent_is_remote));
    out.push_str(r#","name":"#);
    json::string(out, &span.name);
    out.push_str(r#","kind":"#);
    out.push(kind(span.kind));
    time(out, "startTimeUnixNano", span.start);
    time(out, "endTimeUnixNano", span.end);
    if !span.attributes.is_empty() {
        out.push(',');
        attributes(out, &span.attributes);
    }
    count(out, "droppedAttributesCount", span.dropped_attributes);
    if !span.events.is_empty() {
        out.push_str(r#","events":["#);
        list(out, &span.events, |out, event| {
            out.push_str(r#"{"name":"#);
            json::string(out, &event.name);
            time(out, "timeUnixNano", event.time);
            if !event.attributes.is_empty() {
                out.push(',');
                attributes(out, &event.attributes);
            }
            count(out, "droppedAttributesCount", event.dropped_attributes);
            out.push('}');
        });
        out.push(']');
    }
    count(out, "droppedEventsCount", span.dropped_events);
    if !span.links.is_empty() {
        out.push_str(r#","links":["#);
        list(out, &span.links, |out, link| {
            out.push_str(r#"{"traceId":""#);
            json::plain(out, link.trace_id);
            out.push_str(r#"","spanId":""#);
            json::plain(out, link.span_id);
            out.push('"');
            tracestate(out, &link.tracestate);
            out.push_str(r#","flags":"#);
            json::plain(out, flags(link.flags, link.is_remote));
            out.push('}');
        });
        out.push(']');
    }
    count(out, "droppedLinksCount", span.dropped_links);
    status(out, &span.status);
    out.push('}');
}

fn kind(kind: SpanKind) -> char {
    match kind {
        SpanKind::Internal => '1',
        SpanKind::Server => '2',
        SpanKind::Client => '3',
        SpanKind::Producer => '4',
        SpanKind::Consumer => '5',
    }
}

fn status(out: &mut String, status: &Status) {
    match status {
        Status::Unset => {}
        Status::Ok => out.push_str(r#","status":{"code":1}"#),
        Status::Error { description } => {
            out.push_str(r#","status":{"code":2"#);
            if !description.is_empty() {
                out.push_str(r#","message":"#);
                json::string(out, description);
            }
            out.push('}');
        }
    }
}

fn tracestate(out: &mut String, state: &TraceState) {
    if !state.is_empty() {
        out.push_str(r#","traceState":"#);
        json::display(out, state);
    }
}

pub(crate) fn time(out: &mut String, key: &str, time: SystemTime) {
    let nanos = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    out.push_str(",\"");
    out.push_str(key);
    out.push_str("\":\"");
    json::plain(out, u64::try_from(nanos).unwrap_or(u64::MAX));
    out.push('"');
}

pub(crate) fn count(out: &mut String, key: &str, count: u32) {
    if count > 0 {
        out.push_str(",\"");
        out.push_str(key);
        out.push_str("\":");
        json::plain(out, count);
    }
}

pub(crate) fn attributes(out: &mut String, attributes: &[Attribute]) {
    out.push_str(r#""attributes":["#);
    list(out, attributes, |out, attribute| {
        out.push_str(r#"{"key":"#);
        json::string(out, &attribute.key);
        out.push_str(r#","value":{"#);
        value(out, &attribute.value);
        out.push_str("}}");
    });
    out.push(']');
}

pub(crate) fn value(out: &mut String, value: &Value) {
    match value {
        Value::Bool(value) => {
            out.push_str(r#""boolValue":"#);
            json::plain(out, value);
        }
        Value::Int(value) => {
            out.push_str(r#""intValue":""#);
            json::plain(out, value);
            out.push('"');
        }
        Value::Float(value) => {
            out.push_str(r#""doubleValue":"#);
            if !json::finite(out, *value) {
                out.push_str(match value {
                    _ if value.is_nan() => r#""NaN""#,
                    _ if value.is_sign_negative() => r#""-Infinity""#,
                    _ => r#""Infinity""#,
                });
            }
        }
        Value::Str(value) => {
            out.push_str(r#""stringValue":"#);
            json::string(out, value);
        }
    }
}

pub(crate) fn list<T>(out: &mut String, items: &[T], write: impl Fn(&mut String, &T)) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write(out, item);
    }
}
