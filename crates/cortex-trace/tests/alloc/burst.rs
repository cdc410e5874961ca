//! A million spans while the destination hangs: bounded memory, every loss counted, and the service goes on.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use cortex_core::Context;
use cortex_trace::{ExportError, Exporter, SpanData, Tracer};

use super::ALLOCATOR;

/// Hangs in its first batch until the other end of the channel is gone.
struct Hangs(Receiver<()>);

impl Exporter for Hangs {
    fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
        let _ = self.0.recv();
        Ok(())
    }
}

const THREADS: u64 = 4;
const CAPACITY: u64 = 8192;
const BATCH: u64 = 512;

fn job(tracer: &Tracer, n: u64) {
    let mut span = tracer.span("job").parent(Context::new()).start();
    assert!(span.is_recording());
    span.set_attribute("number", i64::try_from(n).unwrap());
    span.set_attribute("text", format!("the text of number {n}"));
    span.add_event("halfway");
    if n.is_multiple_of(3) {
        span.set_error("timeout");
    }
}

/// Has every thread make its part of so many spans; returns the bytes that they hold afterwards.
fn burst(tracer: &Tracer, spans: u64, make: impl Fn(&Tracer, u64) + Sync) -> i64 {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let make = &make;
                scope.spawn(move || {
                    let numbers = thread * spans / THREADS..(thread + 1) * spans / THREADS;
                    let ((), usage) = ALLOCATOR.measure(|| numbers.for_each(|n| make(tracer, n)));
                    usage.retained()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

fn check(spans: u64, make: impl Fn(&Tracer, u64) + Sync) {
    let (release, hangs) = channel();
    let tracer = Tracer::builder("shop").export(Hangs(hangs)).build().unwrap();
    let retained = burst(&tracer, spans, make);
    // The queue and the batch that hangs, at no more than 2 kB a span.
    let most = i64::try_from((CAPACITY + BATCH) * 2048).unwrap();
    assert!(retained < most, "{retained}");
    let stats = tracer.stats();
    assert_eq!(stats.enqueued, spans);
    assert_eq!(
        (stats.exported, stats.failed, stats.panics),
        (0, 0, 0),
        "{stats:?}"
    );
    assert!(
        (CAPACITY..=CAPACITY + BATCH).contains(&stats.in_flight),
        "{stats:?}"
    );
    assert_eq!(stats.dropped_queue_full, spans - stats.in_flight);

    drop(release);
    tracer.shutdown_blocking(Duration::from_mins(2)).unwrap();
    let stats = tracer.stats();
    assert_eq!(
        (stats.exported + stats.dropped_queue_full, stats.in_flight),
        (spans, 0)
    );
    assert!(stats.exported >= CAPACITY, "{stats:?}");
}

#[test]
fn a_million_spans_take_no_more_than_the_queue() {
    check(1_000_000, job);
}

#[cfg(feature = "bridge")]
#[test]
fn nor_do_many_spans_of_the_tracing_crate() {
    use tracing_subscriber::layer::SubscriberExt;

    let subscriber = std::sync::OnceLock::new();
    check(100_000, |tracer, number| {
        let make = || tracing::Dispatch::new(tracing_subscriber::registry().with(tracer.layer()));
        tracing::dispatcher::with_default(subscriber.get_or_init(make), || {
            let text = tracing::field::display(number);
            tracing::info_span!("job", number, text).in_scope(|| tracing::error!("timeout"));
        });
    });
}
