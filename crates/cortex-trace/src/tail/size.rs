//! How much memory a finished span takes.

use std::borrow::Cow;

use crate::{Attribute, SpanData, Status, Value};

/// Returns about how many bytes a span holds, itself and on the heap.
pub(super) fn of(span: &SpanData) -> usize {
    let events = span.events.iter().map(|event| {
        size_of_val(event) + text(&event.name) + attributes(&event.attributes, event.attributes.capacity())
    });
    let description = match &span.status {
        Status::Error { description } => text(description),
        Status::Unset | Status::Ok => 0,
    };
    size_of::<SpanData>()
        + text(&span.name)
        + description
        + attributes(&span.attributes, span.attributes.capacity())
        + events.sum::<usize>()
        + span.links.capacity() * size_of::<crate::Link>()
}

fn attributes(attributes: &[Attribute], capacity: usize) -> usize {
    let texts = attributes.iter().map(|attribute| {
        let value = match &attribute.value {
            Value::Str(value) => text(value),
            _ => 0,
        };
        text(&attribute.key) + value
    });
    capacity * size_of::<Attribute>() + texts.sum::<usize>()
}

#[expect(clippy::ptr_arg, reason = "only an owned text takes memory")]
fn text(text: &Cow<'static, str>) -> usize {
    match text {
        Cow::Borrowed(_) => 0,
        Cow::Owned(text) => text.capacity(),
    }
}
