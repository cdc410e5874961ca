//! More spans of the `tracing` crate than the layer has room for.

use std::cell::RefCell;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use cortex_core::Context;
use cortex_trace::{AlwaysOff, ExportError, Exporter, ExporterStart, SpanData, SpanExt, Tracer};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Metadata, Span, Subscriber, info_span};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{self, SubscriberExt};
use tracing_subscriber::registry::{Data, LookupSpan};

use crate::support::{AGES, Fixture};

/// Gives spans the ids that have all the same few places in the table, so that it takes 40 to fill them, not a million.
#[derive(Default)]
struct Crowding(AtomicU64);

const ROOM: usize = 40;

impl Subscriber for Crowding {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        assert!(n < 1 << 18);
        Id::from_u64(1 + (n << 20))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}

    fn try_close(&self, _: Id) -> bool {
        true // no handle is cloned here
    }
}

impl<'a> LookupSpan<'a> for Crowding {
    type Data = Data<'a>;

    fn span_data(&'a self, _: &Id) -> Option<Data<'a>> {
        None
    }
}

/// Opens a span, and looks at all that the layer says of it; returns it if it is tracked.
fn look(span: &Span) -> bool {
    let context = span.context();
    span.in_scope(|| {
        assert_eq!(Context::current(), context);
        let inner = info_span!("inner");
        let inside = inner.context();
        assert!(
            context == Context::new() || inside.trace_id().is_none_or(|id| Some(id) == context.trace_id())
        );
    });
    assert_eq!(Context::current(), Context::new());
    context != Context::new()
}

/// Opens twice as many spans as there is room for, again and again; returns how many are not tracked.
fn crowd(tracer: &Tracer) -> u64 {
    const THREADS: usize = 4;
    const EACH: usize = 20;
    const ROUNDS: usize = 20;
    let dispatch = Dispatch::new(Crowding::default().with(tracer.layer()));
    let (barrier, opened, dispatch) = (&Barrier::new(THREADS), &AtomicU64::new(0), &dispatch);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                tracing::dispatcher::with_default(dispatch, || {
                    for _ in 0..ROUNDS {
                        let spans: Vec<_> = (0..EACH).map(|_| info_span!("outer")).collect();
                        barrier.wait();
                        let tracked = spans.iter().filter(|span| look(span)).count() as u64;
                        opened.fetch_add(tracked, Ordering::Relaxed);
                        barrier.wait();
                        drop(spans);
                        barrier.wait();
                    }
                });
            });
        }
    });
    assert_eq!(opened.load(Ordering::Relaxed), (ROUNDS * ROOM) as u64);
    let all = (2 * THREADS * EACH * ROUNDS) as u64; // each has an inner one
    // Nothing of them is left: there is room for as many as in the beginning.
    tracing::dispatcher::with_default(dispatch, || {
        let spans: Vec<_> = (0..=ROOM).map(|_| info_span!("after")).collect();
        assert_eq!(
            spans
                .iter()
                .filter(|span| span.context().span_id().is_some())
                .count(),
            ROOM
        );
    });
    let held = (ROUNDS * ROOM + ROOM) as u64;
    all + ROOM as u64 + 1 - held
}

#[test]
fn spans_beyond_the_bound_are_counted_and_none_leaks() {
    let fixture = Fixture::new();
    let untracked = crowd(&fixture.tracer);
    let ended = fixture.ended();
    let stats = fixture.tracer.stats();
    assert_eq!(stats.exported, ended.len() as u64);
    assert_eq!(stats.untracked, untracked);
    let outer = ended.iter().filter(|span| span.name == "outer").count();
    assert_eq!(outer, 20 * ROOM);
    assert_eq!(ended.iter().filter(|span| span.name == "after").count(), ROOM);
    let (_, of_the_exporter) = fixture.tracer.stats_by_exporter().next().unwrap();
    assert_eq!(of_the_exporter.untracked, 0);
}

#[test]
fn spans_beyond_the_bound_are_counted_though_they_are_not_sampled() {
    let fixture = Fixture::with(|builder| builder.sampler(AlwaysOff));
    let untracked = crowd(&fixture.tracer);
    assert_eq!(fixture.tracer.stats().untracked, untracked);
    assert!(fixture.ended().is_empty());
}

/// The numbers in what is told of spans that are not traced.
struct Lines(Sender<u64>);
impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        if line.message.starts_with("spans were not traced") {
            let _ = self.0.send(line.spans); // unless the test is over
        }
    }
}

#[derive(Default)]
struct Line {
    message: String,
    spans: u64,
}
impl Visit for Line {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "spans" {
            self.spans = value;
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

thread_local! {
    static SUBSCRIBER: RefCell<Option<tracing::subscriber::DefaultGuard>> = const { RefCell::new(None) };
}

/// Takes spans, and listens on the thread where it does.
struct Listens(Sender<u64>);
impl Exporter for Listens {
    fn begin(&mut self, _: ExporterStart<'_>) {
        let subscriber = tracing_subscriber::registry().with(Lines(self.0.clone()));
        SUBSCRIBER.set(Some(cortex_testkit::subscribe(subscriber)));
    }

    fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
        Ok(())
    }
}

#[test]
fn spans_beyond_the_bound_are_told_once_whatever_exporters_there_are() {
    let (sender, lines) = channel();
    let builder = Tracer::builder("shop")
        .export(Listens(sender.clone()))
        .export(Listens(sender));
    let tracer = builder.build().unwrap();
    let untracked = crowd(&tracer);
    tracer.flush_blocking(AGES).unwrap();
    tracer.span("one more batch").start().end();
    tracer.flush_blocking(AGES).unwrap();
    let told: Vec<u64> = lines.try_iter().collect();
    assert_eq!(told.len(), 1, "{told:?}"); // a minute is not over
    tracer.shutdown_blocking(AGES).unwrap();
    let rest: Vec<u64> = lines.try_iter().collect();
    assert!(rest.len() <= 1, "{rest:?}");
    assert_eq!(told[0] + rest.iter().sum::<u64>(), untracked);
}

#[test]
fn spans_beyond_the_bound_are_told_though_there_is_no_batch() {
    let (sender, lines) = channel();
    let builder = Tracer::builder("shop")
        .sampler(AlwaysOff)
        .batch_delay(Duration::from_hours(1))
        .export(Listens(sender));
    let tracer = builder.build().unwrap();
    let untracked = crowd(&tracer);
    let told = lines.recv_timeout(AGES).unwrap();
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(told + lines.try_iter().sum::<u64>(), untracked);
    assert_eq!(tracer.stats().enqueued, 0);
}

#[test]
fn spans_beyond_the_bound_are_told_by_whoever_does_not_hang() {
    struct Hangs(Sender<()>, Receiver<()>);
    impl Exporter for Hangs {
        fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
            let _ = (self.0.send(()), self.1.recv());
            Ok(())
        }
    }
    let (sender, lines) = channel();
    let (entered, hangs) = channel();
    let (release, released) = channel();
    let builder = Tracer::builder("shop")
        .batch_delay(Duration::ZERO)
        .export(Hangs(entered, released))
        .export(Listens(sender));
    let tracer = builder.build().unwrap();
    tracer.span("one that hangs").start().end();
    hangs.recv_timeout(AGES).unwrap();
    let untracked = crowd(&tracer);
    let told = lines.recv_timeout(AGES).unwrap();
    assert!((1..=untracked).contains(&told), "{told}");
    drop(release);
    tracer.shutdown_blocking(AGES).unwrap();
}
