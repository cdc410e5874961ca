//! What a decision costs where a trace starts, on one thread and on two that ask the same sampler about the same route.
//!
//! Somebody has read the clock already, as servers have. The adaptive sampler's ticks are in its time: the clock moves.

use std::hint::black_box;
use std::io;
use std::time::Instant;

use cortex_bench::contend;
use cortex_core::{Clock, SystemClock, TraceId};
use cortex_trace::{Adaptive, Decision, Probability, SampleParams, Sampler, SpanKind};
use criterion::Criterion;
use opentelemetry_sdk::trace::{SamplingDecision, ShouldSample};

const SHARE: f64 = 0.1;

pub(crate) fn measure(criterion: &mut Criterion) -> io::Result<()> {
    let adaptive = Adaptive::target(1000.0).per_route();
    of(criterion, "sampler-adaptive", "cortex", |traces| {
        decide(&adaptive, traces)
    })?;
    // It keeps its budget: next to nothing of many millions of traces, were it not for a filter that leaves it out.
    let ratio = adaptive.ratio(ROUTE);
    assert!(ratio < 0.1, "{ratio}");
    let uniform = Adaptive::target(1000.0);
    of(criterion, "sampler-adaptive-uniform", "cortex", |traces| {
        decide(&uniform, traces)
    })?;

    let ratio = Probability::new(SHARE).expect("it is a probability");
    of(criterion, "sampler-ratio", "cortex", |traces| {
        decide(&ratio, traces)
    })?;
    let theirs = opentelemetry_sdk::trace::Sampler::TraceIdRatioBased(SHARE);
    of(criterion, "sampler-ratio", "opentelemetry", |traces| {
        let id = traces.next().into();
        let kind = opentelemetry::trace::SpanKind::Server;
        let result = theirs.should_sample(None, id, black_box("GET"), &kind, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    })
}

const ROUTE: &str = "/products/{id}";

fn decide(sampler: &impl Sampler, traces: &mut Traces) -> bool {
    let id = TraceId::new(traces.next()).expect("its upper half is not zero");
    let params = SampleParams::new(id, black_box("GET"), SpanKind::Server);
    params.route(black_box(ROUTE)).start(traces.now).decide(sampler) != Decision::Drop
}

fn of(
    criterion: &mut Criterion,
    operation: &str,
    library: &str,
    decide: impl Fn(&mut Traces) -> bool + Sync,
) -> io::Result<()> {
    for (threads, suffix) in [(1, ""), (2, "-2t")] {
        let worker = |thread| {
            let (decide, mut traces) = (&decide, Traces::new(thread));
            move || {
                black_box(decide(&mut traces));
            }
        };
        contend(threads, worker, |team| {
            let mut group = criterion.benchmark_group(format!("{operation}{suffix}"));
            group.bench_function(library, |bencher| {
                bencher.iter_custom(|iterations| team.measure(iterations));
            });
            group.finish();
        })?;
    }
    Ok(())
}

/// Traces that start one after the other.
struct Traces {
    number: u64,
    now: Instant,
}

impl Traces {
    fn new(thread: usize) -> Self {
        Self {
            number: (thread as u64) << 56,
            now: SystemClock.now(),
        }
    }

    fn next(&mut self) -> u128 {
        self.number += 1;
        if self.number.is_multiple_of(1024) {
            self.now = SystemClock.now();
        }
        // Multiples of an odd constant visit the bits of the lower half evenly.
        1 << 100 | u128::from(self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}
