//! Queues, workers, flush and shutdown.

use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use cortex_core::Context;
use cortex_testkit::Recorder;
use cortex_trace::{
    BuildErrorKind, ExportError, Exporter, ExporterStart, InMemory, SpanData, Stats, Tracer, TracerBuilder,
};

use crate::support::{AGES, block_on};

/// An exporter in the hands of a test: says what it was called for, and waits to be told how that goes.
struct Puppet {
    calls: Sender<Call>,
    answers: Receiver<Answer>,
}

#[derive(Debug, PartialEq)]
enum Call {
    Export(usize),
    Flush,
    Shutdown,
    Dropped,
}

enum Answer {
    Well,
    Fail,
    Panic,
}

/// The test's end of the strings.
struct Strings {
    calls: Receiver<Call>,
    answers: Sender<Answer>,
}

fn puppet() -> (Puppet, Strings) {
    let (calls, called) = channel();
    let (answers, answered) = channel();
    let puppet = Puppet {
        calls,
        answers: answered,
    };
    let strings = Strings {
        calls: called,
        answers,
    };
    (puppet, strings)
}

impl Puppet {
    fn call(&self, call: Call) -> Result<(), ExportError> {
        self.calls
            .send(call)
            .map_err(|_| ExportError::new("the test is over"))?;
        match self.answers.recv() {
            Ok(Answer::Well) => Ok(()),
            Ok(Answer::Fail) => Err(ExportError::new("seeded failure")),
            Ok(Answer::Panic) => resume_unwind(Box::new("seeded panic")),
            Err(_) => Err(ExportError::new("the test is over")),
        }
    }
}

impl Exporter for Puppet {
    fn name(&self) -> &'static str {
        "puppet"
    }

    fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
        self.call(Call::Export(batch.len()))
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        self.call(Call::Flush)
    }

    fn shutdown(&mut self) -> Result<(), ExportError> {
        self.call(Call::Shutdown)
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        let _ = self.calls.send(Call::Dropped);
    }
}

impl Strings {
    fn expect(&self, call: &Call) {
        assert_eq!(self.calls.recv_timeout(AGES).as_ref(), Ok(call));
    }

    fn answer(&self, answer: Answer) {
        self.answers.send(answer).unwrap();
    }
}

/// A builder whose queue moves only when a batch is full or somebody asks.
fn patient() -> TracerBuilder {
    Tracer::builder("shop").batch_delay(Duration::from_hours(1))
}

fn end_spans(tracer: &Tracer, count: usize) {
    for _ in 0..count {
        tracer.span("work").parent(Context::new()).start().end();
    }
}

fn assert_adds_up(stats: Stats) -> Stats {
    assert_eq!(
        stats.enqueued,
        stats.exported + stats.rejected + stats.failed + stats.dropped() + stats.in_flight,
        "{stats:?}"
    );
    stats
}

#[test]
fn a_full_batch_goes_out_by_itself() {
    let (puppet, strings) = puppet();
    let tracer = patient().export(puppet).batch_size(3).build().unwrap();
    end_spans(&tracer, 2);
    assert!(strings.calls.try_recv().is_err());
    end_spans(&tracer, 1);
    strings.expect(&Call::Export(3));
    strings.answer(Answer::Well);
}

#[test]
fn a_part_of_a_batch_goes_out_after_the_delay() {
    let (puppet, strings) = puppet();
    let tracer = Tracer::builder("shop")
        .export(puppet)
        .batch_delay(Duration::from_millis(1));
    let tracer = tracer.build().unwrap();
    end_spans(&tracer, 1);
    strings.expect(&Call::Export(1));
    strings.answer(Answer::Well);
}

#[test]
fn a_batch_larger_than_the_queue_is_one_queue() {
    let (puppet, strings) = puppet();
    let tracer = patient()
        .export(puppet)
        .queue_capacity(2)
        .batch_size(100)
        .build()
        .unwrap();
    end_spans(&tracer, 2);
    strings.expect(&Call::Export(2));
    strings.answer(Answer::Well);
}

