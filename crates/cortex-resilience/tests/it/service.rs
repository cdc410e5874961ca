//! The breaker as a layer.

use crate::support::{Bench, bench, secs};
use cortex_resilience::Reason;
use cortex_resilience::circuit::{BreakerLayer, Error, HalfOpen, State};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use tower::{Layer, Service};

/// Counts what it is asked, and panics if it is called before it was ready.
#[derive(Debug, Default)]
struct Inner {
    looks: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
    ready: bool,
    broken: bool,
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        Self {
            looks: self.looks.clone(),
            calls: self.calls.clone(),
            ready: false,
            broken: self.broken,
        }
    }
}

impl Service<bool> for Inner {
    type Response = ();
    type Error = &'static str;
    type Future = std::future::Ready<Result<(), &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.ready = !self.broken;
        Poll::Ready(if self.broken { Err("broken") } else { Ok(()) })
    }

    fn call(&mut self, good: bool) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "it was called before it was ready"
        );
        self.calls.fetch_add(1, Ordering::Relaxed);
        std::future::ready(if good { Ok(()) } else { Err("bad") })
    }
}

type Answer = Result<(), Error<&'static str>>;

fn ready<S: Service<bool>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

fn answer(future: impl Future<Output = Answer>) -> Answer {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it is ready at once"),
    }
}

fn probing() -> Bench {
    bench(|builder| builder.half_open(HalfOpen::permits(1)).min_calls(1))
}

#[test]
fn an_open_breaker_neither_asks_nor_calls_the_inner_service() {
    let bench = probing();
    let inner = Inner::default();
    let mut service = BreakerLayer::new(bench.breaker.clone()).layer(inner.clone());
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    assert_eq!(answer(service.call(false)), Err(Error::Inner("bad")));
    assert_eq!(bench.breaker.state(), State::Open);
    for _ in 0..3 {
        assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
        let refused = answer(service.call(true)).unwrap_err().rejected().unwrap();
        assert_eq!(
            (refused.reason(), refused.retry_after()),
            (Reason::Open, Some(secs(60)))
        );
    }
    assert_eq!(
        (
            inner.looks.load(Ordering::Relaxed),
            inner.calls.load(Ordering::Relaxed)
        ),
        (1, 1)
    );
    assert_eq!(bench.breaker.snapshot().rejected, 3);
    bench.clock.advance(secs(60));
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    assert_eq!(answer(service.call(true)), Ok(()));
    assert_eq!(bench.breaker.state(), State::Closed);
}

#[test]
fn a_clone_that_is_not_ready_is_answered() {
    let bench = probing();
    let mut service = BreakerLayer::new(bench.breaker.clone()).layer(Inner::default());
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    let mut clone = service.clone();
    assert_eq!(answer(clone.call(true)), Err(Error::NotReady));
    assert_eq!(answer(service.call(true)), Ok(()));
    assert_eq!(answer(service.call(true)), Err(Error::NotReady)); // a readiness is for one call
    assert_eq!(bench.breaker.snapshot().total, 1);
}

#[test]
fn a_service_that_cannot_become_ready_is_no_vote() {
    let bench = probing();
    let broken = Inner {
        broken: true,
        ..Inner::default()
    };
    let mut service = BreakerLayer::new(bench.breaker.clone()).layer(broken);
    assert_eq!(ready(&mut service), Poll::Ready(Err(Error::Inner("broken"))));
    assert_eq!(
        (bench.breaker.snapshot().total, bench.breaker.state()),
        (0, State::Closed)
    );
}

#[test]
fn an_answer_that_is_dropped_gives_its_permit_back() {
    let bench = probing();
    bench.breaker.open().unwrap();
    bench.clock.advance(secs(60));
    let mut service = BreakerLayer::new(bench.breaker.clone()).layer(Inner::default());
    for _ in 0..3 {
        assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
        drop(service.call(true));
    }
    let mut other = service.clone();
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    assert_eq!(ready(&mut other), Poll::Ready(Ok(())));
    let first = service.call(true);
    let refused = answer(other.call(true)).unwrap_err().rejected().unwrap();
    assert_eq!(refused.reason(), Reason::HalfOpen);
    assert_eq!(answer(first), Ok(()));
    assert_eq!(answer(other.call(true)), Ok(())); // it stayed ready when it was refused
}

