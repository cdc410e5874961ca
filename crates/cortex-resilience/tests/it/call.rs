//! Futures behind a breaker: cancelled, panicking, late.

use crate::support::{Bench, bench, millis, secs};
use cortex_resilience::adaptive::{AdaptiveLimit, Vegas};
use cortex_resilience::circuit::{Breaker, Error, HalfOpen, State, Window};
use cortex_resilience::{Classify, Outcome, Pushback, Reason};
use cortex_testkit::ManualClock;
use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn half_open() -> Bench {
    let bench = bench(|builder| builder.half_open(HalfOpen::permits(1)).min_calls(1));
    bench.breaker.open().expect("it may");
    bench.clock.advance(secs(60));
    bench
}

/// Pends so often, then is ready.
async fn pends<T>(times: u32, value: T) -> T {
    let mut left = times;
    poll_fn(|_| {
        left = left.wrapping_sub(1);
        if left == u32::MAX {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    value
}

/// Calls a function when it is dropped.
struct AtEnd<F: FnMut()>(F);

impl<F: FnMut()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

async fn hangs_with<T>(_held: T) -> Result<(), ()> {
    pending().await
}

#[test]
fn what_a_dropped_call_holds_is_free_before_its_permit() {
    let Bench { breaker, .. } = &half_open();
    let limit = AdaptiveLimit::builder("test", Vegas::new(1..=9)).build().unwrap();
    let others = Cell::new(None);
    let is_free = || breaker.try_acquire().is_ok();
    let mut call = Box::pin(breaker.call(hangs_with(AtEnd(|| others.set(Some(is_free()))))));
    assert!(poll(call.as_mut()).is_pending());
    drop(call);
    assert_eq!((others.take(), is_free()), (Some(false), true));
    let is_idle = || limit.in_flight() == 0;
    let mut call = Box::pin(limit.call(hangs_with(AtEnd(|| others.set(Some(is_idle()))))));
    assert!(poll(call.as_mut()).is_pending());
    drop(call);
    assert_eq!((others.take(), is_idle()), (Some(false), true));
}

#[test]
fn a_result_is_passed_on_and_counted() {
    let bench = bench(|builder| builder);
    let ok = poll(pin!(bench.breaker.call(ready(Ok::<_, ()>(7)))));
    assert_eq!(ok, Poll::Ready(Ok(7)));
    let err = poll(pin!(bench.breaker.call(ready(Err::<u8, _>("no")))));
    assert_eq!(err, Poll::Ready(Err(Error::Inner("no"))));
    let snapshot = bench.breaker.snapshot();
    assert_eq!((snapshot.ok, snapshot.failed), (1, 1));
}

#[test]
fn a_closure_is_called_and_counted_unless_it_is_rejected() {
    let bench = bench(|builder| builder.slow_call(millis(100), 1.0));
    assert_eq!(bench.breaker.run(|| Ok::<_, ()>(7)), Ok(7));
    let slow = bench.breaker.run(|| {
        bench.clock.advance(millis(101));
        Err::<(), _>("no")
    });
    assert_eq!(slow, Err(Error::Inner("no")));
    let snapshot = bench.breaker.snapshot();
    assert_eq!((snapshot.ok, snapshot.failed, snapshot.slow_failed), (1, 1, 1));
    bench.breaker.force_open();
    let refused = bench
        .breaker
        .run(|| -> Result<(), ()> { panic!("it was called") });
    assert!(refused.unwrap_err().rejected().is_some());
}

#[test]
fn a_rejected_future_is_not_polled() {
    let bench = bench(|builder| builder);
    bench.breaker.force_open();
    let never = async { panic!("it was polled") };
    let mut call = pin!(bench.breaker.call(async {
        never.await;
        Ok::<(), ()>(())
    }));
    let Poll::Ready(Err(error)) = poll(call.as_mut()) else {
        panic!("it was let through");
    };
    assert_eq!(
        error.rejected().map(|rejected| rejected.reason()),
        Some(Reason::Forced)
    );
}

#[test]
fn cancelled_at_any_point_it_gives_its_permit_back() {
    for polls in 0..4 {
        let bench = half_open();
        {
            let mut call = pin!(bench.breaker.call(pends(3, Ok::<(), ()>(()))));
            for _ in 0..polls {
                assert!(poll(call.as_mut()).is_pending());
            }
            if polls > 0 {
                assert_eq!(bench.refusal().0, Reason::HalfOpen);
            }
        }
        assert_eq!(bench.breaker.snapshot().total, 0);
        bench.succeed(1);
        assert_eq!(bench.breaker.state(), State::Closed);
    }
}

#[test]
fn a_panic_is_a_failure_and_leaks_nothing() {
    let bench = half_open();
    let panics = async {
        if true {
            panic!("as written")
        } else {
            Ok::<(), ()>(())
        }
    };
    let panicked = catch_unwind(AssertUnwindSafe(|| poll(pin!(bench.breaker.call(panics)))));
    assert!(panicked.is_err());
    let snapshot = bench.breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.failed), (State::Open, 1));
}

#[test]
fn a_call_that_another_panic_drops_is_no_failure() {
    let bench = bench(|builder| builder);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut call = pin!(bench.breaker.call(pending::<Result<(), ()>>()));
        assert!(poll(call.as_mut()).is_pending());
        panic!("somebody else's");
    }));
    assert!(panicked.is_err());
    let snapshot = bench.breaker.snapshot();
    assert_eq!((snapshot.failed, snapshot.ignored), (0, 1));
}

