//! What a panic of somebody else's code leaves behind: a breaker that is whole.

use crate::support::{millis, secs};
use cortex_core::Clock;
use cortex_resilience::circuit::{Breaker, Builder, Call, HalfOpen, SavedState, State, StateSink, Window};
use cortex_resilience::{Classify, ErrIsFailure, Event, Observer, Outcome};
use cortex_testkit::ManualClock;
use std::future::{poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Instant, SystemTime};

/// Panics when it is told to, as an observer, a sink and a clock.
#[derive(Clone)]
struct Fragile {
    breaks: Arc<AtomicBool>,
    clock: ManualClock,
}

impl Fragile {
    fn new() -> Self {
        Self {
            breaks: Arc::default(),
            clock: ManualClock::new(),
        }
    }

    fn touch(&self) {
        assert!(!self.breaks.load(Ordering::Relaxed), "as told");
    }

    /// Runs what has to panic because this does.
    fn breaks<T>(&self, run: impl FnOnce() -> T) {
        self.breaks.store(true, Ordering::Relaxed);
        let panicked = catch_unwind(AssertUnwindSafe(|| drop(run()))).is_err();
        self.breaks.store(false, Ordering::Relaxed);
        assert!(panicked);
    }
}

impl Observer for Fragile {
    fn on_event(&self, _: &str, _: &Event) {
        self.touch();
    }
}

impl StateSink for Fragile {
    fn on_transition(&self, _: &str, _: &SavedState) {
        self.touch();
    }
}

impl Clock for Fragile {
    fn now(&self) -> Instant {
        self.touch();
        self.clock.now()
    }

    fn wall(&self) -> SystemTime {
        self.clock.wall()
    }
}

/// One permit, and nothing but a verdict ends the probing: a permit that is lost would block it for ever.
fn one_permit<O, K>(builder: Builder<ErrIsFailure, O, K>) -> Builder<ErrIsFailure, O, K> {
    builder
        .half_open(HalfOpen::permits(1).without_max_time())
        .min_calls(1)
}

#[test]
fn an_observer_or_sink_that_panics_when_probing_begins_costs_no_permit() {
    let fragile = Fragile::new();
    let builder = || one_permit(Breaker::builder("test").clock(fragile.clock.clone()));
    let observed = builder().observe(fragile.clone()).build().unwrap();
    observed.open().unwrap();
    fragile.clock.advance(secs(60));
    fragile.breaks(|| observed.try_acquire());
    observed.try_acquire().unwrap().success();
    assert_eq!(observed.state(), State::Closed);

    let shared = builder().sink(Arc::new(fragile.clone())).build().unwrap();
    shared.open().unwrap();
    fragile.clock.advance(secs(60));
    fragile.breaks(|| shared.try_acquire());
    shared.try_acquire().unwrap().success();
    assert_eq!(shared.state(), State::Closed);
}

#[test]
fn an_observer_that_panics_at_any_event_leaves_a_breaker_that_works() {
    let fragile = Fragile::new();
    let breaker = one_permit(Breaker::builder("test"))
        .clock(fragile.clock.clone())
        .observe(fragile.clone())
        .build()
        .unwrap();
    let permit = breaker.try_acquire().unwrap();
    fragile.breaks(|| permit.ignore());
    let permit = breaker.try_acquire().unwrap();
    fragile.breaks(|| permit.failure()); // it opens all the same
    assert_eq!(breaker.state(), State::Open);
    fragile.breaks(|| breaker.try_acquire());
    assert_eq!(breaker.snapshot().rejected, 1);
    fragile.breaks(|| breaker.reset());
    assert_eq!((breaker.state(), breaker.snapshot().total), (State::Closed, 0));
}

#[test]
fn a_clock_that_panics_costs_no_permit() {
    let fragile = Fragile::new();
    let breaker = one_permit(Breaker::builder("test"))
        .clock(fragile.clone())
        .build()
        .unwrap();
    breaker.open().unwrap();
    fragile.clock.advance(secs(60));
    for outcome in [Outcome::Success, Outcome::Failure, Outcome::Ignore] {
        let probe = breaker.try_acquire().unwrap();
        fragile.breaks(|| probe.record(outcome));
        fragile.breaks(|| breaker.try_acquire());
    }
    breaker.try_acquire().unwrap().success();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn a_classifier_that_panics_gives_the_permit_back() {
    struct Panics;
    impl Classify<(), ()> for Panics {
        fn outcome(&self, _: Result<&(), &()>) -> Outcome {
            panic!("as written")
        }
    }
    let clock = ManualClock::new();
    let breaker = one_permit(Breaker::builder("test").clock(clock.clone()))
        .classify(Panics)
        .build()
        .unwrap();
    breaker.open().unwrap();
    clock.advance(secs(60));
    for _ in 0..3 {
        let judged = || poll(breaker.call(ready(Ok(()))));
        assert!(catch_unwind(AssertUnwindSafe(judged)).is_err());
    }
    assert_eq!((breaker.snapshot().total, breaker.snapshot().ignored), (0, 3));
    breaker.try_acquire().unwrap().success();
    assert_eq!(breaker.state(), State::Closed);
}

fn poll<F: Future<Output = Result<(), E>>, E, C: Classify<(), E>>(
    call: Call<'_, F, C, (), ManualClock>,
) -> bool {
    pin!(call)
        .poll(&mut Context::from_waker(Waker::noop()))
        .is_ready()
}

#[test]
fn a_closure_that_panics_has_failed_and_its_judge_says_nothing() {
    let clock = ManualClock::new();
    let breaker = one_permit(Breaker::builder("test").clock(clock.clone()))
        .build()
        .unwrap();
    breaker.open().unwrap();
    clock.advance(secs(60));
    let panics = || breaker.run(|| -> Result<(), ()> { panic!("as written") });
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert_eq!(
        (breaker.state(), breaker.snapshot().failed, breaker.remaining()),
        (State::Open, 1, secs(60))
    );
    let judged = one_permit(Breaker::builder("test"))
        .classify(|_: Result<&(), &()>| panic!("as written"))
        .build()
        .unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| judged.run(|| Ok(())))).is_err());
    assert_eq!((judged.state(), judged.snapshot().ignored), (State::Closed, 1));
}

#[test]
fn a_break_that_panics_because_a_call_did_ends_no_process() {
    let clock = ManualClock::new();
    let breaker = Breaker::builder("test")
        .window(Window::count(1))
        .break_with(|_| panic!("as written"))
        .clock(clock)
        .build()
        .unwrap();
    let panics = poll_fn(|_| -> Poll<Result<(), ()>> { panic!("the call") });
    let panicked = catch_unwind(AssertUnwindSafe(|| poll(breaker.call(panics)))).unwrap_err();
    assert_eq!(panicked.downcast_ref(), Some(&"the call"));
    assert_eq!((breaker.state(), breaker.remaining()), (State::Open, secs(60)));
}

#[test]
fn a_panic_between_acquiring_and_recording_is_a_drop() {
    let clock = ManualClock::new();
    let breaker = one_permit(Breaker::builder("test").clock(clock.clone()))
        .build()
        .unwrap();
    breaker.open().unwrap();
    clock.advance(secs(60) + millis(1));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let _permit = breaker.try_acquire().unwrap();
        panic!("as written");
    }));
    assert!(panicked.is_err());
    assert_eq!(breaker.snapshot().ignored, 1);
    assert!(breaker.try_acquire().is_ok());
}
