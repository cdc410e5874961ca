//! What a span of the `tracing` crate costs: made, entered, left and closed, with three fields.
//!
//! Beside the other bridge, and fastrace, whose spans are its own and pass no registry. Each is asked afterwards how
//! many spans it got, as one that loses spans looks fast.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cortex_core::{Context, Flags, SpanId, TraceId};
use cortex_trace::{AlwaysOn, ParentBased, Tracer};
use criterion::Criterion;
use fastrace::collector::{Config, Reporter, SpanContext as FastContext, SpanRecord};
use opentelemetry::Context as OtelContext;
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState, TracerProvider};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanData, SpanExporter};
use tracing::Dispatch;
use tracing::dispatcher::with_default;
use tracing_subscriber::layer::SubscriberExt;

use super::in_bursts;

const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
const CALLER: u64 = 0x00f0_67aa_0ba9_02b7;

type Count = Arc<AtomicU64>;

pub(crate) fn bridge(criterion: &mut Criterion) {
    let exported = Count::default();
    let tracer = ours(&exported);
    let provider = theirs(&exported);
    let with_ours = Dispatch::new(tracing_subscriber::registry().with(tracer.layer()));
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("bench"));
    let with_theirs = Dispatch::new(tracing_subscriber::registry().with(layer));
    fastrace::set_reporter(FastCount(Arc::clone(&exported)), Config::default());

    unsampled(criterion, &with_ours, &with_theirs);
    tracer.flush_blocking(AGES).expect("nothing holds it up");
    provider.force_flush().expect("nothing holds it up");
    fastrace::flush();
    assert_eq!(
        exported.load(Ordering::Relaxed),
        0,
        "an unsampled span was exported"
    );

    let mut group = criterion.benchmark_group("bridge-sampled");
    let made = Cell::new(0);
    let count = |work: fn()| {
        let made = &made;
        move || {
            work();
            made.set(made.get() + 1);
        }
    };
    let all_there = || {
        assert_eq!(
            exported.swap(0, Ordering::Relaxed),
            made.take(),
            "spans were lost"
        );
    };
    let attached = caller(Flags::SAMPLED | Flags::RECORDING).attach();
    with_default(&with_ours, || {
        let settle = || tracer.flush_blocking(AGES).expect("nothing holds it up");
        in_bursts(&mut group, "cortex", count(traced), settle);
    });
    drop(attached);
    all_there();
    let attached = their_caller(TraceFlags::SAMPLED).attach();
    with_default(&with_theirs, || {
        let settle = || provider.force_flush().expect("nothing holds it up");
        in_bursts(&mut group, "tracing-opentelemetry", count(traced), settle);
    });
    drop(attached);
    all_there();
    in_bursts(&mut group, "fastrace", count(|| fast(true)), fastrace::flush);
    all_there();
}

const AGES: Duration = Duration::from_mins(1);

/// Spans of a request whose caller decided not to sample.
fn unsampled(criterion: &mut Criterion, ours: &Dispatch, theirs: &Dispatch) {
    let mut group = criterion.benchmark_group("bridge-unsampled");
    let attached = caller(Flags::RANDOM).attach();
    with_default(ours, || group.bench_function("cortex", |b| b.iter(traced)));
    drop(attached);
    let attached = their_caller(TraceFlags::NOT_SAMPLED).attach();
    with_default(theirs, || {
        group.bench_function("tracing-opentelemetry", |b| b.iter(traced));
    });
    drop(attached);
    // No layer: what every layer comes on top of.
    let registry = Dispatch::new(tracing_subscriber::registry());
    with_default(&registry, || {
        group.bench_function("registry", |b| b.iter(traced));
    });
    group.bench_function("fastrace", |b| b.iter(|| fast(false)));
}

fn traced() {
    let span = tracing::info_span!(
        "load",
        cart = black_box(7),
        user = black_box("mallory"),
        rows = 12_u64
    );
    let _entered = span.enter();
    black_box(Context::current());
}

fn fast(sampled: bool) {
    let context = FastContext::random().sampled(sampled);
    let span = fastrace::Span::root("load", context).with_properties(|| {
        [
            ("cart", black_box(7).to_string()),
            ("user", black_box("mallory").to_owned()),
            ("rows", 12.to_string()),
        ]
    });
    let _entered = span.set_local_parent();
}

fn caller(flags: Flags) -> Context {
    let ids = TraceId::new(TRACE).zip(SpanId::new(CALLER)).expect("not zero");
    Context::new().with_span(ids.0, ids.1, flags)
}

fn their_caller(flags: TraceFlags) -> OtelContext {
    OtelContext::new().with_remote_span_context(SpanContext::new(
        TRACE.into(),
        CALLER.into(),
        flags,
        true,
        TraceState::default(),
    ))
}

fn ours(exported: &Count) -> Tracer {
    struct Counting(Count);
    impl cortex_trace::Exporter for Counting {
        fn export(&mut self, batch: &[&cortex_trace::SpanData]) -> Result<(), cortex_trace::ExportError> {
            assert!(batch.iter().all(|span| span.attributes.len() == 3));
            self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
            Ok(())
        }
    }
    Tracer::builder("bench")
        .sampler(ParentBased::root(AlwaysOn))
        .export(Counting(Arc::clone(exported)))
        .build()
        .expect("a thread can be started")
}

fn theirs(exported: &Count) -> SdkTracerProvider {
    #[derive(Debug)]
    struct Counting(Count);
    impl SpanExporter for Counting {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            assert!(batch.iter().all(|span| span.attributes.len() >= 3));
            self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
            Ok(())
        }
    }
    SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_batch_exporter(Counting(Arc::clone(exported)))
        .build()
}

struct FastCount(Count);

impl Reporter for FastCount {
    fn report(&mut self, spans: Vec<SpanRecord>) {
        assert!(spans.iter().all(|span| span.properties.len() == 3));
        self.0.fetch_add(spans.len() as u64, Ordering::Relaxed);
    }
}