#[test]
fn a_full_queue_drops_the_newest_and_counts_them() {
    let (puppet, strings) = puppet();
    let tracer = patient()
        .export(puppet)
        .queue_capacity(4)
        .batch_size(2)
        .build()
        .unwrap();
    end_spans(&tracer, 2);
    strings.expect(&Call::Export(2)); // and hangs there
    end_spans(&tracer, 7);
    let stats = assert_adds_up(tracer.stats());
    assert_eq!(
        (stats.enqueued, stats.in_flight, stats.dropped_queue_full),
        (9, 6, 3)
    );

    for _ in 0..5 {
        strings.answer(Answer::Well); // this batch, two more, flush, shutdown
    }
    tracer.flush_blocking(AGES).unwrap();
    tracer.shutdown_blocking(AGES).unwrap();
    let stats = assert_adds_up(tracer.stats());
    assert_eq!((stats.exported, stats.in_flight, stats.dropped()), (6, 0, 3));
}

/// Ends spans of about 20 kB.
fn end_large_spans(tracer: &Tracer, count: usize) {
    for _ in 0..count {
        let mut span = tracer.span("work").parent(Context::new()).start();
        for key in ["a", "b", "c", "d", "e"] {
            span.set_attribute(key, "x".repeat(4000));
        }
    }
}

#[test]
fn large_spans_fill_a_batch_and_the_queue_by_their_bytes() {
    let (puppet, strings) = puppet();
    let tracer = patient().export(puppet).queue_bytes(100_000).build().unwrap();
    end_large_spans(&tracer, 2);
    assert!(strings.calls.try_recv().is_err());
    end_large_spans(&tracer, 1); // together more than half of the queue
    strings.expect(&Call::Export(2)); // and hangs there
    end_large_spans(&tracer, 5);
    let stats = assert_adds_up(tracer.stats());
    assert_eq!(
        (stats.in_flight, stats.queued, stats.dropped_queue_full),
        (6, 4, 2)
    );
    assert!((80_000..=100_000).contains(&stats.queued_bytes), "{stats:?}");
    strings.answer(Answer::Well);
    strings.expect(&Call::Export(2)); // the last two are less than a batch
    for _ in 0..3 {
        strings.answer(Answer::Well); // this one, the rest, flush
    }
    tracer.flush_blocking(AGES).unwrap();
    let stats = assert_adds_up(tracer.stats());
    assert_eq!((stats.exported, stats.queued, stats.queued_bytes), (6, 0, 0));
}

#[test]
fn a_span_larger_than_the_queue_has_it_for_itself() {
    let (puppet, strings) = puppet();
    let tracer = patient().export(puppet).queue_bytes(1).build().unwrap();
    end_spans(&tracer, 1);
    strings.expect(&Call::Export(1)); // and hangs there
    end_spans(&tracer, 2);
    assert_eq!(tracer.stats().dropped_queue_full, 1);
    for _ in 0..3 {
        strings.answer(Answer::Well); // this span, the one in the queue, flush
    }
    tracer.flush_blocking(AGES).unwrap();
    assert_eq!(assert_adds_up(tracer.stats()).exported, 2);
}

#[test]
fn a_batch_fits_a_request() {
    let (puppet, strings) = puppet();
    let tracer = patient().export(puppet).build().unwrap();
    end_large_spans(&tracer, 250);
    let Ok(Call::Export(first)) = strings.calls.recv_timeout(AGES) else {
        panic!("no export")
    };
    assert!((150..200).contains(&first), "{first} spans of 20 kB in 4 MB");
    for _ in 0..3 {
        strings.answer(Answer::Well);
    }
    tracer.flush_blocking(AGES).unwrap();
    strings.expect(&Call::Export(250 - first));
}

#[test]
fn a_limit_of_zero_is_refused() {
    for builder in [
        patient().queue_capacity(0),
        patient().queue_bytes(0),
        patient().batch_size(0),
    ] {
        assert_eq!(builder.build().unwrap_err().kind(), BuildErrorKind::Limit);
    }
}

