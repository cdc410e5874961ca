//! What goes beside a context: from a request to its calls, and across threads, tasks and queues.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context as Polling, Poll, Waker};

use cortex_core::{Clock, Context, Flags, SpanId, TraceId};
use cortex_trace::propagation::{self, Baggage, TraceState, extract_baggage};
use cortex_trace::{Captured, CapturedGuard, ServerSpan, ServerStart, SpanKind, Traced, Tracer};
use http::{HeaderMap, HeaderName, Method, Uri};
use proptest::prelude::*;

use crate::support::Fixture;

/// What a thread can see of what is attached to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    span: Option<u64>,
    tracestate: String,
    baggage: String,
}

impl Seen {
    fn now() -> Self {
        let captured = Captured::current();
        assert_eq!(captured.context(), Context::current());
        assert_eq!(*captured.baggage(), Baggage::current());
        Self::of(&captured)
    }

    fn of(captured: &Captured) -> Self {
        Self {
            span: captured.context().span_id().map(SpanId::get),
            tracestate: captured.tracestate().map(ToString::to_string).unwrap_or_default(),
            baggage: captured.baggage().to_string(),
        }
    }
}

fn context(n: u64) -> Context {
    let ids = TraceId::new(n.into()).zip(SpanId::new(n)).unwrap();
    Context::new().with_span(ids.0, ids.1, Flags::NONE)
}

/// A trace of its own, with both beside it.
fn numbered(n: u64) -> Captured {
    let state: TraceState = format!("acme={n}").parse().unwrap();
    Captured::new(context(n))
        .with_tracestate(state)
        .with_baggage(format!("n={n}").parse().unwrap())
}

fn seen(n: u64) -> Seen {
    Seen {
        span: Some(n),
        tracestate: format!("acme={n}"),
        baggage: format!("n={n}"),
    }
}

/// Tells what was current where it was dropped.
struct Witness(mpsc::Sender<Seen>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.send(Seen::now()).unwrap();
    }
}

fn witness() -> (Witness, mpsc::Receiver<Seen>) {
    let (sender, receiver) = mpsc::channel();
    (Witness(sender), receiver)
}

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Polling::from_waker(Waker::noop()))
}

/// Is ready when it is polled again.
async fn pause() {
    let mut is_first = true;
    poll_fn(move |_| {
        if std::mem::take(&mut is_first) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

#[test]
fn attaching_nests_and_each_thread_has_its_own() {
    let outer = numbered(1).attach();
    {
        let _inner = numbered(2).attach();
        assert_eq!(Seen::now(), seen(2));
        let elsewhere = std::thread::spawn(Seen::now).join().unwrap();
        assert_eq!(elsewhere, Seen::default());
        let _bare = Captured::default().attach();
        assert_eq!(Seen::now(), Seen::default());
    }
    assert_eq!(Seen::now(), seen(1));
    drop(outer);
    assert_eq!(Seen::now(), Seen::default());
}

#[test]
fn a_panic_detaches_in_the_right_order() {
    let _outer = numbered(1).attach();
    let (witness, dropped) = witness();
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _first = numbered(2).attach();
        let _witness = witness;
        numbered(3).in_scope(|| panic!("seeded"));
    }));
    assert!(result.is_err());
    assert_eq!(dropped.recv(), Ok(seen(2)));
    assert_eq!(Seen::now(), seen(1));
}

#[test]
fn guards_that_are_dropped_too_early_bring_back_what_they_replaced() {
    let first = numbered(1).attach();
    let second = numbered(2).attach();
    drop(first);
    assert_eq!(Seen::now(), Seen::default());
    drop(second);
    assert_eq!(Seen::now(), seen(1));
    let _clean = Captured::default().attach();
    assert_eq!(Seen::now(), Seen::default());
}

#[test]
fn a_context_attached_alone_leaves_the_baggage_and_not_the_tracestate_of_another_trace() {
    let _guard = numbered(1).attach();
    {
        let _guard = context(2).attach();
        let expected = Seen {
            span: Some(2),
            tracestate: String::new(),
            baggage: "n=1".to_owned(),
        };
        assert_eq!(Seen::now(), expected);
        let elsewhere = Captured::current();
        assert_eq!(elsewhere.in_scope(Seen::now), expected);
    }
    let child = context(1).with_span(TraceId::new(1).unwrap(), SpanId::new(9).unwrap(), Flags::NONE);
    let _guard = child.attach();
    assert_eq!(
        Seen::now(),
        Seen {
            span: Some(9),
            ..seen(1)
        }
    );
}

