//! The context that every request carries: made current and read, beside the two a Rust service has today. And the clock.

use std::hint::black_box;

use cortex_core::{Clock, Context, Flags, SpanId, SystemClock, TraceId, TscClock};
use criterion::Criterion;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState};

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    tracing::subscriber::set_global_default(tracing_subscriber::registry())
        .expect("nothing else in this process subscribes");
    attach(&mut criterion);
    current(&mut criterion);
    clock(&mut criterion);
    criterion.final_summary();
}

/// Makes a context that is at hand current, and brings back the one before.
fn attach(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("attach");
    let context = ours();
    group.bench_function("cortex", |b| b.iter(|| black_box(&context).attach()));
    let context = opentelemetry_context();
    group.bench_function("opentelemetry", |b| {
        b.iter(|| black_box(&context).clone().attach());
    });
    let span = tracing::info_span!("request");
    group.bench_function("tracing", |b| {
        b.iter(|| black_box(&span).clone().entered());
    });
}

/// Reads the current context: to own it, as each library's `current()` does, and only to look at its trace id.
fn current(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("current");
    let guard = ours().attach();
    group.bench_function("cortex", |b| b.iter(Context::current));
    drop(guard);
    let guard = opentelemetry_context().attach();
    group.bench_function("opentelemetry", |b| {
        b.iter(opentelemetry::Context::current);
    });
    drop(guard);
    let guard = tracing::info_span!("request").entered();
    group.bench_function("tracing", |b| b.iter(tracing::Span::current));
    drop(guard);
    group.finish();

    let mut group = criterion.benchmark_group("trace-id");
    let guard = ours().attach();
    group.bench_function("cortex", |b| b.iter(|| Context::current().trace_id()));
    drop(guard);
    let guard = opentelemetry_context().attach();
    group.bench_function("opentelemetry", |b| {
        b.iter(|| opentelemetry::Context::map_current(|context| context.span().span_context().trace_id()));
    });
    drop(guard);
}

/// Measures how long nothing takes: two readings of a clock, and what lies between them.
fn clock(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("clock");
    group.bench_function("cortex", |b| {
        b.iter(|| {
            let start = TscClock.nanos();
            TscClock.nanos().saturating_sub(start)
        });
    });
    group.bench_function("std", |b| {
        b.iter(|| {
            let start = SystemClock.now();
            SystemClock.now().saturating_duration_since(start)
        });
    });
    group.bench_function("fastant", |b| b.iter(|| fastant::Instant::now().elapsed()));
}

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;

fn ours() -> Context {
    let (trace, span) = TraceId::new(TRACE).zip(SpanId::new(SPAN)).expect("not zero");
    Context::new().with_span(trace, span, Flags::SAMPLED)
}

fn opentelemetry_context() -> opentelemetry::Context {
    opentelemetry::Context::new().with_remote_span_context(SpanContext::new(
        TRACE.into(),
        SPAN.into(),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    ))
}
