//! Links of spans that are made by hand.

use std::collections::HashMap;

use cortex_trace::propagation::{self, Remote};
use cortex_trace::{AlwaysOff, Link, SpanBuilder, SpanKind, Tracer};

use crate::support::Fixture;

/// Places an order, and returns what came with the message.
fn message(tracer: &Tracer) -> Remote {
    let mut headers: HashMap<String, String> = HashMap::new();
    let span = tracer.span("place order").kind(SpanKind::Producer).start();
    span.inject(&mut headers);
    propagation::extract(&headers).unwrap()
}

#[test]
fn a_batch_of_messages_is_linked_with_its_senders() {
    let fixture = Fixture::new();
    let senders = [0; 3].map(|_| message(&fixture.tracer));
    let produced = fixture.ended();
    let links = senders.into_iter().map(Link::from);
    let span = fixture.tracer.span("process orders").kind(SpanKind::Consumer);
    let mut span = links.fold(span, SpanBuilder::link).start();
    let late = message(&fixture.tracer);
    span.add_link(late.clone().into());
    let own = Link::to(span.context()).unwrap();
    span.add_link(own.clone());
    drop(span);
    let consumed = fixture.ended().pop().unwrap();
    let linked: Vec<_> = consumed
        .links
        .iter()
        .map(|link| (link.trace_id, link.span_id))
        .collect();
    let mut expected: Vec<_> = produced
        .iter()
        .map(|span| (span.trace_id, span.span_id))
        .collect();
    expected.extend([
        (late.trace_id(), late.span_id()),
        (consumed.trace_id, consumed.span_id),
    ]);
    assert_eq!(linked, expected);
    assert!(consumed.links[..4].iter().all(|link| link.is_remote));
    assert_eq!(consumed.links[0].tracestate, produced[0].tracestate);
    assert_eq!((&consumed.links[4], consumed.dropped_links), (&own, 0));
}

#[test]
fn links_are_bounded_and_those_that_do_not_fit_are_counted() {
    let fixture = Fixture::with(cortex_trace::TracerBuilder::restart_traces);
    let sender = message(&fixture.tracer);
    fixture.ended();
    // The caller of a trace that starts anew is the first.
    let mut span = fixture.tracer.span("process").remote(sender.clone());
    for _ in 0..100 {
        span = span.link(Link::from(sender.clone()));
    }
    let mut span = span.start();
    for _ in 0..30 {
        span.add_link(Link::from(sender.clone()));
    }
    drop(span);
    let span = fixture.one();
    assert_eq!((span.links.len(), span.dropped_links), (128, 3));
}

#[test]
fn a_span_that_is_not_recorded_has_no_links() {
    let fixture = Fixture::with(|builder| builder.sampler(AlwaysOff));
    let sender = message(&fixture.tracer);
    let mut span = fixture.tracer.span("process").link(sender.clone().into()).start();
    span.add_link(sender.into());
    assert!(!span.is_recording());
    drop(span);
    assert!(fixture.ended().is_empty());
}