/// A service that was ready without the inner one is refused by what the breaker is then, and does not call.
#[test]
fn a_state_that_changes_between_ready_and_call_calls_nobody_who_is_not_ready() {
    let refused = |change: &dyn Fn(&Bench)| {
        let bench = probing();
        bench.breaker.open().unwrap();
        let inner = Inner::default();
        let mut service = BreakerLayer::new(bench.breaker.clone()).layer(inner.clone());
        assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
        change(&bench);
        let refused = answer(service.call(true)).unwrap_err().rejected().unwrap();
        assert_eq!(inner.calls.load(Ordering::Relaxed), 0);
        (refused.reason(), refused.retry_after())
    };
    let now = Some(secs(0));
    assert_eq!(refused(&|_| {}), (Reason::Open, Some(secs(60))));
    assert_eq!(
        refused(&|bench| bench.clock.advance(secs(90))),
        (Reason::Open, now)
    );
    assert_eq!(refused(&|bench| bench.breaker.close()), (Reason::Open, now));
    assert_eq!(refused(&|bench| bench.breaker.disable()), (Reason::Open, now));
    assert_eq!(
        refused(&|bench| bench.breaker.force_open()),
        (Reason::Forced, None)
    );
    assert_eq!(
        refused(&|bench| bench.breaker.half_open().unwrap()),
        (Reason::HalfOpen, now)
    );
    let probe = std::cell::RefCell::new(None);
    let busy = |bench: &Bench| {
        bench.breaker.half_open().unwrap();
        *probe.borrow_mut() = bench.breaker.try_acquire_owned().ok();
    };
    assert_eq!(refused(&busy), (Reason::HalfOpen, Some(secs(60))));
}

#[test]
fn a_forced_breaker_refuses_as_a_service_and_shows_what_it_is() {
    let bench = probing();
    bench.breaker.force_open();
    let mut service = BreakerLayer::new(bench.breaker.clone()).layer(Inner::default());
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    assert!(format!("{service:?}").starts_with("BreakerService { inner: Inner {"));
    let future = service.call(true);
    assert!(format!("{future:?}").contains("Forced"));
    let refused = answer(future).unwrap_err().rejected().unwrap();
    assert_eq!((refused.reason(), refused.retry_after()), (Reason::Forced, None));
}

#[test]
fn an_answer_that_is_polled_again_panics_and_counts_nothing() {
    let bench = probing();
    let mut service = BreakerLayer::new(bench.breaker.clone()).layer(Inner::default());
    let mut context = Context::from_waker(Waker::noop());
    for open in [false, true] {
        assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
        if open {
            bench.breaker.open().unwrap();
        }
        let mut future = Box::pin(service.call(true));
        assert!(future.as_mut().poll(&mut context).is_ready());
        assert!(catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context))).is_err());
    }
    let snapshot = bench.breaker.snapshot();
    assert_eq!((snapshot.total, snapshot.rejected), (1, 1));
}

/// A service that panics before it has an answer.
struct Panics;

impl Service<bool> for Panics {
    type Response = ();
    type Error = &'static str;
    type Future = std::future::Ready<Result<(), &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: bool) -> Self::Future {
        panic!("as written")
    }
}

#[test]
fn a_service_that_panics_in_its_call_has_failed() {
    let bench = probing();
    bench.breaker.open().unwrap();
    bench.clock.advance(secs(60));
    let mut service = BreakerLayer::new(bench.breaker.clone()).layer(Panics);
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    let panicked = catch_unwind(AssertUnwindSafe(|| drop(service.call(true))));
    assert!(panicked.is_err());
    let snapshot = bench.breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.failed), (State::Open, 1));
}
