//! What the fields of spans and events mean.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write};

use tracing::Metadata;
use tracing::field::{Field, Visit};

use crate::log_crate::{LOG_TARGET, is_log_crate};
use crate::span::{Attributes, TEXT};
use crate::{Attribute, SpanKind, Status, Value};

/// The fields of a span that are no attributes, and those that are.
#[derive(Debug, Default)]
pub(crate) struct SpanFields {
    pub(crate) name: Option<String>,
    pub(crate) kind: Option<SpanKind>,
    pub(crate) code: Option<Code>,
    pub(crate) description: Option<String>,
    pub(crate) attributes: Attributes,
}

/// The value of `otel.status_code`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Unset,
    Ok,
    Error,
}

impl SpanFields {
    /// Makes room for so many fields in a list that has none.
    pub(super) fn in_list(list: Vec<Attribute>, fields: usize) -> Self {
        Self {
            attributes: Attributes::in_list(list, fields),
            ..Self::default()
        }
    }

    pub(crate) const fn has_status(&self) -> bool {
        self.code.is_some() || self.description.is_some()
    }

    /// Returns the status that a span of status `old` has with these fields: `Ok` stays.
    pub(crate) fn status(&mut self, old: Status) -> Status {
        match (self.code, self.description.take()) {
            _ if old == Status::Ok => old,
            (Some(Code::Ok), _) => Status::Ok,
            (Some(Code::Unset), None) => Status::Unset,
            (Some(Code::Unset | Code::Error) | None, Some(description)) => Status::Error {
                description: description.into(),
            },
            (Some(Code::Error), None) if !old.is_error() => Status::Error {
                description: Cow::Borrowed(""),
            },
            (Some(Code::Error) | None, None) => old,
        }
    }

    fn text(&mut self, field: &Field, text: impl Text) {
        match field.name() {
            "otel.name" => self.name = Some(text.into_string()),
            "otel.kind" => self.kind = kind(&text.into_string()),
            "otel.status_code" => self.code = Some(code(&text.into_string())),
            "otel.status_description" | "otel.status_message" => self.description = Some(text.into_string()),
            name => self.attributes.set(name, text.into_string()),
        }
    }
}

