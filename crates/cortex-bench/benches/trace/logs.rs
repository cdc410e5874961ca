//! A log line as JSON, beside the JSON format of `tracing-subscriber`.
//!
//! Every line has a message and two fields and goes to a sink. In a span it names it and has its three fields; ours has
//! the ids of the trace besides, which the peer does not know.

use std::cell::Cell;
use std::hint::black_box;
use std::io::{self, Write};

use cortex_core::{Context, Flags, SpanId, TraceId};
use cortex_trace::{DuplicateLimit, Filter, JsonLogs, TextLogs};
use criterion::Criterion;
use tracing::{Dispatch, info, info_span};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;

thread_local! {
    /// The lines that have arrived at the sink.
    static WRITTEN: Cell<u64> = const { Cell::new(0) };
}

struct Sink;

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        WRITTEN.set(WRITTEN.get() + 1);
        Ok(black_box(line).len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Every one behind a filter, as it would be in a service.
fn libraries() -> [(&'static str, Dispatch); 5] {
    let ours = || tracing_subscriber::registry().with(Filter::new("info").expect("it is valid"));
    let peers = || tracing_subscriber::registry().with(EnvFilter::new("info"));
    let theirs = || tracing_subscriber::fmt::layer().json().with_writer(|| Sink);
    let limit = DuplicateLimit::per_second(u32::MAX);
    let json = || JsonLogs::new(|| Sink);
    [
        ("cortex", Dispatch::new(ours().with(json()))),
        (
            "cortex-limited",
            Dispatch::new(ours().with(json().limit_duplicates(limit))),
        ),
        ("cortex-text", Dispatch::new(ours().with(TextLogs::new(|| Sink)))),
        ("tracing-subscriber", Dispatch::new(peers().with(theirs()))),
        (
            "tracing-subscriber-flat",
            Dispatch::new(peers().with(theirs().flatten_event(true))),
        ),
    ]
}

pub(crate) fn measure(criterion: &mut Criterion) {
    let ids = TraceId::new(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736).zip(SpanId::new(0x00f0_67aa_0ba9_02b7));
    let (trace, span) = ids.expect("not zero");
    let context = Context::new().with_span(trace, span, Flags::SAMPLED);
    for (name, dispatch) in libraries() {
        tracing::dispatcher::with_default(&dispatch, || {
            let _guard = context.attach();
            each(criterion, "log", name);
            let span = info_span!("checkout", cart = 7, customer = "c-1234", express = true);
            span.in_scope(|| each(criterion, "log-in-span", name));
        });
    }
}

fn each(criterion: &mut Criterion, group: &str, library: &str) {
    let events = Cell::new(0_u64);
    let started = WRITTEN.get();
    let mut group = criterion.benchmark_group(group);
    group.bench_function(library, |b| {
        b.iter(|| {
            events.set(events.get() + 1);
            info!(items = black_box(3), sku = black_box("apples"), "restocked");
        });
    });
    group.finish();
    assert_eq!(
        WRITTEN.get() - started,
        events.get(),
        "{library}: a line for every event"
    );
}