#[test]
fn memory_is_shared_with_its_clones_and_bounded() {
    let memory = InMemory::bounded(3);
    let tracer = patient().export(memory.clone()).build().unwrap();
    end_spans(&tracer, 2);
    tracer.flush_blocking(AGES).unwrap();
    assert_eq!(memory.spans().len(), 2);
    end_spans(&tracer, 3);
    tracer.flush_blocking(AGES).unwrap();
    let stats = assert_adds_up(tracer.stats());
    assert_eq!((stats.exported, stats.failed), (3, 2));
    let (name, error) = tracer.last_errors().next().unwrap();
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(
        (name, cause.as_deref()),
        ("memory", Some("the memory is full with 3 spans"))
    );
    assert_eq!((memory.take().len(), memory.spans().len()), (3, 0));
    end_spans(&tracer, 1);
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(memory.take().len(), 1);
}

#[test]
fn a_failing_exporter_is_offered_the_next_batch() {
    let (puppet, strings) = puppet();
    let tracer = patient().export(puppet).batch_size(2).build().unwrap();
    for (answer, failed, exported) in [(Answer::Fail, 2, 0), (Answer::Well, 2, 2)] {
        end_spans(&tracer, 2);
        strings.expect(&Call::Export(2));
        strings.answer(answer);
        strings.answer(Answer::Well);
        tracer.flush_blocking(AGES).unwrap();
        strings.expect(&Call::Flush);
        let stats = assert_adds_up(tracer.stats());
        assert_eq!(
            (stats.failed, stats.exported, stats.panics),
            (failed, exported, 0)
        );
    }
}

#[test]
fn a_panicking_exporter_is_caught_counted_and_offered_the_next_batch() {
    let (puppet, strings) = puppet();
    let tracer = patient().export(puppet).batch_size(2).build().unwrap();
    end_spans(&tracer, 2);
    strings.expect(&Call::Export(2));
    strings.answer(Answer::Panic);
    strings.answer(Answer::Panic);
    let error = tracer.flush_blocking(AGES).unwrap_err();
    assert_eq!(error.to_string(), "flush spans: puppet: panicked: seeded panic");
    assert!(
        error
            .failed()
            .all(|(name, error)| name == "puppet" && error.is_panic())
    );
    strings.expect(&Call::Flush);

    end_spans(&tracer, 2);
    strings.expect(&Call::Export(2));
    strings.answer(Answer::Well);
    strings.answer(Answer::Panic);
    let error = tracer.shutdown_blocking(AGES).unwrap_err();
    assert!(!error.is_timeout() && error.failed().count() == 1, "{error}");
    let stats = assert_adds_up(tracer.stats());
    assert_eq!((stats.failed, stats.exported, stats.panics), (2, 2, 3));
}

#[test]
fn a_panic_in_a_destructor_is_counted_too() {
    struct Bomb;
    impl Exporter for Bomb {
        fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
            Ok(())
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new(7)); // a panic, without the message on standard error
        }
    }
    let tracer = Tracer::builder("shop").export(Bomb).build().unwrap();
    let error = tracer.shutdown_blocking(AGES).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("Bomb: panicked: something that is no text"),
        "{error}"
    );
    assert_eq!(tracer.stats().panics, 1);
}

#[test]
fn exporters_do_not_wait_for_each_other() {
    let ((slow, slow_strings), (fast, fast_strings)) = (puppet(), puppet());
    let builder = patient().batch_size(2).queue_capacity(2);
    let tracer = builder.export(slow).export(fast).build().unwrap();
    end_spans(&tracer, 2);
    slow_strings.expect(&Call::Export(2)); // and hangs there
    for round in 0..4 {
        if round > 0 {
            end_spans(&tracer, 2);
        }
        fast_strings.expect(&Call::Export(2));
        fast_strings.answer(Answer::Well);
    }
    for _ in 0..3 {
        slow_strings.answer(Answer::Well);
        fast_strings.answer(Answer::Well);
    }
    tracer.flush_blocking(AGES).unwrap();
    let by_name: Vec<_> = tracer.stats_by_exporter().collect();
    let [("puppet", slow), ("puppet", fast)] = by_name[..] else {
        panic!("{by_name:?}")
    };
    assert_eq!((slow.exported, slow.dropped_queue_full), (4, 4));
    assert_eq!((fast.exported, fast.dropped()), (8, 0));
    let mut sum = slow;
    sum += fast;
    assert_eq!(assert_adds_up(tracer.stats()), sum);
}