#[test]
fn works_in_a_thread_local_destructor() {
    struct Late(Option<Witness>);
    impl Drop for Late {
        fn drop(&mut self) {
            // Whether the carrier is gone by now is up to the system; the context is not.
            numbered(4).in_scope(|| assert_eq!(Context::current(), context(4)));
            let _inner = numbered(5).attach();
            drop(self.0.take());
        }
    }
    thread_local!(static LATE: std::cell::Cell<Option<Late>> = const { std::cell::Cell::new(None) });
    for carries_first in [false, true] {
        let (witness, dropped) = witness();
        let thread = std::thread::spawn(move || {
            if carries_first {
                numbered(6).in_scope(Seen::now);
            }
            LATE.set(Some(Late(Some(witness))));
            if !carries_first {
                numbered(6).in_scope(Seen::now);
            }
        });
        thread.join().unwrap();
        assert_eq!(dropped.recv().unwrap().span, Some(5));
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Attach one of [`KINDS`].
    Attach(usize),
    /// Attach a context alone.
    Context(u64),
    /// Drop one of the guards.
    Drop(prop::sample::Index),
}

/// A guard, and what it brings back.
enum Held {
    Both(CapturedGuard, Model),
    Context(cortex_core::Guard, Option<u64>),
}

/// What is attached: a context, and what stands beside it with the trace that it belongs to.
#[derive(Clone, Default)]
struct Model {
    span: Option<u64>,
    trace: Option<u64>,
    tracestate: String,
    baggage: String,
}

const KINDS: usize = 6;

fn kind(kind: usize) -> (Captured, Model) {
    let beside = |tracestate: &str, baggage: &str| {
        let captured = Captured::new(context(1))
            .with_tracestate(tracestate.parse().unwrap())
            .with_baggage(baggage.parse().unwrap());
        let model = Model {
            span: Some(1),
            trace: Some(1),
            tracestate: tracestate.to_owned(),
            baggage: baggage.to_owned(),
        };
        (captured, model)
    };
    match kind {
        0 => (Captured::default(), Model::default()),
        1 => beside("", ""),
        2 => beside("a=1", ""),
        3 => beside("", "b=1"),
        4 => beside("c=1", "d=1"),
        _ => {
            let mut model = beside("", "e=1").1;
            (model.span, model.trace) = (None, None);
            (Captured::default().with_baggage("e=1".parse().unwrap()), model)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_order_of_guards_is_as_in_the_model(
        steps in proptest::collection::vec(
            prop_oneof![
                3 => (0..KINDS).prop_map(Step::Attach),
                1 => (1_u64..3).prop_map(Step::Context),
                2 => any::<prop::sample::Index>().prop_map(Step::Drop),
            ],
            0..24,
        ),
    ) {
        let thread = std::thread::spawn(move || {
            let (mut now, mut guards) = (Model::default(), Vec::new());
            for step in steps {
                match step {
                    Step::Attach(which) => {
                        let (captured, model) = kind(which);
                        guards.push(Held::Both(captured.attach(), std::mem::replace(&mut now, model)));
                    }
                    Step::Context(n) => {
                        guards.push(Held::Context(context(n).attach(), now.span.replace(n)));
                    }
                    Step::Drop(_) if guards.is_empty() => {}
                    Step::Drop(index) => match guards.remove(index.index(guards.len())) {
                        Held::Both(guard, before) => {
                            drop(guard);
                            now = before;
                        }
                        Held::Context(guard, before) => {
                            drop(guard);
                            now.span = before;
                        }
                    },
                }
                let expected = Seen {
                    span: now.span,
                    tracestate: if now.span == now.trace { now.tracestate.clone() } else { String::new() },
                    baggage: now.baggage.clone(),
                };
                assert_eq!(Seen::now(), expected);
            }
        });
        prop_assert!(thread.join().is_ok());
    }
}

#[test]
fn a_future_runs_under_what_it_was_made_under_on_any_thread() {
    let (witness, dropped) = witness();
    let future = async move {
        let _witness = witness;
        let first = Seen::now();
        pause().await;
        let second = (Seen::now(), std::thread::current().id());
        pause().await;
        (first, second)
    };
    let mut future = Box::pin(numbered(7).in_scope(|| Traced::new(future)));

    let _other = numbered(8).attach();
    assert!(poll(future.as_mut()).is_pending());
    assert_eq!(Seen::now(), seen(8));
    let (mut future, after) = std::thread::spawn(move || {
        assert!(poll(future.as_mut()).is_pending());
        (future, (Seen::now(), std::thread::current().id()))
    })
    .join()
    .unwrap();
    assert_eq!(after.0, Seen::default());
    assert_eq!(poll(future.as_mut()), Poll::Ready((seen(7), (seen(7), after.1))));
    assert_eq!(dropped.try_recv(), Ok(seen(7)));
    assert_eq!(Seen::now(), seen(8));
}

#[test]
fn a_future_that_is_dropped_at_any_await_drops_under_what_it_captured() {
    for polls in 0..3 {
        let (witness, dropped) = witness();
        let future = async move {
            let _witness = witness;
            pause().await;
            pause().await;
        };
        let mut future = Box::pin(Traced::with(numbered(9), future));
        for _ in 0..polls {
            let _ready = poll(future.as_mut());
        }
        assert!(dropped.try_recv().is_err());
        drop(future);
        assert_eq!(dropped.try_recv(), Ok(seen(9)));
        assert_eq!(Seen::now(), Seen::default());
    }
}

#[test]
fn a_future_that_panics_leaves_nothing_behind() {
    let (witness, dropped) = witness();
    let future = async move {
        let _witness = witness;
        pause().await;
        panic!("seeded");
    };
    let mut future = Box::pin(Traced::with(numbered(1), future));
    assert!(poll(future.as_mut()).is_pending());
    assert!(catch_unwind(AssertUnwindSafe(|| poll(future.as_mut()))).is_err());
    assert_eq!(dropped.try_recv(), Ok(seen(1)));
    assert_eq!(Seen::now(), Seen::default());
}

#[test]
fn a_message_is_used_and_dropped_under_what_it_was_sent_under() {
    let (first, dropped_first) = witness();
    let (second, dropped_second) = witness();
    let [first, second] = numbered(2).in_scope(|| [Traced::new(first), Traced::new(second)]);
    assert_eq!(Seen::of(first.captured()), seen(2));
    let (seen_inside, witness) = first.run(|witness| (Seen::now(), witness));
    assert_eq!(seen_inside, seen(2));
    drop(witness);
    assert_eq!(dropped_first.recv(), Ok(Seen::default())); // given out, it is ours
    drop(second);
    assert_eq!(dropped_second.recv(), Ok(seen(2)));

    let (captured, text) = Traced::with(numbered(3), "text").clone().into_parts();
    assert_eq!((Seen::of(&captured), text), (seen(3), "text"));
    let shown = format!("{:?} {:?}", Traced::with(captured, text), numbered(1).attach());
    assert!(
        shown.contains("n=3") && shown.contains("\"text\"") && shown.contains("CapturedGuard"),
        "{shown}"
    );
}

#[test]
fn a_closure_that_panics_detaches() {
    let work = Traced::with(numbered(2), || panic!("seeded"));
    assert!(catch_unwind(AssertUnwindSafe(|| work.run(|work| work()))).is_err());
    assert_eq!(Seen::now(), Seen::default());
}

#[test]
fn what_is_captured_takes_little_room() {
    fn is_send_and_sync<T: Send + Sync>(_: &T) {}
    assert_eq!(size_of::<Captured>(), 64); // a context, a pointer, and padding to 16
    is_send_and_sync(&Traced::new(Captured::from(context(1))));
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), value.parse().unwrap());
    }
    headers
}

