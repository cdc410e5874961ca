//! Throttling by the client.
#![expect(
    clippy::cast_precision_loss,
    clippy::float_cmp,
    reason = "counts are small, and rates come from the same steps"
)]

use crate::support::{Log, secs, without_files};
use cortex_resilience::gate::{Error, Permit};
use cortex_resilience::throttle::{AdaptiveThrottle, Builder};
use cortex_resilience::{ErrIsFailure, Event, Outcome, Reason};
use cortex_testkit::ManualClock;
use proptest::prelude::*;
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

type Tested = AdaptiveThrottle<ErrIsFailure, Log, ManualClock>;

fn tested(set: impl FnOnce(Builder) -> Builder) -> (Tested, ManualClock, Log) {
    let (clock, log) = (ManualClock::new(), Log::new());
    let builder = set(AdaptiveThrottle::builder("test").seed(3)).clock(clock.clone());
    let throttle = builder.observe(log.clone()).build();
    (throttle.expect("the settings make sense"), clock, log)
}

/// Tries so many calls, which end like this, and returns how many were let through.
fn tries(throttle: &Tested, times: usize, outcome: Outcome) -> usize {
    let permits = (0..times).filter_map(|_| throttle.try_acquire().ok());
    permits.map(|permit| permit.record(outcome)).count()
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn all_get_through_while_enough_succeed_or_too_few_are_known() {
    let (throttle, ..) = tested(|builder| builder.min_calls(100));
    assert_eq!(tries(&throttle, 99, Outcome::Failure), 99);
    let (throttle, ..) = tested(|builder| builder);
    for _ in 0..500 {
        assert_eq!(tries(&throttle, 1, Outcome::Success), 1);
        assert_eq!(tries(&throttle, 1, Outcome::Failure), 1);
    }
    assert_eq!(throttle.rejection_rate(), 0.0);
}

#[test]
fn a_dependency_that_is_down_gets_a_tenth_and_recovers() {
    let (throttle, clock, log) = tested(|builder| builder.period(secs(10)));
    tries(&throttle, 200, Outcome::Failure);
    let through = tries(&throttle, 10_000, Outcome::Failure);
    assert!((900..1100).contains(&through), "{through}");
    let rejections = log.all();
    assert!(matches!(rejections[0], Event::Rejected(why) if why.reason() == Reason::Throttled));
    assert_eq!(throttle.snapshot().rejected, rejections.len() as u64);
    clock.advance(secs(10));
    assert_eq!(throttle.rejection_rate(), 0.0);
    assert_eq!(tries(&throttle, 100, Outcome::Success), 100);
}

#[test]
fn a_dependency_that_does_a_part_gets_some_more_than_that() {
    let (throttle, clock, _) = tested(|builder| builder.period(secs(10)));
    // 1,000 calls want to be made a second, and 100 of those that are made succeed. The root of 1,000 * 100 / 0.5 are let through.
    let mut through = 0;
    for second in 0..30 {
        through = 0;
        for _ in 0..1000 {
            if let Ok(permit) = throttle.try_acquire() {
                permit.record(if through < 100 {
                    Outcome::Success
                } else {
                    Outcome::Failure
                });
                through += 1;
            }
        }
        clock.advance(secs(1));
        assert!(second < 20 || (400..500).contains(&through), "{through}");
    }
    assert!(through > 0);
}

#[test]
fn what_is_ignored_or_dropped_does_not_count_and_a_panic_failed() {
    let (throttle, _, log) = tested(|builder| builder);
    throttle.try_acquire().unwrap().ignore();
    drop(throttle.try_acquire_owned());
    let mut hangs = Box::pin(throttle.call(pending::<Result<(), ()>>()));
    assert!(poll(hangs.as_mut()).is_pending());
    drop(hangs);
    assert_eq!(log.all(), [Event::Ignored; 3]);
    let mut panics = Box::pin(throttle.call(async {
        assert!(log.all().len() > 7, "on purpose");
        Ok::<(), ()>(())
    }));
    assert!(catch_unwind(AssertUnwindSafe(|| poll(panics.as_mut()))).is_err());
    drop(panics);
    assert_eq!(
        poll(pin!(throttle.call(ready(Ok::<_, ()>(7))))),
        Poll::Ready(Ok(7))
    );
    let failed = poll(pin!(throttle.call(ready(Err::<(), _>(7)))));
    assert_eq!(failed, Poll::Ready(Err(Error::Inner(7))));
    let snapshot = throttle.snapshot();
    assert_eq!((snapshot.ok, snapshot.failed), (1, 2));
}

#[test]
fn the_same_seed_refuses_the_same_calls() {
    let run = || {
        let (throttle, ..) = tested(|builder| builder);
        let calls = (0..300).map(|_| throttle.try_acquire().map(Permit::failure).is_ok());
        calls.collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn settings_are_checked_and_can_be_replaced() {
    let field = |builder: Builder| builder.build().unwrap_err().field();
    let builder = || AdaptiveThrottle::builder("test");
    for share in [0.0, -1.0, 1.5, f64::NAN] {
        assert_eq!(field(builder().success_threshold(share)), "success_threshold");
        assert_eq!(field(builder().max_rate(share)), "max_rate");
    }
    assert_eq!(field(builder().min_calls(0)), "min_calls");
    assert_eq!(field(builder().period(Duration::from_millis(999))), "period");
    assert_eq!(field(builder().period(Duration::MAX)), "period");
    let (throttle, ..) = tested(|builder| builder);
    tries(&throttle, 5000, Outcome::Failure);
    assert_eq!(throttle.rejection_rate(), 0.9);
    throttle.reload(&builder().max_rate(0.2)).unwrap();
    assert_eq!(throttle.rejection_rate(), 0.2);
    assert!(throttle.reload(&builder().max_rate(2.0)).is_err());
    let error = throttle.reload(&builder().period(secs(7))).unwrap_err();
    assert_eq!((error.field(), throttle.rejection_rate()), ("period", 0.2));
}

proptest! {
    #![proptest_config(without_files())]

    #[test]
    fn model_throttle(
        steps in prop::collection::vec((0_u64..4000, 0_u8..4), 0..200),
        (threshold, max, min) in (0.1_f64..=1.0, 0.1_f64..=1.0, 1_u32..20),
    ) {
        let set = |builder: Builder| builder.period(secs(10)).success_threshold(threshold).max_rate(max).min_calls(min);
        let (throttle, clock, _) = tested(set);
        let (mut now, mut calls) = (0, Vec::new());
        for (wait, outcome) in steps {
            clock.advance(Duration::from_millis(wait));
            now += wait;
            // Every call that ended in this bucket of a second or the nine before it.
            let known: Vec<bool> = calls.iter().filter(|(at, _)| now / 1000 - at / 1000 < 10).map(|(_, ok)| *ok).collect();
            let (n, ok) = (known.len() as f64, known.iter().filter(|ok| **ok).count() as f64);
            let rate = if n < f64::from(min) { 0.0 } else { ((n - ok / threshold).max(0.0) / (n + 1.0)).min(max) };
            prop_assert_eq!(throttle.rejection_rate(), rate);
            let permit = throttle.try_acquire();
            prop_assert!(permit.is_ok() || rate > 0.0);
            if let Ok(permit) = permit {
                let outcome = [Outcome::Success, Outcome::Failure, Outcome::Failure, Outcome::Ignore][usize::from(outcome)];
                permit.record(outcome);
                if outcome != Outcome::Ignore {
                    calls.push((now, outcome == Outcome::Success));
                }
            }
        }
    }
}