#[test]
fn time_is_up_at_once_if_there_is_none() {
    let (puppet, strings) = puppet();
    let tracer = patient().export(puppet).build().unwrap();
    let error = tracer.flush_blocking(Duration::ZERO).unwrap_err();
    assert!(error.is_timeout() && error.late() == ["puppet"]);
    assert_eq!(error.to_string(), "flush spans: puppet: not done in time");
    strings.expect(&Call::Flush); // and hangs there
    assert!(block_on(tracer.flush(Duration::ZERO)).unwrap_err().is_timeout());
    assert!(
        block_on(tracer.shutdown(Duration::ZERO))
            .unwrap_err()
            .is_timeout()
    );
    strings.answer(Answer::Well);
    for call in [Call::Flush, Call::Shutdown] {
        strings.expect(&call);
        strings.answer(Answer::Well);
    }
    tracer.shutdown_blocking(AGES).unwrap(); // the late one has gone on
}

#[test]
fn flushes_of_an_exporter_that_hangs_are_one_when_it_goes_on() {
    let (puppet, strings) = puppet();
    let tracer = patient().export(puppet).batch_size(1).build().unwrap();
    end_spans(&tracer, 1);
    strings.expect(&Call::Export(1)); // and hangs there
    for _ in 0..50 {
        assert!(tracer.flush_blocking(Duration::ZERO).unwrap_err().is_timeout());
        assert!(block_on(tracer.flush(Duration::ZERO)).unwrap_err().is_timeout());
    }
    for _ in 0..3 {
        strings.answer(Answer::Well); // this span, one flush for all, shutdown
    }
    tracer.shutdown_blocking(AGES).unwrap();
    for call in [Call::Flush, Call::Shutdown, Call::Dropped] {
        strings.expect(&call);
    }
}

#[test]
fn many_tasks_wait_for_one_exporter_each_as_long_as_it_wants() {
    let (puppet, strings) = puppet();
    let tracer = patient().export(puppet).build().unwrap();
    end_spans(&tracer, 1);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let flush = |timeout| {
            let tracer = tracer.clone();
            tokio::spawn(async move { tracer.flush(timeout).await })
        };
        let patient: Vec<_> = (0..100).map(|_| flush(AGES)).collect();
        let hasty: Vec<_> = (0..100).map(|_| flush(Duration::from_millis(1))).collect();
        for flush in hasty {
            assert!(flush.await.unwrap().unwrap_err().is_timeout());
        }
        for call in [Call::Export(1), Call::Flush] {
            strings.expect(&call);
            strings.answer(Answer::Well);
        }
        for flush in patient {
            flush.await.unwrap().unwrap();
        }
    });
}

#[test]
fn shutdown_is_final_and_repeats_its_result() {
    let (puppet, strings) = puppet();
    let tracer = patient().export(puppet).build().unwrap();
    end_spans(&tracer, 3);
    let open = tracer.span("open").start();
    for answer in [Answer::Well, Answer::Fail] {
        strings.answer(answer);
    }
    let first = tracer.shutdown_blocking(AGES).unwrap_err().to_string();
    assert_eq!(first, "flush spans: puppet: seeded failure");
    for call in [Call::Export(3), Call::Shutdown, Call::Dropped] {
        strings.expect(&call);
    }
    assert_eq!(block_on(tracer.shutdown(AGES)).unwrap_err().to_string(), first);
    tracer.flush_blocking(AGES).unwrap();

    drop(open);
    let stats = assert_adds_up(tracer.stats());
    assert_eq!((stats.exported, stats.dropped_after_shutdown), (3, 1));
}

