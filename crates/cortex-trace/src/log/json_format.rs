use std::fmt::{self, Write};

use cortex_core::Context;
use tracing::Level;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::bounded::Bounded;
use super::format::Format;
use super::kept::Kept;
use super::plan::Kind;
use super::scratch::Ids;
use crate::json;

/// One JSON object per line.
#[derive(Clone, Debug)]
pub(super) struct JsonFormat;

impl Format for JsonFormat {
    const TAKEN_IN_EVENT: &'static [&'static str] = &[
        "timestamp",
        "level",
        "target",
        "trace_id",
        "span_id",
        "trace_flags",
        "span",
        "fields",
    ];
    const TAKEN_IN_SPAN: &'static [&'static str] = &["name", "fields"];
    const KEYS_ARE_UNIQUE: bool = true;
    const MESSAGE_FIRST: bool = false;

    fn open(&self, out: &mut String) {
        out.push_str("{\"timestamp\":\"");
    }

    fn head(&self, out: &mut String, level: Level, target: &str) {
        out.push_str("\",\"level\":\"");
        out.push_str(level.as_str());
        out.push_str("\",\"target\":");
        json::string(out, target);
    }

    fn key(&self, out: &mut String, name: &str, _: Kind) {
        out.push(',');
        json::string(out, name);
        out.push(':');
    }

    fn message(&self, out: &mut String, message: impl fmt::Display) {
        self.formatted(out, message);
    }

    fn string(&self, out: &mut String, value: &str) {
        json::string(out, value);
    }

    fn formatted(&self, out: &mut String, value: impl fmt::Display) {
        json::written(out, |inside| write!(Bounded::new(inside), "{value}"));
    }

    fn float(&self, out: &mut String, value: f64) {
        if value.is_finite() {
            out.push_str(ryu::Buffer::new().format_finite(value));
        } else {
            out.push_str("null");
        }
    }

    fn wide(&self, out: &mut String, digits: &str) {
        json::string(out, digits); // readers would round a number
    }

    fn secret(&self, out: &mut String) {
        out.push_str("\"[redacted]\"");
    }

    fn moved(&self, out: &mut String, fields: &str) {
        out.push_str(",\"fields\":{");
        out.push_str(fields);
        out.push('}');
    }

    fn span_head(&self, out: &mut String, name: &str) {
        out.push_str(",\"span\":{\"name\":");
        json::string(out, name);
    }

    fn surroundings<'a, S: LookupSpan<'a>>(
        &self,
        out: &mut String,
        ids: &mut Ids,
        context: Context,
        span: Option<SpanRef<'a, S>>,
        layer: u64,
    ) {
        out.push_str(ids.of(context, |out| write_ids(out, context)));
        let Some(span) = span else { return };
        match span.extensions().get::<Kept>().and_then(|kept| kept.of(layer)) {
            Some(fields) => {
                out.push_str(fields.plain.whole());
                if !fields.moved.is_empty() {
                    self.moved(out, fields.moved.separated());
                }
            }
            None => self.span_head(out, span.name()),
        }
        out.push('}');
    }

    fn close(&self, out: &mut String) {
        out.push_str("}\n");
    }
}

fn write_ids(out: &mut String, context: Context) {
    let (Some(trace), Some(span)) = (context.trace_id(), context.span_id()) else {
        return;
    };
    let mut hex = |key: &str, digits: &[u8]| {
        out.push_str(key);
        out.push_str(str::from_utf8(digits).expect("invariant: hex digits are ASCII"));
    };
    hex(",\"trace_id\":\"", &trace.to_hex());
    hex("\",\"span_id\":\"", &span.to_hex());
    let flags = context.flags().to_wire(); // two bits: one digit
    hex("\",\"trace_flags\":\"0", &[b'0' + flags]);
    out.push('"');
}