fn server(tracer: &Tracer, headers: &HeaderMap) -> ServerSpan {
    let start = ServerStart {
        method: &Method::GET,
        path: "/",
        start: cortex_core::SystemClock.now(),
    };
    tracer.server(headers, start)
}

fn call(tracer: &Tracer) -> HeaderMap {
    let mut sent = HeaderMap::new();
    let uri = Uri::from_static("http://stock.internal/7");
    tracer.client(&Method::GET, &uri).inject(&mut sent);
    sent
}

fn tracers() -> [Tracer; 3] {
    [
        Tracer::propagate_only(),
        Tracer::builder("shop").build().unwrap(),
        Tracer::builder("shop")
            .sampler(cortex_trace::AlwaysOff)
            .build()
            .unwrap(),
    ]
}

//= https://www.w3.org/TR/baggage/#mutating-baggage
//= type=test
//# A system receiving a baggage request header SHOULD send it to outgoing requests.
#[test]
fn a_call_sends_on_what_the_request_brought() {
    let received = headers(&[
        ("traceparent", PARENT),
        ("tracestate", "congo=t61rcWkgMzE, rojo=1"),
        ("baggage", "userId=alice , serverNode=DF%2028;p"),
        ("baggage", "broken,userId=bob"),
    ]);
    for tracer in tracers() {
        let span = server(&tracer, &received);
        assert_eq!(span.baggage().len(), 3);
        let sent = span.captured().in_scope(|| {
            // Two spans deep, on another thread.
            let inner = tracer.span("load").start();
            let work = inner.in_scope(|| Traced::new(tracer.clone()));
            std::thread::spawn(|| work.run(|tracer| call(&tracer)))
                .join()
                .unwrap()
        });
        let remote = propagation::extract(&sent).unwrap();
        assert_eq!(Some(remote.trace_id()), span.context().trace_id());
        assert_eq!(Some(remote.tracestate()), span.tracestate());
        assert_eq!(sent["tracestate"], "congo=t61rcWkgMzE,rojo=1");
        assert_eq!(sent["baggage"], "userId=alice,serverNode=DF%2028;p,userId=bob");
        assert_eq!(call(&tracer).get("baggage"), None);
    }
}