#[test]
fn dropping_the_tracer_does_not_wait_but_nothing_is_lost() {
    let (puppet, strings) = puppet();
    let tracer = patient().export(puppet).batch_size(2).build().unwrap();
    end_spans(&tracer, 2);
    strings.expect(&Call::Export(2)); // and hangs there
    let open = tracer.span("open").start();
    drop(tracer);
    drop(open); // the span keeps the pipeline: it still gets out
    strings.answer(Answer::Well);
    strings.expect(&Call::Export(1));
    strings.answer(Answer::Well);
    strings.expect(&Call::Shutdown);
    strings.answer(Answer::Well);
    strings.expect(&Call::Dropped);
}

#[test]
fn a_flush_covers_what_ended_before_it_in_order() {
    let (puppet, strings) = puppet();
    let tracer = patient().export(puppet).batch_size(2).build().unwrap();
    end_spans(&tracer, 5);
    for _ in 0..4 {
        strings.answer(Answer::Well);
    }
    tracer.flush_blocking(AGES).unwrap();
    let mut calls: Vec<_> = strings.calls.try_iter().collect();
    assert_eq!(calls.pop(), Some(Call::Flush));
    assert_eq!(
        calls
            .iter()
            .map(|call| if let Call::Export(spans) = call { *spans } else { 0 })
            .sum::<usize>(),
        5
    );
    assert_eq!(tracer.stats().exported, 5);
}

#[test]
fn flush_and_shutdown_run_on_no_runtime() {
    let spans = InMemory::new();
    let tracer = patient().export(spans.clone()).build().unwrap();
    end_spans(&tracer, 3);
    block_on(tracer.flush(AGES)).unwrap();
    assert_eq!(spans.spans().len(), 3);
    end_spans(&tracer, 2);
    block_on(tracer.shutdown(AGES)).unwrap();
    assert_eq!(spans.spans().len(), 5);
}

async fn flush_and_shutdown() {
    let spans = InMemory::new();
    let tracer = patient().export(spans.clone()).build().unwrap();
    end_spans(&tracer, 3);
    tracer.flush(AGES).await.unwrap();
    assert_eq!(spans.spans().len(), 3);
    end_spans(&tracer, 2);
    let (first, second) = tokio::join!(tracer.shutdown(AGES), tracer.shutdown(AGES));
    first.and(second).unwrap();
    assert_eq!(spans.spans().len(), 5);
}

#[tokio::test(flavor = "current_thread")]
async fn flush_and_shutdown_run_on_a_current_thread_runtime() {
    flush_and_shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn flush_and_shutdown_run_on_a_runtime_with_one_worker() {
    tokio::spawn(flush_and_shutdown()).await.unwrap();
}

#[test]
fn a_flush_that_nobody_awaits_any_more_goes_on() {
    let (puppet, strings) = puppet();
    let tracer = patient().export(puppet).build().unwrap();
    end_spans(&tracer, 1);
    {
        let mut flush = std::pin::pin!(tracer.flush(AGES));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(flush.as_mut().poll(&mut cx).is_pending());
    }
    for call in [Call::Export(1), Call::Flush] {
        strings.expect(&call);
        strings.answer(Answer::Well);
    }
}

#[test]
fn without_exporters_there_is_nothing_to_wait_for() {
    for tracer in [Tracer::propagate_only(), Tracer::builder("shop").build().unwrap()] {
        end_spans(&tracer, 3);
        block_on(tracer.flush(Duration::ZERO)).unwrap();
        block_on(tracer.shutdown(Duration::ZERO)).unwrap();
        assert_eq!(tracer.stats(), Stats::default());
    }
}

#[test]
fn an_exporter_cannot_trace_itself() {
    struct Narcissus(Arc<OnceLock<Tracer>>, Recorder<bool>);
    impl Exporter for Narcissus {
        fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
            let tracer = self.0.get().ok_or_else(|| ExportError::new("too early"))?;
            let root = tracer.span("export").start();
            let child = root.in_scope(|| tracer.span("send").start());
            self.1.record(root.is_recording() || child.is_recording());
            Ok(())
        }
    }
    let (itself, seen) = (Arc::new(OnceLock::new()), Recorder::new());
    let tracer = patient()
        .export(Narcissus(Arc::clone(&itself), seen.clone()))
        .build()
        .unwrap();
    itself.set(tracer.clone()).unwrap();
    end_spans(&tracer, 1);
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(seen.take(), [false]);
    assert_eq!(tracer.stats().enqueued, 1);
}

