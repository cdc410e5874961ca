//! The spans of tasks, as `cortex_trace` exports them.

use crate::support::{at_rest, closures, occupy, poll_once};
use cortex_core::{Clock, Context, Deadline};
use cortex_testkit::{ManualClock, subscribe};
use cortex_trace::{InMemory, SpanData, Status, Tracer, Value};
use cortex_workers::{
    Adaptive, AfterPanic, Builder, CancelToken, Closures, Drain, Error, Overflow, Pool, Priority, TaskCx,
    Worker, WorkerCx,
};
#[cfg(feature = "tokio")]
use std::task::Poll;
use std::time::Duration;
use tracing::span::{Attributes, Id};
use tracing::subscriber::DefaultGuard;
use tracing::{Dispatch, Subscriber, dispatcher, info, info_span};
use tracing_subscriber::layer::{Layer, SubscriberExt};

const SECOND: Duration = Duration::from_secs(1);

/// What this thread traces.
struct Traced {
    tracer: Tracer,
    memory: InMemory,
    _subscribed: DefaultGuard,
}

impl Traced {
    fn new() -> Self {
        Self::with(None)
    }

    /// Cancels this token as soon as a span is made.
    fn with(token: Option<CancelToken>) -> Self {
        let memory = InMemory::new();
        let tracer = Tracer::builder("test").export(memory.clone());
        let tracer = tracer.build().expect("the settings make sense");
        let layers = tracing_subscriber::registry().with(tracer.layer());
        Self {
            _subscribed: subscribe(layers.with(token.map(Cancels))),
            tracer,
            memory,
        }
    }

    /// Returns the spans that have ended, with the name, and the outcome for those of tasks.
    fn ended(&self) -> Vec<SpanData> {
        let flushed = self.tracer.flush_blocking(60 * SECOND);
        flushed.expect("memory takes all");
        self.memory.take()
    }

    /// Returns how each task has ended whose span has, and why it failed.
    fn outcomes(&self) -> Vec<(String, Option<String>)> {
        let outcome = |span: &SpanData| {
            let why = match &span.status {
                Status::Error { description } => Some(description.to_string()),
                _ => None,
            };
            (text(span, "outcome"), why)
        };
        self.ended().iter().map(outcome).collect()
    }
}

struct Cancels(CancelToken);

impl<S: Subscriber> Layer<S> for Cancels {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: tracing_subscriber::layer::Context<'_, S>) {
        self.0.cancel();
    }
}

fn text(span: &SpanData, key: &str) -> String {
    span.attribute(key).map_or_else(String::new, Value::to_string)
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
    let span = spans.iter().find(|span| span.name == name);
    span.unwrap_or_else(|| panic!("{name} is not among {spans:?}"))
}

/// Takes the subscriber of this thread along: others have their own in a test.
fn subscriber() -> Dispatch {
    dispatcher::get_default(Clone::clone)
}

fn traced(set: impl FnOnce(Builder<Closures>) -> Builder<Closures>) -> Pool<Closures> {
    closures(|builder| set(builder.trace()))
}

#[test]
fn a_task_is_a_span_of_its_caller_and_what_it_does_belongs_to_it() {
    let traced_here = Traced::new();
    let clock = ManualClock::new();
    let pool = traced(|builder| builder.clock(clock.clone()));
    let door = occupy(&pool, 1);
    let here = subscriber();
    let request = info_span!("request").entered();
    let mut call = pool.run(move |_, cx| {
        dispatcher::with_default(&here, || {
            info!("begun");
            info_span!("inner").in_scope(|| ());
        });
        (Context::current(), cx.context())
    });
    call = call.priority(Priority::High);
    assert!(poll_once(&mut call).is_pending());
    let caller = Context::current();
    drop(request);
    clock.advance(SECOND / 4);
    door.open();
    let (inside, told) = call.wait().unwrap();
    assert_eq!(told, caller);
    at_rest(&pool);

    let spans = traced_here.ended();
    let request = named(&spans, "request");
    let ours = |span: &&SpanData| span.name == "task" && span.parent_span_id == Some(request.span_id);
    let task = spans.iter().find(ours).expect("the caller has a child");
    assert_eq!(
        (task.trace_id, Some(task.span_id)),
        (request.trace_id, inside.span_id())
    );
    assert_eq!(text(task, "pool"), "test");
    assert_eq!(text(task, "priority"), "high");
    assert_eq!(task.attribute("queue_seconds"), Some(&Value::Float(0.25)));
    assert_eq!(
        (text(task, "outcome"), &task.status),
        ("completed".to_owned(), &Status::Unset)
    );
    let events: Vec<_> = task.events.iter().map(|event| &*event.name).collect();
    assert_eq!(events, ["begun"]);
    assert_eq!(named(&spans, "inner").parent_span_id, Some(task.span_id));
}