#[test]
fn baggage_needs_no_trace() {
    for parent in ["", "00-0-0-00"] {
        let received = headers(&[
            ("traceparent", parent),
            ("tracestate", "a=1"),
            ("baggage", "tier=gold"),
        ]);
        for tracer in tracers() {
            let span = server(&tracer, &received);
            let sent = span.captured().in_scope(|| call(&tracer));
            assert_eq!(sent["baggage"], "tier=gold");
            assert!(sent.get("tracestate").is_none_or(|state| state != "a=1"));
        }
    }
    let tracer = Tracer::builder("shop").restart_traces().build().unwrap();
    let span = server(
        &tracer,
        &headers(&[("traceparent", PARENT), ("baggage", "tier=gold")]),
    );
    assert_ne!(span.context().trace_id().unwrap().to_string(), PARENT[3..35]);
    assert_eq!(span.baggage().get("tier").as_deref(), Some("gold"));
}

#[test]
fn a_context_alone_carries_nothing() {
    let tracer = Tracer::propagate_only();
    let received = headers(&[("traceparent", PARENT), ("tracestate", "a=1"), ("baggage", "b=2")]);
    let span = server(&tracer, &received);
    let _guard = span.context().attach();
    let sent = call(&tracer);
    assert_eq!((sent.get("tracestate"), sent.get("baggage")), (None, None));
}

#[test]
fn a_span_gets_the_tracestate_of_its_own_trace_only() {
    let fixture = Fixture::new();
    let _guard = numbered(1).attach();
    let tracestate = |span: &cortex_trace::Span| span.tracestate().map(ToString::to_string);

    let below = fixture.tracer.span("below").start();
    assert_eq!(tracestate(&below).as_deref(), Some("acme=1"));
    let chosen = fixture
        .tracer
        .span("chosen")
        .tracestate("b=2".parse().unwrap())
        .start();
    assert_eq!(tracestate(&chosen).as_deref(), Some("b=2"));
    assert_eq!(chosen.in_scope(Seen::now).tracestate, "b=2");
    let none = fixture.tracer.span("none").tracestate(TraceState::EMPTY).start();
    assert_eq!(tracestate(&none), None);
    assert_eq!(none.in_scope(Seen::now).tracestate, "");

    let root = fixture.tracer.span("root").parent(Context::new()).start();
    assert_ne!(tracestate(&root).as_deref(), Some("acme=1"));
    let _other = context(2).attach();
    let other = fixture.tracer.span("other").start();
    assert_eq!(tracestate(&other), None);

    for span in [&below, &chosen, &none, &root, &other] {
        assert_eq!(span.baggage().to_string(), "n=1");
    }
}