#[test]
fn polled_again_it_panics_and_counts_nothing() {
    let bench = bench(|builder| builder);
    let mut call = Box::pin(bench.breaker.call(ready(Ok::<(), ()>(()))));
    assert!(poll(call.as_mut()).is_ready());
    assert!(catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()))).is_err());
    drop(call);
    assert_eq!(bench.breaker.snapshot().total, 1);
}

#[test]
fn time_before_the_first_poll_is_not_the_calls() {
    let bench = bench(|builder| builder.slow_call(millis(100), 1.0));
    let mut call = pin!(bench.breaker.call(pends(1, Ok::<(), ()>(()))));
    bench.clock.advance(secs(1));
    assert!(poll(call.as_mut()).is_pending());
    bench.clock.advance(millis(101));
    assert!(poll(call.as_mut()).is_ready());
    assert_eq!(bench.breaker.snapshot().slow_ok, 1);
}

#[test]
fn what_the_dependency_said_of_further_attempts_is_the_break() {
    struct Asks(Option<Pushback>);
    impl<T, E> Classify<T, E> for Asks {
        fn outcome(&self, _: Result<&T, &E>) -> Outcome {
            Outcome::Failure
        }

        fn pushback(&self, _: Result<&T, &E>) -> Option<Pushback> {
            self.0
        }
    }
    for (asks, wait) in [
        (Some(Pushback::After(secs(7))), 7),
        (Some(Pushback::Stop), 3),
        (None, 3),
    ] {
        let breaker = Breaker::builder("test")
            .window(Window::consecutive(1))
            .break_with(|cx| cx.retry_after.unwrap_or(secs(3)))
            .classify(Asks(asks))
            .clock(ManualClock::new())
            .build()
            .unwrap();
        let mut call = pin!(breaker.call(ready(Ok::<(), ()>(()))));
        assert!(poll(call.as_mut()).is_ready());
        assert_eq!(breaker.remaining(), secs(wait));
    }
}

#[test]
fn a_late_result_is_still_the_calls_own() {
    let bench = bench(|builder| builder);
    let mut call = pin!(bench.breaker.call(pends(1, Ok::<_, ()>(3))));
    assert!(poll(call.as_mut()).is_pending());
    bench.breaker.open().unwrap();
    assert_eq!(poll(call.as_mut()), Poll::Ready(Ok(3)));
    assert_eq!(bench.breaker.snapshot().late, 1);
}

#[test]
fn a_classifier_judges_ok_values_and_errors() {
    let judge = |result: Result<&u16, &bool>| match result {
        Ok(status) if *status >= 500 => Outcome::Failure,
        Err(true) => Outcome::Ignore,
        Ok(_) => Outcome::Success,
        Err(false) => Outcome::Failure,
    };
    let breaker = Breaker::builder("test").classify(judge).build().unwrap();
    for result in [Ok(503), Ok(200), Err(true), Err(false)] {
        let passed = poll(pin!(breaker.call(ready(result))));
        assert_eq!(passed, Poll::Ready(result.map_err(Error::Inner)));
    }
    let snapshot = breaker.snapshot();
    assert_eq!((snapshot.ok, snapshot.failed, snapshot.ignored), (1, 2, 1));
}
