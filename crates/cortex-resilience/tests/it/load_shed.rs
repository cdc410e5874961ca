//! Load that is shed.

use crate::support::{Log, millis, secs, without_files};
use cortex_resilience::gate::Error;
use cortex_resilience::load_shed::{LoadShed, QueueDelay, ShedPolicy};
use cortex_resilience::{Event, Reason};
use cortex_testkit::ManualClock;
use proptest::prelude::*;
use std::future::{poll_fn, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

fn poll<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn calls_are_refused_while_there_is_too_much_to_do() {
    let (busy, log) = (Arc::new(AtomicBool::new(false)), Log::new());
    let signal = {
        let busy = Arc::clone(&busy);
        move || busy.load(Ordering::Relaxed)
    };
    let builder = LoadShed::builder("test").policy((signal, || false));
    let shed = builder.retry_after(secs(2)).observe(log.clone()).build();
    assert_eq!(poll(shed.call(ready(Ok::<_, ()>(7)))), Poll::Ready(Ok(7)));
    assert_eq!(
        poll(shed.call(ready(Err::<(), _>(7)))),
        Poll::Ready(Err(Error::Inner(7)))
    );
    busy.store(true, Ordering::Relaxed);
    let refused = poll(shed.call(poll_fn(|_| -> Poll<Result<(), ()>> { panic!("it was polled") })));
    let Poll::Ready(Err(Error::Rejected(rejected))) = refused else {
        panic!("it is refused")
    };
    assert_eq!(
        (rejected.reason(), rejected.retry_after()),
        (Reason::Overloaded, Some(secs(2)))
    );
    assert_eq!((log.all(), shed.rejected()), (vec![Event::Rejected(rejected)], 1));
    busy.store(false, Ordering::Relaxed);
    assert!(shed.try_acquire().is_ok());
}

#[cfg(feature = "tower")]
#[test]
fn a_service_that_is_not_ready_is_not_waited_for() {
    use crate::gate_service::{Inner, State, answer, ready};
    use cortex_resilience::load_shed::LoadShedLayer;
    use tower::{Layer, Service};

    let shed = LoadShed::builder("test").observe(Log::new()).build();
    let layer = LoadShedLayer::new(shed.clone());
    let mut service = layer.layer(Inner {
        state: State::Pends,
        ..Inner::default()
    });
    for _ in 0..3 {
        assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
        assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
        let refused = answer(service.call(true)).unwrap_err().rejected().unwrap();
        assert_eq!(refused.reason(), Reason::Busy);
    }
    assert_eq!(shed.rejected(), 3); // looks count nothing
    assert_eq!(answer(service.call(true)), Err(Error::NotReady));
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    assert_eq!(answer(service.clone().call(true)), Err(Error::NotReady));
    let mut works = layer.layer(Inner::default());
    assert_eq!(ready(&mut works), Poll::Ready(Ok(())));
    assert_eq!(answer(works.call(false)), Err(Error::Inner("bad")));
    let mut broken = layer.layer(Inner {
        state: State::Broken,
        ..Inner::default()
    });
    assert_eq!(ready(&mut broken), Poll::Ready(Err(Error::Inner("broken"))));
}

#[cfg(feature = "tower")]
#[test]
fn a_service_is_not_asked_while_the_signal_says_no() {
    use crate::gate_service::{Inner, answer, ready};
    use cortex_resilience::load_shed::LoadShedLayer;
    use tower::{Layer, Service};

    let inner = Inner::default();
    let mut service =
        LoadShedLayer::new(LoadShed::builder("test").policy(|| true).build()).layer(inner.clone());
    assert_eq!(ready(&mut service), Poll::Ready(Ok(())));
    let refused = answer(service.call(true)).unwrap_err().rejected().unwrap();
    assert_eq!(
        (refused.reason(), inner.looks.load(Ordering::Relaxed)),
        (Reason::Overloaded, 0)
    );
}

/// The numbers of intervals are compared as they wrap: half of all jumps that are long enough look like steps back.
#[test]
fn a_clock_that_jumps_any_time_ahead_does_not_blind_it() {
    for years in [1, 5, 7, 9, 14, 50, 100] {
        let clock = ManualClock::new();
        let delay = QueueDelay::with_clock(millis(5), millis(100), clock.clone()).unwrap();
        delay.record(millis(9));
        clock.advance(Duration::from_hours(24 * 365 * years));
        for _ in 0..2 {
            clock.advance(millis(100));
            delay.record(millis(9));
        }
        assert!(delay.is_overloaded(), "after {years} years");
    }
}

#[test]
fn a_queue_that_stands_sheds_and_a_burst_does_not() {
    let clock = ManualClock::new();
    let delay = QueueDelay::with_clock(millis(5), millis(100), clock.clone()).unwrap();
    assert!(!delay.is_overloaded());
    // A burst: most wait long, one does not.
    for wait in [80, 90, 3, 90] {
        delay.record(millis(wait));
    }
    clock.advance(millis(100));
    assert!(!delay.is_overloaded());
    // Nothing waits less than 6 ms for a whole interval.
    for wait in [80, 6, 90] {
        delay.record(millis(wait));
    }
    assert!(!delay.is_overloaded());
    clock.advance(millis(100));
    assert!(delay.is_overloaded());
    delay.record(millis(6));
    assert!(delay.is_overloaded());
    delay.record(millis(5)); // the queue is empty again
    assert!(!delay.is_overloaded());
    clock.advance(millis(100));
    delay.record(Duration::MAX);
    clock.advance(millis(100));
    assert!(delay.is_overloaded());
    clock.advance(millis(100)); // nothing was taken from the queue: nobody knows
    assert!(!delay.is_overloaded());
}

#[test]
fn intervals_that_make_no_sense_are_refused() {
    for (target, interval) in [(0, 0), (100, 100), (5, 4)] {
        let error = QueueDelay::new(millis(target), millis(interval)).unwrap_err();
        assert_eq!(error.field(), "interval");
    }
}

proptest! {
    #![proptest_config(without_files())]

    #[test]
    fn model_queue_delay(steps in prop::collection::vec((0_u64..70, prop::option::of(0_u64..12)), 0..100)) {
        let clock = ManualClock::new();
        let delay = QueueDelay::with_clock(millis(5), millis(100), clock.clone()).unwrap();
        let (mut now, mut waits) = (0, Vec::new());
        for (step, wait) in steps {
            clock.advance(millis(step));
            now += step;
            if let Some(wait) = wait {
                delay.record(millis(wait));
                waits.push((now / 100, wait));
            }
            let least = |interval: u64| waits.iter().filter(|wait| wait.0 == interval).map(|wait| wait.1).min();
            let before = if now < 100 { None } else { least(now / 100 - 1) };
            let stands = before.is_some_and(|least| least > 5) && least(now / 100).is_none_or(|least| least > 5);
            prop_assert_eq!(delay.is_overloaded(), stands);
        }
    }
}
