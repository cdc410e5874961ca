//! Spans made inside of others, by a subscriber of the whole process: while any thread has a scoped one, `tracing` hides
//! subscribers from what they call, so this needs a process of its own.

use std::fmt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cortex_core::{Flags, SpanId, TraceId};
use cortex_trace::propagation::{Remote, TraceState};
use cortex_trace::{InMemory, Probability, SpanExt, Tracer, with_remote_parent};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Subscriber, info, info_span};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Runs a test of this file in a process of its own.
fn alone(test: &str, work: fn()) {
    const ALONE: &str = "CORTEX_TRACE_TEST_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return work();
    }
    let test = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
    let mut child = Command::new(std::env::current_exe().unwrap());
    let output = child.args(["--exact", &test]).env(ALONE, "1").output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[test]
fn a_value_may_make_spans_itself() {
    alone("a_value_may_make_spans_itself", make_spans_inside_of_spans);
}

#[test]
fn a_warning_does_not_disturb_the_filters_of_other_layers() {
    alone(
        "a_warning_does_not_disturb_the_filters_of_other_layers",
        presume_beside_a_filtered_layer,
    );
}

/// The filter of a layer notes in a place of the thread what it has decided about a span, until all layers had that.
fn presume_beside_a_filtered_layer() {
    #[derive(Clone, Default)]
    struct Spans(Arc<AtomicU64>);
    impl<S: Subscriber> Layer<S> for Spans {
        fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let tracer = Tracer::builder("shop").sampler(Probability::new(0.5).unwrap());
    let (tracer, hidden) = (tracer.build().unwrap(), Spans::default());
    let filtered = hidden.clone().with_filter(LevelFilter::WARN);
    let subscriber = tracing_subscriber::registry().with(tracer.layer()).with(filtered);
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let ids = TraceId::new(7).zip(SpanId::new(8)).unwrap();
    let caller = Remote::new(ids.0, ids.1, Flags::SAMPLED, TraceState::EMPTY);
    drop(with_remote_parent(caller, || info_span!("GET")));
    assert_eq!(tracer.sampling_stats().presumed_random, 1);
    assert_eq!(hidden.0.load(Ordering::Relaxed), 0);
}

fn make_spans_inside_of_spans() {
    struct Chatty;
    impl fmt::Debug for Chatty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let span = info_span!("inside");
            span.in_scope(|| info!("inside"));
            f.write_str(if span.context().span_id().is_some() {
                "seen"
            } else {
                "hidden"
            })
        }
    }
    let memory = InMemory::new();
    let tracer = Tracer::builder("shop").export(memory.clone()).build().unwrap();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(tracer.layer())).unwrap();
    let work = || {
        let span = info_span!("outside", a = ?Chatty, b = tracing::field::Empty);
        span.record("b", tracing::field::debug(Chatty));
        span.in_scope(|| info!(c = ?Chatty, "outside"));
    };
    std::thread::spawn(work).join().unwrap();
    tracer.shutdown_blocking(Duration::from_mins(2)).unwrap();
    let spans = memory.take();
    let outside: Vec<_> = spans.iter().filter(|span| span.name == "outside").collect();
    assert_eq!((spans.len(), outside.len()), (4, 1));
    let seen = Some(&"seen".into());
    assert_eq!(
        (outside[0].attribute("a"), outside[0].attribute("b")),
        (seen, seen)
    );
    assert_eq!(outside[0].events.len(), 1);
}