#[test]
fn a_span_that_differs_from_what_is_current_carries_its_own() {
    let tracer = Tracer::propagate_only();
    let current = numbered(1);
    let _guard = current.attach();
    let same = tracer.span("same").start();
    assert_eq!(same.in_scope(Seen::now), seen(1));
    let other_baggage = tracer.span("baggage").baggage("n=2".parse().unwrap()).start();
    let expected = Seen {
        baggage: "n=2".to_owned(),
        ..seen(1)
    };
    assert_eq!(other_baggage.in_scope(Seen::now), expected);
    let other_trace = tracer.span("trace").parent(context(2));
    let other_trace = other_trace.tracestate("acme=1".parse().unwrap()).start();
    let expected = Seen {
        span: Some(2),
        ..seen(1)
    };
    assert_eq!(other_trace.in_scope(Seen::now), expected);
    assert_eq!(Seen::now(), seen(1));

    let moved = current.clone().with_context(context(3));
    assert_eq!((moved.context(), moved.tracestate()), (context(3), None));
    assert_eq!(moved.baggage(), current.baggage());
    let back = moved.with_context(context(1));
    assert_eq!(Seen::of(&back), seen(1));
}

#[test]
fn a_scope_changes_the_baggage_of_what_is_inside() {
    let tracer = Tracer::propagate_only();
    let outer = tracer.span("outer").baggage("a=1".parse().unwrap()).start();
    outer.in_scope(|| {
        let mut baggage = Baggage::current();
        baggage.set("b", "2").unwrap();
        let inner = Captured::current().with_baggage(baggage);
        inner.in_scope(|| assert_eq!(call(&tracer)["baggage"], "a=1,b=2"));
        assert_eq!(call(&tracer)["baggage"], "a=1");
        let nothing = Captured::current().with_baggage(Baggage::EMPTY);
        nothing.in_scope(|| assert_eq!(call(&tracer).get("baggage"), None));
    });
}

#[test]
fn old_baggage_of_a_forwarded_request_goes() {
    let forwarded = |list: &str, baggage: &str| {
        let tracer = Tracer::propagate_only_with(list.parse().unwrap());
        let mut sent = headers(&[("baggage", "of=stranger"), ("baggage", "more=1")]);
        let call = tracer.span("call").kind(SpanKind::Client);
        call.baggage(baggage.parse().unwrap()).start().inject(&mut sent);
        extract_baggage(&sent).to_string()
    };
    assert_eq!(forwarded("tracecontext,baggage", ""), "");
    assert_eq!(forwarded("tracecontext,baggage", "a=1"), "a=1");
    // A tracer that does not speak it leaves it alone.
    assert_eq!(forwarded("tracecontext", "a=1"), "of=stranger,more=1");
}

#[cfg(feature = "tokio")]
mod tasks {
    use super::*;
    use cortex_trace::{spawn_blocking_traced, spawn_traced};
    use tokio::sync::oneshot;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn tasks_run_under_what_they_were_spawned_under() {
        let tasks: Vec<_> = (1..50)
            .map(|n| {
                let work = || async {
                    let first = Seen::now();
                    tokio::task::yield_now().await;
                    let nested = spawn_traced(async { Seen::now() });
                    let blocking = spawn_blocking_traced(Seen::now);
                    [first, Seen::now(), nested.await.unwrap(), blocking.await.unwrap()]
                };
                (n, numbered(n).in_scope(|| spawn_traced(work())))
            })
            .collect();
        assert_eq!(Seen::now(), Seen::default());
        for (n, task) in tasks {
            assert_eq!(task.await.unwrap(), [(); 4].map(|()| seen(n)));
        }
    }

    #[tokio::test]
    async fn an_aborted_task_drops_under_what_it_captured() {
        let (witness, dropped) = witness();
        let (started, is_started) = oneshot::channel();
        let task = numbered(3).in_scope(|| {
            spawn_traced(async move {
                let _witness = witness;
                started.send(()).unwrap();
                std::future::pending::<()>().await;
            })
        });
        is_started.await.unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(dropped.recv(), Ok(seen(3)));
        assert_eq!(Seen::now(), Seen::default());
    }

    #[tokio::test]
    async fn a_task_that_panics_leaves_its_thread_clean() {
        let task = numbered(3).in_scope(|| spawn_traced(async { panic!("seeded") }));
        let ended: Result<(), _> = task.await;
        assert!(ended.unwrap_err().is_panic());
        let task = tokio::spawn(async { Seen::now() }); // on the same thread: the runtime has one
        assert_eq!(task.await.unwrap(), Seen::default());
    }
}