#[test]
fn a_pool_that_was_not_told_to_makes_no_spans_and_the_trace_is_the_callers() {
    let traced_here = Traced::new();
    let pool = closures(|builder| builder);
    let request = info_span!("request");
    let (inside, caller) = request.in_scope(|| {
        let inside = pool.run(|_, _| Context::current()).wait().unwrap();
        (inside, Context::current())
    });
    assert_eq!(inside, caller);
    drop(request);
    let spans = traced_here.ended();
    assert_eq!(
        spans.iter().map(|span| &*span.name).collect::<Vec<_>>(),
        ["request"]
    );
}

#[test]
fn where_nobody_listens_the_context_goes_along() {
    let context = Context::new().with_deadline(Deadline::after(cortex_core::SystemClock.now(), 60 * SECOND));
    let pool = traced(|builder| builder);
    let attached = context.attach();
    assert_eq!(pool.run(|_, _| Context::current()).wait().unwrap(), context);
    drop(attached);
}

#[test]
fn a_span_says_how_its_task_ended() {
    let traced_here = Traced::new();
    let clock = ManualClock::new();
    let pool = traced(|builder| builder.queue(1).run_timeout(SECOND).clock(clock.clone()));
    let failed = |outcome: &str, why: &str| vec![(outcome.to_owned(), Some(why.to_owned()))];
    let panicked = pool.run(|_, _| -> u8 { std::panic::resume_unwind(Box::new("no paper")) });
    assert!(panicked.wait().is_err());
    assert_eq!(
        traced_here.outcomes(),
        failed("panicked", "no paper"),
        "before the caller knows"
    );

    let door = occupy(&pool, 1);
    let mut dropped = pool.run(|_, _| ());
    assert!(poll_once(&mut dropped).is_pending());
    drop(dropped);
    let token = CancelToken::new();
    pool.run(|_, _| ()).cancel_with(&token).detach().unwrap();
    token.cancel();
    let cancelled = ("cancelled".to_owned(), None);
    assert_eq!(traced_here.outcomes(), [cancelled.clone(), cancelled]);

    let deadline = Deadline::after(clock.now(), SECOND / 2);
    pool.run(|_, _| ()).deadline(deadline).detach().unwrap();
    assert!(pool.run(|_, _| ()).overflow(Overflow::Reject).wait().is_err());
    assert_eq!(traced_here.outcomes(), failed("rejected", "the queue is full"));
    assert!(pool.run(|_, _| ()).overflow(Overflow::DropNewest).wait().is_err());
    assert_eq!(
        traced_here.outcomes(),
        failed("discarded", "it was discarded as the queue is full")
    );
    clock.advance(SECOND / 2);
    pool.tick();
    assert_eq!(
        traced_here.outcomes(),
        failed("expired", "the deadline came before its turn")
    );
    clock.advance(SECOND / 2);
    pool.tick();
    assert_eq!(traced_here.outcomes(), [], "it still runs");
    door.open();
    at_rest(&pool);
    assert_eq!(
        traced_here.outcomes(),
        failed("timed_out", "it has run for as long as it may")
    );
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(pool.shutdown(Drain::now()));
    assert!(matches!(pool.run(|_, _| ()).wait(), Err(Error::Closed(_))));
    assert_eq!(
        traced_here.outcomes(),
        failed("rejected", "the pool is shut down")
    );
}

/// Never can.
struct Refuser;

impl Worker for Refuser {
    type Request = ();
    type Response = ();
    type Error = &'static str;

