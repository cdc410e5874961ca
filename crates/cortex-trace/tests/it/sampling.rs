//! Samplers in a tracer: what callers who promise nothing are told about.

use cortex_trace::{Adaptive, AlwaysOn, ParentBased, Probability, Sampler};
use http::HeaderMap;

use crate::support::Fixture;

/// A caller without the random flag, whose trace ids differ.
fn caller(n: u64, flags: &str, tracestate: &str) -> HeaderMap {
    let traceparent = format!("00-4bf92f3577b34da6{n:016x}-00f067aa0ba902b7-{flags}");
    let headers = [("traceparent", &*traceparent), ("tracestate", tracestate)];
    let lines = headers
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    lines.collect()
}

fn receive(fixture: &Fixture, headers: &HeaderMap) {
    let remote = cortex_trace::propagation::extract(headers).unwrap();
    let outer = fixture.tracer.span("receive").remote(remote).start();
    let inner = fixture.tracer.span("work").parent(outer.context()).start();
    drop((inner, outer));
}

fn presumed(sampler: impl Sampler + 'static, headers: &[HeaderMap]) -> u64 {
    let fixture = Fixture::with(|builder| builder.sampler(sampler));
    for headers in headers {
        receive(&fixture, headers);
    }
    fixture.tracer.sampling_stats().presumed_random
}

#[test]
fn decisions_by_ids_that_nobody_calls_random_are_counted() {
    let half = Probability::new(0.5).unwrap();
    let old: Vec<_> = (1..=10)
        .flat_map(|n| [caller(n, "00", ""), caller(n, "01", "")])
        .collect();
    assert_eq!(presumed(half, &old), 20);
    assert_eq!(presumed(Adaptive::target(1e6).max_ratio(0.5), &old), 20);
    assert_eq!(
        presumed(ParentBased::root(AlwaysOn).remote_sampled(half), &old),
        10
    );
    // Nothing is compared.
    assert_eq!(presumed(ParentBased::root(half), &old), 0);
    assert_eq!(presumed(AlwaysOn, &old), 0);
    // Somebody has promised it.
    let random = [caller(1, "03", ""), caller(2, "01", "ot=rv:123456789abcde")];
    assert_eq!(presumed(half, &random), 0);
    // Ours are random.
    let fixture = Fixture::with(|builder| builder.sampler(half));
    fixture.tracer.span("job").start().end();
    assert_eq!(fixture.tracer.sampling_stats().presumed_random, 0);
}

#[test]
fn a_sampler_of_children_presumes_as_much() {
    let half = Probability::new(0.5).unwrap();
    let sampler = ParentBased::root(AlwaysOn).local_sampled(half);
    assert_eq!(presumed(sampler, &[caller(1, "01", ""), caller(2, "03", "")]), 1);
}

#[cfg(any(feature = "bridge", feature = "logs"))]
mod warning {
    use std::fmt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tracing::field::{Field, Visit};
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::{Context, SubscriberExt};

    use super::*;

    /// Counts the warnings about this.
    #[derive(Clone, Default)]
    struct Warnings(Arc<AtomicU64>);

    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Warnings {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            event.record(&mut Message(&self.0));
        }
    }

    struct Message<'a>(&'a AtomicU64);

    impl Visit for Message<'_> {
        fn record_debug(&mut self, _: &Field, value: &dyn fmt::Debug) {
            if format!("{value:?}").contains("presumes that trace ids of callers are random") {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn once_per_tracer() {
        let warnings = Warnings::default();
        with_default(tracing_subscriber::registry().with(warnings.clone()), || {
            for tracers in 1..=2 {
                let half = Probability::new(0.5).unwrap();
                assert_eq!(presumed(half, &[caller(1, "03", "")]), 0);
                assert_eq!(warnings.0.load(Ordering::Relaxed), tracers - 1);
                assert_eq!(presumed(half, &[caller(1, "01", ""), caller(2, "01", "")]), 2);
                assert_eq!(warnings.0.load(Ordering::Relaxed), tracers);
            }
        });
    }

    #[cfg(feature = "bridge")]
    #[test]
    fn never_amid_the_work_of_a_subscriber() {
        let fixture = Fixture::with(|builder| builder.sampler(Probability::new(0.5).unwrap()));
        let warnings = Warnings::default();
        let subscriber = tracing_subscriber::registry()
            .with(fixture.tracer.layer())
            .with(warnings.clone());
        let inside = warnings.0.clone();
        with_default(subscriber, || {
            let remote = cortex_trace::propagation::extract(&caller(1, "01", "")).unwrap();
            drop(cortex_trace::with_remote_parent(remote, || {
                tracing::info_span!("GET")
            }));
            assert_eq!(fixture.tracer.sampling_stats().presumed_random, 1);
            assert_eq!(inside.load(Ordering::Relaxed), 0);
            // Who is in nobody's way tells it.
            drop(fixture.tracer.span("direct").start());
            assert_eq!(inside.load(Ordering::Relaxed), 1);
        });
    }

    #[test]
    fn not_before_somebody_listens() {
        let fixture = Fixture::with(|builder| builder.sampler(Probability::new(0.5).unwrap()));
        let warnings = Warnings::default();
        with_default(tracing::subscriber::NoSubscriber::default(), || {
            receive(&fixture, &caller(1, "01", ""));
        });
        with_default(tracing_subscriber::registry().with(warnings.clone()), || {
            receive(&fixture, &caller(2, "01", ""));
            receive(&fixture, &caller(3, "01", ""));
        });
        assert_eq!(warnings.0.load(Ordering::Relaxed), 1);
        assert_eq!(fixture.tracer.sampling_stats().presumed_random, 3);
    }
}