#[test]
fn exporters_learn_the_resource_first() {
    struct Learns(Recorder<String>);
    impl Exporter for Learns {
        fn begin(&mut self, start: ExporterStart<'_>) {
            let resource = start.resource;
            self.0.record(format!(
                "{} {:?}",
                resource.service_name(),
                resource.attributes()[1]
            ));
        }
        fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
            self.0.record(batch[0].name.to_string());
            Ok(())
        }
    }
    let seen = Recorder::new();
    let builder = patient()
        .resource("service.version", "1")
        .resource("service.version", "2");
    let tracer = builder.export(Learns(seen.clone())).build().unwrap();
    end_spans(&tracer, 1);
    tracer.shutdown_blocking(AGES).unwrap();
    let version = r#"Attribute { key: "service.version", value: Str("2") }"#;
    assert_eq!(seen.take(), [format!("shop {version}"), "work".to_owned()]);
}

#[test]
fn an_error_may_ask_for_the_last_one_when_it_is_dropped() {
    #[derive(Debug)]
    struct Asks(Weak<OnceLock<Tracer>>, Recorder<usize>);
    impl std::fmt::Display for Asks {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("seeded failure")
        }
    }
    impl std::error::Error for Asks {}
    impl Drop for Asks {
        fn drop(&mut self) {
            if let Some(itself) = self.0.upgrade() {
                let tracer = itself.get().expect("set before there is a batch");
                self.1.record(tracer.last_errors().count());
            }
        }
    }
    /// Fails with an error that has nobody but the tracer.
    struct Fails(Weak<OnceLock<Tracer>>, Recorder<usize>);
    impl Exporter for Fails {
        fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
            Err(ExportError::new(Asks(Weak::clone(&self.0), self.1.clone())))
        }
    }
    let (itself, seen) = (Arc::new(OnceLock::new()), Recorder::new());
    let exporter = Fails(Arc::downgrade(&itself), seen.clone());
    let tracer = patient().export(exporter).build().unwrap();
    itself.set(tracer.clone()).unwrap();
    for _ in 0..2 {
        end_spans(&tracer, 1);
        tracer.flush_blocking(AGES).unwrap();
    }
    assert_eq!(seen.take(), [1]); // the first one, in favour of the second
}

#[test]
fn the_numbers_add_up_at_every_moment() {
    let (puppet, strings) = puppet();
    let tracer = patient()
        .export(puppet)
        .batch_size(8)
        .queue_capacity(32)
        .build()
        .unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| end_spans(&tracer, 500));
        }
        let (tracer, answers) = (&tracer, strings.answers.clone());
        scope.spawn(move || {
            for turn in 0..40 {
                let answer = match turn % 3 {
                    0 => Answer::Well,
                    1 => Answer::Fail,
                    _ => Answer::Panic,
                };
                answers.send(answer).unwrap();
                assert_adds_up(tracer.stats());
            }
        });
    });
    for _ in 0..2000 {
        strings.answer(Answer::Well);
    }
    let late = tracer
        .shutdown_blocking(AGES)
        .is_err_and(|error| error.is_timeout());
    assert!(!late); // it may have got one of the failures: how many batches there are is chance
    let stats = assert_adds_up(tracer.stats());
    assert_eq!((stats.enqueued, stats.in_flight), (2000, 0));
}

