use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write};
use std::time::SystemTime;

use cortex_core::Context;
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

use crate::export::Queued;
use crate::log_crate::{LOG_TARGET, is_log_crate};
use crate::redact::{Hide, Redact};
use crate::span::{Attribute, TEXT, Value, put};
use crate::tail::size;

/// An event of `tracing` on its way to a collector.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) time: SystemTime,
    pub(super) level: Level,
    pub(super) target: Cow<'static, str>,
    /// The field `message`.
    pub(super) body: Option<Value>,
    pub(super) attributes: Vec<Attribute>,
    pub(super) dropped_attributes: u32,
    /// Whose trace it is part of.
    pub(super) context: Context,
    /// A record of the `log` crate: its fields `log.*` say where it is from.
    is_log_crate: bool,
}

impl Record {
    /// Reads an event, with the bounds that events of spans have.
    pub(super) fn new(event: &Event<'_>, time: SystemTime, context: Context, redact: &Redact) -> Self {
        let metadata = event.metadata();
        let mut record = Self {
            time,
            level: *metadata.level(),
            target: Cow::Borrowed(metadata.target()),
            body: None,
            attributes: Vec::new(),
            dropped_attributes: 0,
            context,
            is_log_crate: is_log_crate(metadata),
        };
        event.record(&mut Hide::new(redact, &mut record));
        record
    }

    /// Returns the number and the name of the severity.
    pub(super) fn severity(&self) -> (u64, &'static str) {
        match self.level {
            Level::TRACE => (1, "TRACE"),
            Level::DEBUG => (5, "DEBUG"),
            Level::INFO => (9, "INFO"),
            Level::WARN => (13, "WARN"),
            Level::ERROR => (17, "ERROR"),
        }
    }

    fn set(&mut self, field: &Field, value: Value) {
        let key = match field.name() {
            // Where in the code, by the semantic conventions.
            "log.file" if self.is_log_crate => "code.file.path",
            "log.line" if self.is_log_crate => "code.line.number",
            "log.module_path" if self.is_log_crate => return, // the target says as much
            name => name,
        };
        let attribute = Attribute {
            key: Cow::Borrowed(key),
            value,
        };
        match field.name() {
            "message" => {
                let mut body = Vec::new(); // cut as attributes are
                put(&mut body, attribute);
                self.body = body.pop().map(|body| body.value);
            }
            LOG_TARGET if self.is_log_crate => self.target = Cow::Owned(attribute.value.to_string()),
            _ => {
                let dropped = put(&mut self.attributes, attribute);
                self.dropped_attributes = self.dropped_attributes.saturating_add(dropped);
            }
        }
    }

    fn set_display(&mut self, field: &Field, value: impl fmt::Display) {
        let mut text = Bounded(String::new());
        // What fails is longer than the bound, or a `Display` that gives up: what there is, is kept.
        let _ = write!(text, "{value}");
        self.set(field, Value::from(text.0));
    }
}

impl Queued for Record {
    type Item = Self;

    fn weight(&self) -> usize {
        let body = self.body.as_ref().map_or(0, size::value);
        let attributes = size::attributes(&self.attributes, self.attributes.capacity());
        size_of::<Self>() + size::text(&self.target) + body + attributes
    }

    fn item(&mut self) -> &Self {
        self
    }

    fn dispose(queued: &mut Vec<Self>) {
        queued.clear();
    }
}

impl Visit for Record {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, value.into());
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.set(field, value.into());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.set(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set_display(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.set_display(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set_display(field, format_args!("{value:?}"));
    }
}

/// Takes text up to the limit and stops whoever writes more.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = text.floor_char_boundary(TEXT - self.0.len());
        self.0.push_str(&text[..end]);
        if end < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounded_text_stops_between_two_characters() {
        let mut text = Bounded("x".repeat(TEXT - 1));
        assert!(text.write_str("").is_ok());
        assert!(text.write_str("é").is_err());
        assert!(text.write_str("yz").is_err());
        assert_eq!((text.0.len(), text.0.ends_with("xy")), (TEXT, true));
    }
}
