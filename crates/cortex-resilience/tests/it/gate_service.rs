//! Gates as layers.

use crate::support::{Log, millis};
use cortex_resilience::Reason;
use cortex_resilience::adaptive::{AdaptiveLimit, AdaptiveLimitLayer, Aimd};
use cortex_resilience::gate::Error;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use tower::{Layer, Service};

/// Counts what it is asked, and panics if it is called before it was ready.
#[derive(Debug, Default)]
pub(crate) struct Inner {
    pub(crate) looks: Arc<AtomicUsize>,
    pub(crate) calls: Arc<AtomicUsize>,
    pub(crate) ready: bool,
    pub(crate) state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum State {
    #[default]
    Works,
    Broken,
    Pends,
    /// Panics when it is called.
    Explodes,
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        Self {
            looks: self.looks.clone(),
            calls: self.calls.clone(),
            ready: false,
            state: self.state,
        }
    }
}

impl Service<bool> for Inner {
    type Response = ();
    type Error = &'static str;
    type Future = std::future::Ready<Result<(), &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.ready = matches!(self.state, State::Works | State::Explodes);
        match self.state {
            State::Works | State::Explodes => Poll::Ready(Ok(())),
            State::Broken => Poll::Ready(Err("broken")),
            State::Pends => Poll::Pending,
        }
    }

    fn call(&mut self, good: bool) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "it was called before it was ready"
        );
        assert!(self.state != State::Explodes, "on purpose");
        self.calls.fetch_add(1, Ordering::Relaxed);
        std::future::ready(if good { Ok(()) } else { Err("bad") })
    }
}

pub(crate) fn ready<R, S: Service<R>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

pub(crate) fn answer<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("it is ready at once"),
    }
}

type Limiter = AdaptiveLimit<Aimd, cortex_resilience::ErrIsFailure, Log>;

fn one_at_once() -> Limiter {
    let aimd = Aimd::new(1..=1, millis(1000));
    let builder = AdaptiveLimit::builder("test", aimd).observe(Log::new());
    builder.build().expect("the settings make sense")
}

#[test]
fn a_gate_that_is_shut_neither_asks_nor_calls_the_inner_service() {
    let limiter = one_at_once();
    let inner = Inner::default();
    let mut service = AdaptiveLimitLayer::new(limiter.clone()).layer(inner.clone());
    let held = limiter.try_acquire().unwrap();
    for _ in 0..3 {
        assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
        let refused = answer(service.call(true)).unwrap_err().rejected().unwrap();
        assert_eq!(refused.reason(), Reason::ConcurrencyLimit);
    }
    assert_eq!(
        inner.looks.load(Ordering::Relaxed) + inner.calls.load(Ordering::Relaxed),
        0
    );
    assert_eq!(limiter.snapshot().rejected, 3);
    drop(held);
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    assert_eq!(answer(service.call(true)), Ok(()));
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    assert_eq!(answer(service.call(false)), Err(Error::Inner("bad")));
    assert_eq!(limiter.in_flight(), 0);
}

#[test]
fn readiness_holds_no_place_and_stays_when_a_call_is_refused() {
    let limiter = one_at_once();
    let mut service = AdaptiveLimitLayer::new(limiter.clone()).layer(Inner::default());
    let mut other = service.clone();
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    assert_eq!(ready(&mut other), Poll::Ready(Ok(())));
    assert_eq!(limiter.in_flight(), 0);
    let first = service.call(true);
    assert_eq!(limiter.in_flight(), 1);
    assert!(matches!(answer(other.call(true)), Err(Error::Rejected(_))));
    assert_eq!(answer(first), Ok(()));
    assert_eq!(answer(other.call(true)), Ok(()));
    assert_eq!(limiter.in_flight(), 0);
}

#[test]
fn a_service_that_said_it_is_ready_stays_so() {
    let limiter = one_at_once();
    let mut service = AdaptiveLimitLayer::new(limiter.clone()).layer(Inner {
        state: State::Pends,
        ..Inner::default()
    });
    let held = limiter.try_acquire().unwrap();
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    drop(held);
    assert_eq!(ready(&mut service), Poll::Ready(Ok(()))); // there is a place by now, but the inner service waits
    assert!(matches!(answer(service.call(true)), Err(Error::Rejected(_))));
    assert_eq!(ready(&mut service), Poll::Pending);
}

#[test]
fn a_clone_that_is_not_ready_is_answered() {
    let limiter = one_at_once();
    let mut service = AdaptiveLimitLayer::new(limiter.clone()).layer(Inner::default());
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    let mut clone = service.clone();
    assert_eq!(answer(clone.call(true)), Err(Error::NotReady));
    assert_eq!(answer(service.call(true)), Ok(()));
    assert_eq!(answer(service.call(true)), Err(Error::NotReady)); // a readiness is for one call
    assert_eq!(limiter.in_flight(), 0);
}

#[test]
fn what_is_dropped_or_panics_frees_its_place() {
    let limiter = one_at_once();
    let layer = AdaptiveLimitLayer::new(limiter.clone());
    let mut service = layer.layer(Inner::default());
    for _ in 0..3 {
        assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
        drop(service.call(true));
    }
    let mut explodes = layer.layer(Inner {
        state: State::Explodes,
        ..Inner::default()
    });
    assert_eq!(ready(&mut explodes), Poll::Ready(Ok(())));
    let call = std::panic::AssertUnwindSafe(|| drop(explodes.call(true)));
    assert!(std::panic::catch_unwind(call).is_err());
    assert_eq!(limiter.in_flight(), 0);
}

#[test]
fn a_service_that_waits_or_fails_is_passed_on() {
    let layer = AdaptiveLimitLayer::new(one_at_once());
    let of = |state| Inner {
        state,
        ..Inner::default()
    };
    assert_eq!(ready(&mut layer.layer(of(State::Pends))), Poll::Pending);
    let broken = ready(&mut layer.layer(of(State::Broken)));
    assert_eq!(broken, Poll::Ready(Err(Error::Inner("broken"))));
}