impl Visit for SpanFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.attributes.set(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.attributes.set(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.attributes.set(field.name(), value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.attributes.set(field.name(), value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.attributes.set(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.attributes.set(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let message = formatted(format_args!("{value}"));
        exception(&mut self.attributes, &message, value);
        self.attributes.set(field.name(), message);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

/// The fields that are needed before it is decided whether a span is recorded.
#[derive(Clone, Debug, Default)]
pub(super) struct Early {
    pub(super) name: Option<String>,
    pub(super) kind: Option<SpanKind>,
    /// Samplers with a budget divide it among routes.
    pub(super) route: Option<String>,
}

impl Early {
    /// Says whether a span of this callsite may have such fields.
    pub(super) fn has_fields(metadata: &Metadata<'_>) -> bool {
        metadata
            .fields()
            .iter()
            .any(|field| matches!(field.name(), "otel.name" | "otel.kind" | "http.route"))
    }

    fn text(&mut self, field: &Field, text: impl Text) {
        match field.name() {
            "otel.name" => self.name = Some(text.into_string()),
            "otel.kind" => self.kind = kind(&text.into_string()),
            "http.route" => self.route = Some(text.into_string()),
            _ => {}
        }
    }
}

impl Visit for Early {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

/// The fields of an event.
#[derive(Debug, Default)]
pub(crate) struct EventFields {
    pub(crate) message: Option<String>,
    /// The text of the field `error`, if there is no message: what `#[instrument(err)]` makes.
    pub(crate) error: Option<String>,
    /// Of the errors among the values, for the span.
    pub(crate) exception: Attributes,
    pub(crate) attributes: Attributes,
    /// A record of the `log` crate: its fields `log.*` say where it is from.
    is_log_crate: bool,
}

impl EventFields {
    pub(super) fn new(metadata: &'static Metadata<'static>) -> Self {
        let mut fields = Self {
            attributes: Attributes::in_list(Vec::new(), metadata.fields().len() + 2),
            is_log_crate: is_log_crate(metadata),
            ..Self::default()
        };
        fields
            .attributes
            .set("level", Value::constant(metadata.level().as_str()));
        fields
            .attributes
            .set("target", Value::constant(metadata.target()));
        fields
    }

    /// Gives the event its name, by its fields.
    pub(super) fn name(&mut self, metadata: &'static Metadata<'static>) -> Cow<'static, str> {
        match (self.message.take(), &self.error) {
            (Some(message), _) => {
                if let Some(error) = self.error.take() {
                    self.attributes.set("error", error);
                }
                message.into()
            }
            (None, Some(error)) => {
                self.attributes.set("exception.message", error.clone());
                Cow::Borrowed("exception")
            }
            // Unless somebody named it, the file and the line.
            (None, None) if metadata.name().starts_with("event ") => Cow::Borrowed("event"),
            (None, None) => Cow::Borrowed(metadata.name()),
        }
    }

    fn value(&mut self, field: &Field, value: impl Into<Value>) {
        match field.name() {
            "message" => self.message = Some(value.into().to_string()),
            name if self.is_log_crate && name.starts_with("log.") => {}
            name => self.attributes.set(name, value),
        }
    }

    fn text(&mut self, field: &Field, text: impl Text) {
        match field.name() {
            "message" => self.message = Some(text.into_string()),
            "error" => self.error = Some(text.into_string()),
            LOG_TARGET if self.is_log_crate => self.attributes.set("target", text.into_string()),
            name if self.is_log_crate && name.starts_with("log.") => {}
            name => self.attributes.set(name, text.into_string()),
        }
    }
}

impl Visit for EventFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.value(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.value(field, value);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.value(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let message = formatted(format_args!("{value}"));
        exception(&mut self.attributes, &message, value);
        exception(&mut self.exception, &message, value);
        match field.name() {
            "error" => self.error = Some(message),
            name => self.attributes.set(name, message),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

/// Says what an error is, and under `exception.stacktrace` what caused it, one cause a line.
fn exception(attributes: &mut Attributes, message: &str, error: &(dyn Error + 'static)) {
    attributes.set("exception.message", message.to_owned());
    let mut causes = Bounded::default();
    let mut source = error.source();
    while let Some(cause) = source {
        let separator = if causes.0.is_empty() { "" } else { "\n" };
        if write!(causes, "{separator}{cause}").is_err() {
            break; // full, which also ends a chain that is a ring
        }
        source = cause.source();
    }
    if !causes.0.is_empty() {
        attributes.set("exception.stacktrace", causes.0);
    }
}

fn kind(text: &str) -> Option<SpanKind> {
    let kinds = [
        ("server", SpanKind::Server),
        ("client", SpanKind::Client),
        ("internal", SpanKind::Internal),
        ("producer", SpanKind::Producer),
        ("consumer", SpanKind::Consumer),
    ];
    let found = kinds.iter().find(|(name, _)| text.eq_ignore_ascii_case(name));
    found.map(|(_, kind)| *kind)
}

fn code(text: &str) -> Code {
    if text.eq_ignore_ascii_case("ok") {
        Code::Ok
    } else if text.eq_ignore_ascii_case("error") {
        Code::Error
    } else {
        Code::Unset
    }
}

/// A text that becomes a `String` only where one is needed.
trait Text {
    fn into_string(self) -> String;
}

impl Text for &str {
    fn into_string(self) -> String {
        self[..self.floor_char_boundary(TEXT)].to_owned()
    }
}

impl Text for fmt::Arguments<'_> {
    fn into_string(self) -> String {
        formatted(self)
    }
}

/// Formats as much as an attribute can hold, and not more: the rest of a huge value is never built.
fn formatted(arguments: fmt::Arguments<'_>) -> String {
    let mut text = Bounded::default();
    // Fails if the text is full, or in foreign code; what is there stays.
    let _ = text.write_fmt(arguments);
    text.0
}

#[derive(Debug, Default)]
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.floor_char_boundary(TEXT - self.0.len());
        self.0.push_str(&text[..fits]);
        if fits == text.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}
