//! How much memory a finished span takes.

use std::borrow::Cow;

use crate::{Attribute, Link, SpanData, Status, Value};

/// Returns about how many bytes a span holds, itself and on the heap.
pub(crate) fn of(span: &SpanData) -> usize {
    let events = span.events.iter().map(|event| {
        size_of_val(event) + text(&event.name) + attributes(&event.attributes, event.attributes.capacity())
    });
    let links = span.links.iter().map(|link| link.tracestate.size());
    let description = match &span.status {
        Status::Error { description } => text(description),
        Status::Unset | Status::Ok => 0,
    };
    size_of::<SpanData>()
        + text(&span.name)
        + description
        + attributes(&span.attributes, span.attributes.capacity())
        + events.sum::<usize>()
        + span.tracestate.size()
        + span.links.capacity() * size_of::<Link>()
        + links.sum::<usize>()
}

/// Returns what attributes hold, in a list of this capacity.
pub(crate) fn attributes(attributes: &[Attribute], capacity: usize) -> usize {
    let texts = attributes
        .iter()
        .map(|attribute| text(&attribute.key) + value(&attribute.value));
    capacity * size_of::<Attribute>() + texts.sum::<usize>()
}

/// Returns what a value holds on the heap.
pub(crate) fn value(value: &Value) -> usize {
    match value {
        Value::Str(value) => text(value),
        _ => 0,
    }
}

/// Returns what a text holds on the heap.
#[expect(clippy::ptr_arg, reason = "only an owned text takes memory")]
pub(crate) fn text(text: &Cow<'static, str>) -> usize {
    match text {
        Cow::Borrowed(_) => 0,
        Cow::Owned(text) => text.capacity(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use cortex_core::{Flags, SpanId, TraceId};

    use super::*;
    use crate::SpanKind;
    use crate::propagation::TraceState;

    #[test]
    fn the_states_of_a_span_and_of_its_links_count() {
        let (trace_id, span_id) = (TraceId::new(1).unwrap(), SpanId::new(1).unwrap());
        let state: TraceState = format!("a={}", "x".repeat(256)).parse().unwrap();
        let mut span = SpanData {
            trace_id,
            span_id,
            parent_span_id: None,
            parent_is_remote: false,
            flags: Flags::SAMPLED,
            tracestate: TraceState::EMPTY,
            name: Cow::Borrowed("job"),
            kind: SpanKind::Internal,
            start: UNIX_EPOCH,
            end: UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes: 0,
            events: Vec::new(),
            dropped_events: 0,
            links: Vec::new(),
            dropped_links: 0,
            status: Status::Unset,
        };
        let bare = of(&span);
        assert_eq!(bare, size_of::<SpanData>());
        span.tracestate = state.clone();
        assert_eq!(of(&span), bare + 258);
        let link = Link {
            trace_id,
            span_id,
            flags: Flags::NONE,
            tracestate: state,
            is_remote: true,
        };
        span.links = vec![link; 2];
        assert_eq!(of(&span), bare + 3 * 258 + 2 * size_of::<Link>());
    }
}