    fn init(_: &WorkerCx<'_>) -> Result<Self, &'static str> {
        Ok(Self)
    }

    fn run(&mut self, (): (), _: &TaskCx<'_>) -> Result<(), &'static str> {
        Err("not today")
    }

    fn after_panic(&mut self) -> AfterPanic {
        AfterPanic::Keep
    }
}

#[test]
fn an_error_of_a_worker_is_one_of_the_span() {
    let traced_here = Traced::new();
    let builder = Pool::<Refuser>::builder("refuser").threads(1).trace();
    let pool = builder.build_blocking().unwrap();
    assert_eq!(pool.call(()).wait(), Err(Error::Failed("not today")));
    let why = "the worker returned an error".to_owned();
    assert_eq!(traced_here.outcomes(), [("failed".to_owned(), Some(why))]);
}

#[test]
fn a_batch_and_what_a_caller_runs_have_spans_too() {
    let traced_here = Traced::new();
    let pool = traced(|builder| builder.queue(0).overflow(Overflow::CallerRuns));
    let door = occupy(&pool, 1);
    let request = info_span!("request");
    let inside = request.in_scope(|| pool.run(|_, _| Context::current()).wait().unwrap());
    drop(request);
    let spans = traced_here.ended();
    assert_eq!(inside.span_id(), Some(named(&spans, "task").span_id));
    assert_eq!(
        named(&spans, "task").parent_span_id,
        Some(named(&spans, "request").span_id)
    );
    door.open();
    at_rest(&pool);
    traced_here.ended();

    let tasks = (0..3).map(|_| |_: &mut Closures, _: &TaskCx<'_>| ());
    let batch = info_span!("batch");
    assert!(
        batch
            .in_scope(|| pool.run_batch(tasks).wait())
            .iter()
            .all(Result::is_ok)
    );
    drop(batch);
    let spans = traced_here.ended();
    let batch = named(&spans, "batch").span_id;
    let tasks = spans.iter().filter(|span| span.parent_span_id == Some(batch));
    assert_eq!((tasks.count(), spans.len()), (3, 4));
}

/// Offered and refused, and to be run by its caller: but cancelled before that.
#[test]
fn a_task_that_is_cancelled_before_its_caller_runs_it_says_so() {
    let pool = traced(|builder| builder.queue(0).overflow(Overflow::CallerRuns));
    let door = occupy(&pool, 1);
    let token = CancelToken::new();
    let traced_here = Traced::with(Some(token.clone()));
    let answer = pool.run(|_, _| ()).cancel_with(&token).wait();
    assert!(matches!(answer, Err(Error::Cancelled { .. })));
    assert_eq!(traced_here.outcomes(), [("cancelled".to_owned(), None)]);
    door.open();
}

#[test]
fn what_runs_inline_has_a_span_too() {
    static SITE: Adaptive = Adaptive::new();
    let pool = traced(|builder| builder.clock(ManualClock::new()));
    let tiny = || pool.run(|_, _| Context::current()).adaptive(&SITE);
    while pool.snapshot().tasks.inline == 0 {
        tiny().wait().unwrap();
    }
    at_rest(&pool);
    let traced_here = Traced::new();
    let request = info_span!("request");
    let inside = request.in_scope(|| tiny().wait().unwrap());
    let panicked = pool.run(|_, _| -> u8 { panic!("here, too") }).adaptive(&SITE);
    panicked.wait().unwrap_err();
    drop(request);
    assert_eq!(pool.snapshot().tasks.inline, 3);
    let spans = traced_here.ended();
    let task = named(&spans, "task");
    assert_eq!(inside.span_id(), Some(task.span_id));
    assert_eq!(task.parent_span_id, Some(named(&spans, "request").span_id));
    let outcomes: Vec<_> = spans.iter().map(|span| text(span, "outcome")).collect();
    assert_eq!(outcomes, ["completed", "panicked", ""]);
}

/// A runtime of many threads, on which it is offered once, and has no place; and of one, on which it is offered twice.
#[cfg(feature = "tokio")]
#[test]
fn what_a_runtime_runs_or_does_not_has_one_span() {
    let many = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let one = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let traced_here = Traced::new();
    let here = subscriber();
    for (runtime, runs_here) in [(many, true), (one, false)] {
        let pool = traced(|builder| builder.queue(0).overflow(Overflow::CallerRuns));
        let door = occupy(&pool, 1);
        let (own, dispatch, busy) = (pool.clone(), here.clone(), door.clone());
        let call = async move {
            let mut call = own.run(|_, _| Context::current()).owned();
            let polled = dispatcher::with_default(&dispatch, || poll_once(&mut call));
            busy.open();
            match polled {
                Poll::Ready(answer) => (answer, true),
                Poll::Pending => (call.await, false),
            }
        };
        let spawned = runtime.block_on(async { tokio::spawn(call).await });
        let (inside, ran_here) = spawned.unwrap();
        assert_eq!(ran_here, runs_here);
        at_rest(&pool);
        let spans = traced_here.ended();
        let ids: Vec<_> = spans.iter().map(|span| span.span_id).collect();
        assert!(ids.contains(&inside.unwrap().span_id().unwrap()));
        let outcomes = spans.iter().map(|span| text(span, "outcome"));
        assert_eq!(
            outcomes.collect::<Vec<_>>(),
            ["completed", "completed"],
            "that which occupies it, too"
        );
    }
}

#[cfg(feature = "rayon")]
#[test]
fn what_threads_compute_together_belongs_to_one_span() {
    let traced_here = Traced::new();
    let builder = cortex_workers::CpuPool::builder("sums").threads(2).trace();
    let cpu = builder.build_blocking().unwrap();
    let (here, door) = (subscriber(), crate::support::Door::default());
    let (inside, both) = (door.clone(), door.clone());
    let chunks = cpu.map_chunks(vec![1, 2], 1, move |chunk| {
        inside.pass(); // so that each thread has one
        dispatcher::with_default(&here, || info!("chunk {}", chunk[0]));
        Context::current()
    });
    let request = info_span!("request");
    let contexts = request.in_scope(|| {
        std::thread::scope(|scope| {
            scope.spawn(move || {
                both.await_arrivals(2);
                both.open();
            });
            chunks.wait().unwrap()
        })
    });
    drop(request);
    let spans = traced_here.ended();
    let task = named(&spans, "task");
    assert_eq!(task.parent_span_id, Some(named(&spans, "request").span_id));
    let ids: Vec<_> = contexts.iter().map(Context::span_id).collect();
    assert_eq!(ids, [Some(task.span_id); 2]);
    let mut events: Vec<_> = task.events.iter().map(|event| &*event.name).collect();
    events.sort_unstable();
    assert_eq!(events, ["chunk 1", "chunk 2"]);
}
