//! A span of the `tracing` crate that is not recorded costs no allocation and reads no clock.

use std::fmt;
use std::time::{Instant, SystemTime};

use cortex_core::{Clock, Context, Flags, SpanId, TraceId};
use cortex_testkit::Usage;
use cortex_trace::{AlwaysOff, Captured, SpanExt, Tracer};
use tracing::{info, info_span};
use tracing_subscriber::layer::SubscriberExt;

use super::ALLOCATOR;

/// Fails the test that reads it.
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Instant {
        panic!("the clock was read")
    }

    fn wall(&self) -> SystemTime {
        panic!("the clock was read")
    }
}

/// Fails the test that formats it.
struct NotVisited;

impl fmt::Debug for NotVisited {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("a field was visited")
    }
}

fn work(depth: u32) {
    let span = info_span!("work", depth, text = "a text", value = ?NotVisited, later = tracing::field::Empty);
    let _entered = span.enter();
    span.record("later", 7);
    span.set_attribute("also", 8);
    info!(value = ?NotVisited, "an event");
    drop(span.clone());
    if depth > 0 {
        work(depth - 1);
        span.follows_from(&span);
        info_span!(parent: &span, "explicit", value = ?NotVisited).in_scope(|| {});
    }
}

/// Returns what `work` allocates once everything that is pooled is there.
fn measure(tracer: &Tracer, outside: &Captured) -> Usage {
    let subscriber = tracing_subscriber::registry().with(tracer.layer());
    tracing::subscriber::with_default(subscriber, || {
        let _guard = outside.attach();
        work(20);
        let ((), usage) = ALLOCATOR.measure(|| work(20));
        usage
    })
}

#[test]
fn an_unsampled_span_allocates_nothing() {
    let ids = TraceId::new(7).zip(SpanId::new(7)).unwrap();
    let unsampled = Context::new().with_span(ids.0, ids.1, Flags::RANDOM);
    let tracers = [
        Tracer::propagate_only(),
        Tracer::builder("shop")
            .clock(NoClock)
            .sampler(AlwaysOff)
            .build()
            .unwrap(),
    ];
    for tracer in &tracers {
        let tracestate = "congo=t61rcWkgMzE".parse().unwrap();
        for outside in [
            Captured::default(),
            Captured::new(unsampled),
            Captured::new(unsampled).with_tracestate(tracestate),
        ] {
            let usage = measure(tracer, &outside);
            assert_eq!((usage.allocations, usage.freed), (0, 0), "{tracer:?}");
        }
    }
}

#[test]
fn a_recorded_span_gives_back_what_it_takes() {
    // Proves that the test above can fail.
    let tracer = Tracer::builder("shop").build().unwrap();
    let subscriber = tracing_subscriber::registry().with(tracer.layer());
    tracing::subscriber::with_default(subscriber, || {
        let work = || info_span!("work", number = 1, text = "a text").in_scope(|| info!("an event"));
        work();
        let ((), usage) = ALLOCATOR.measure(work);
        assert!(usage.allocations > 0);
        assert_eq!(usage.retained(), 0);
    });
}