#[cfg(feature = "logs")]
#[test]
fn a_layer_that_panics_about_what_it_hears_does_not_end_the_worker() {
    use cortex_trace::Reporter;
    use tracing_subscriber::layer::{Context as Registry, SubscriberExt};

    struct Panics(Sender<()>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Panics {
        fn on_event(&self, _: &tracing::Event<'_>, _: Registry<'_, S>) {
            let _ = self.0.send(());
            resume_unwind(Box::new("seeded panic"));
        }
    }

    thread_local! {
        static SUBSCRIBER: std::cell::RefCell<Option<tracing::subscriber::DefaultGuard>> = const { std::cell::RefCell::new(None) };
    }

    /// Loses the first batch and is late with the others, on a thread where that is told to a layer that panics.
    struct Loses(Sender<()>, bool, Option<Reporter>);
    impl Exporter for Loses {
        fn begin(&mut self, start: ExporterStart<'_>) {
            self.2 = Some(start.reporter.clone());
            let subscriber = tracing_subscriber::registry().with(Panics(self.0.clone()));
            SUBSCRIBER.set(Some(cortex_testkit::subscribe(subscriber)));
        }

        fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
            if std::mem::replace(&mut self.1, true) {
                let reporter = self.2.as_ref().unwrap();
                reporter.report(ExportError::new("seeded delay"));
                Ok(())
            } else {
                Err(ExportError::new("seeded failure"))
            }
        }
    }

    let (sender, told) = channel();
    let tracer = Tracer::builder("shop")
        .export(Loses(sender, false, None))
        .build()
        .unwrap();
    tracer.span("lost").start().end();
    tracer.flush_blocking(AGES).unwrap();
    assert_eq!(told.try_iter().count(), 1);
    tracer.span("kept").start().end();
    tracer.flush_blocking(AGES).unwrap();
    assert_eq!(told.try_iter().count(), 1);
    let (_, error) = tracer.last_errors().next().unwrap();
    let cause = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(cause.as_deref(), Some("seeded delay"));
    tracer.span("kept").start().end();
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(told.try_iter().count(), 0); // a minute is not over
    let stats = tracer.stats();
    assert_eq!((stats.failed, stats.exported, stats.panics), (1, 2, 0));
}

#[cfg(any(feature = "bridge", feature = "logs"))]
#[test]
fn losses_are_told_when_they_begin_and_at_the_end() {
    use std::fmt::Write as _;
    use tracing::field::{Field, Visit};
    use tracing_subscriber::layer::{Context as Registry, SubscriberExt};

    struct Lines(Recorder<String>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Lines {
        fn on_event(&self, event: &tracing::Event<'_>, _: Registry<'_, S>) {
            let mut line = Line(event.metadata().level().to_string());
            event.record(&mut line);
            self.0.record(line.0);
        }
    }
    struct Line(String);
    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            write!(self.0, " {field}={value:?}").unwrap();
        }
    }

    thread_local! {
        static SUBSCRIBER: std::cell::RefCell<Option<tracing::subscriber::DefaultGuard>> = const { std::cell::RefCell::new(None) };
    }

    struct Loses(Recorder<String>);
    impl Exporter for Loses {
        fn name(&self) -> &'static str {
            "loses"
        }

        fn begin(&mut self, _: ExporterStart<'_>) {
            let subscriber = tracing_subscriber::registry().with(Lines(self.0.clone()));
            SUBSCRIBER.set(Some(cortex_testkit::subscribe(subscriber)));
        }

        fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
            Err(ExportError::new("seeded failure"))
        }
    }

    let lines = Recorder::new();
    let tracer = patient().export(Loses(lines.clone())).build().unwrap();
    for _ in 0..3 {
        end_spans(&tracer, 2);
        tracer.flush_blocking(AGES).unwrap();
    }
    let line = |lost, failed| {
        format!(
            "WARN message=telemetry was lost exporter=\"loses\" lost={lost} failed={failed} rejected=0 dropped=0 \
             error=seeded failure"
        )
    };
    assert_eq!(lines.take(), [line(2, 2)]);
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(lines.take(), [line(4, 6)]);
}
