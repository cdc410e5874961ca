//! What a span costs that the sampler has dropped, and that a tail holds until the local trace is over.
//!
//! Beside a span of the SDK that is recorded and handed to its batch processor: it has no tail, and this is what it
//! would have to do so that a collector could decide.

use std::cell::Cell;
use std::hint::black_box;
use std::time::Duration;

use cortex_core::Context;
use cortex_trace::{AlwaysOff, Span, Tail, Tracer};
use criterion::Criterion;
use opentelemetry::trace::{Span as _, TraceContextExt, Tracer as _, TracerProvider};
use opentelemetry::{Context as OtelContext, KeyValue};

use super::{in_bursts, theirs};

pub(crate) fn measure(criterion: &mut Criterion) {
    let tracer = Tracer::builder("bench")
        .sampler(AlwaysOff)
        .tail(Tail::new().keep_errors().slower_than(Duration::from_hours(1)))
        .build()
        .expect("nothing can fail");
    let provider = theirs();
    let sdk = provider.tracer("bench");
    let settle = || provider.force_flush().expect("nothing holds it up");

    // A local trace of one span: taken in, judged and given up.
    let mut group = criterion.benchmark_group("tail-root");
    let root = || with_attributes(tracer.span("load").parent(Context::new()).start());
    in_bursts(&mut group, "cortex", root, || ());
    let stats = tracer.tail_stats().expect("there is one");
    assert_eq!((stats.begun, stats.pending), (stats.discarded, 0), "{stats:?}");
    let outside = OtelContext::new();
    in_bursts(&mut group, "opentelemetry", || record(&sdk, &outside), settle);
    group.finish();

    // A span below an open one: it waits there.
    let mut group = criterion.benchmark_group("tail-child");
    let open = || tracer.span("serve").parent(Context::new()).start();
    let parent = Cell::new(Some(open()));
    let above = Cell::new(Context::new());
    let renew = || {
        drop(parent.take()); // with all that waits below it
        let next = open();
        above.set(next.context());
        parent.set(Some(next));
    };
    renew();
    let child = || with_attributes(tracer.span("load").parent(above.get()).start());
    in_bursts(&mut group, "cortex", child, renew);
    drop(parent.take());
    let stats = tracer.tail_stats().expect("there is one");
    assert_eq!(
        (stats.begun, stats.pending, stats.cut),
        (stats.discarded, 0, 0),
        "{stats:?}"
    );
    let outside = OtelContext::current_with_span(sdk.start("serve"));
    in_bursts(&mut group, "opentelemetry", || record(&sdk, &outside), settle);
    group.finish();
}

fn with_attributes(mut span: Span) {
    assert!(span.is_recording());
    span.set_attribute("cart", black_box(7));
    span.set_attribute("user", black_box("mallory"));
    span.set_attribute("rows", 12);
    span.end();
}

fn record(tracer: &opentelemetry_sdk::trace::SdkTracer, parent: &OtelContext) {
    let mut span = tracer.start_with_context("load", parent);
    assert!(span.is_recording());
    span.set_attribute(KeyValue::new("cart", black_box(7)));
    span.set_attribute(KeyValue::new("user", black_box("mallory")));
    span.set_attribute(KeyValue::new("rows", 12));
    span.end();
}
