//! Limits that find themselves.

use crate::support::{Log, millis};
use cortex_resilience::adaptive::{
    AdaptiveLimit, Aimd, End, Gradient2, Limit, Sample, Ticket, Vegas, Windowed,
};
use cortex_resilience::gate::Error;
use cortex_resilience::{ErrIsFailure, Event, Outcome, Reason};
use cortex_testkit::ManualClock;
use std::future::{pending, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Barrier;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

type Tested = AdaptiveLimit<Aimd, ErrIsFailure, Log, ManualClock>;

fn tested(limit: u32) -> (Tested, ManualClock, Log) {
    let (clock, log) = (ManualClock::new(), Log::new());
    let aimd = Aimd::new(1..=1000, millis(20)).initial(limit);
    let builder = AdaptiveLimit::builder("test", aimd).clock(clock.clone());
    let limiter = builder.observe(log.clone()).build();
    (limiter.expect("the settings make sense"), clock, log)
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_call_beyond_the_limit_is_refused_and_not_polled() {
    let (limiter, _, log) = tested(1);
    let permit = limiter.try_acquire().unwrap();
    let refused = poll(pin!(limiter.call(async {
        panic!("it was polled");
        #[expect(unreachable_code, reason = "it says what the type is")]
        Ok::<(), ()>(())
    })));
    let Poll::Ready(Err(Error::Rejected(rejected))) = refused else {
        panic!("it is refused")
    };
    assert_eq!(
        (rejected.reason(), rejected.retry_after()),
        (Reason::ConcurrencyLimit, None)
    );
    assert_eq!(log.all(), [Event::Rejected(rejected)]);
    drop(permit);
    assert_eq!((limiter.in_flight(), log.all()), (0, vec![Event::Ignored]));
    assert_eq!(
        poll(pin!(limiter.call(ready(Ok::<_, ()>(7))))),
        Poll::Ready(Ok(7))
    );
}

#[test]
fn the_time_of_a_call_is_measured_and_a_late_one_lowers_the_limit() {
    let (limiter, clock, log) = tested(100);
    let permit = limiter.try_acquire().unwrap();
    clock.advance(millis(20));
    permit.success(); // in time, but one of a hundred says nothing about more
    assert_eq!(limiter.limit(), 100);
    let permit = limiter.try_acquire_owned().unwrap();
    clock.advance(millis(20) + Duration::from_nanos(1));
    permit.success();
    assert_eq!(limiter.limit(), 90);
    assert!(matches!(
        log.all()[..],
        [Event::LimitChanged {
            from: 100,
            to: 90,
            ..
        }]
    ));
    assert_eq!(
        poll(pin!(limiter.call(ready(Err::<(), _>("no"))))),
        Poll::Ready(Err(Error::Inner("no")))
    );
    assert_eq!(limiter.limit(), 81);
}

#[test]
fn what_is_ignored_cancelled_or_panics_frees_its_place_without_a_sample() {
    let (limiter, clock, log) = tested(3);
    limiter.try_acquire().unwrap().ignore();
    let mut hangs = Box::pin(limiter.call(pending::<Result<(), ()>>()));
    assert!(poll(hangs.as_mut()).is_pending());
    assert_eq!(limiter.in_flight(), 1);
    clock.advance(millis(500));
    drop(hangs);
    let panics = limiter.call(async {
        assert!(limiter.in_flight() != 1, "on purpose");
        Ok::<(), ()>(())
    });
    let mut panics = Box::pin(panics);
    assert!(catch_unwind(AssertUnwindSafe(|| poll(panics.as_mut()))).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| poll(panics.as_mut()))).is_err()); // no use to poll it again
    drop(panics);
    drop(limiter.call(ready(Ok::<(), ()>(())))); // never polled
    assert_eq!((limiter.in_flight(), limiter.limit()), (0, 3));
    assert_eq!(log.all(), [Event::Ignored; 3]);
}

#[test]
fn a_classifier_that_panics_frees_the_place() {
    let aimd = Aimd::new(1..=10, millis(20));
    let judge = |_: Result<&(), &()>| -> Outcome { panic!("on purpose") };
    let limiter = AdaptiveLimit::builder("test", aimd)
        .classify(judge)
        .build()
        .unwrap();
    let mut call = Box::pin(limiter.call(ready(Ok(()))));
    assert!(catch_unwind(AssertUnwindSafe(|| poll(call.as_mut()))).is_err());
    drop(call);
    assert_eq!(limiter.in_flight(), 0);
}

#[test]
fn an_algorithm_that_panics_frees_the_place_and_the_next_goes_on() {
    struct Fragile(bool);
    impl Limit for Fragile {
        fn limit(&self) -> u32 {
            0 // taken for one
        }

        fn update(&mut self, _: &Sample) -> u32 {
            assert!(std::mem::replace(&mut self.0, true), "on purpose");
            7
        }
    }
    let limiter = AdaptiveLimit::builder("test", Fragile(false)).build().unwrap();
    assert_eq!(limiter.limit(), 1);
    let permit = limiter.try_acquire().unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| permit.success())).is_err());
    assert_eq!((limiter.in_flight(), limiter.limit()), (0, 1));
    limiter.try_acquire().unwrap().success();
    assert_eq!(limiter.limit(), 7);
}

#[test]
fn a_reload_goes_on_from_the_limit_that_was_found() {
    let (limiter, _, log) = tested(100);
    limiter.reload(Aimd::new(1..=500, millis(1))).unwrap();
    assert_eq!((limiter.limit(), log.all()), (100, vec![]));
    limiter.reload(Aimd::new(1..=50, millis(1))).unwrap();
    assert_eq!(limiter.limit(), 50);
    assert!(matches!(
        log.all()[..],
        [Event::LimitChanged {
            from: 100,
            to: 50,
            ..
        }]
    ));
    let empty = std::ops::RangeInclusive::new(5, 4);
    let error = limiter.reload(Aimd::new(empty, millis(1))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "accept `range` = 5..=4: it is a range that begins at 1 or above, and is not empty"
    );
    assert_eq!(limiter.limit(), 50);
}

#[test]
fn settings_that_make_no_sense_are_named() {
    fn field(limit: impl Limit) -> &'static str {
        let error = AdaptiveLimit::builder("test", limit).build().unwrap_err();
        error.field()
    }
    let aimd = || Aimd::new(1..=10, millis(1));
    assert_eq!(field(aimd().initial(11)), "initial");
    for ratio in [0.0, 1.0, -1.0, f64::NAN] {
        assert_eq!(field(aimd().backoff(ratio)), "backoff");
    }
    assert_eq!(field(Vegas::new(0..=10)), "range");
    assert_eq!(field(Vegas::new(1..=10).initial(0)), "initial");
    assert_eq!(field(Vegas::new(1..=10).queue(6, 3)), "queue");
    assert_eq!(field(Vegas::new(1..=10).threshold(4)), "queue");
    assert_eq!(field(Vegas::new(1..=10).smoothing(1.1)), "smoothing");
    assert_eq!(field(Gradient2::new(1..=10).initial(11)), "initial");
    assert_eq!(field(Gradient2::new(1..=10).window(0)), "window");
    assert_eq!(field(Gradient2::new(1..=10).smoothing(0.0)), "smoothing");
    assert_eq!(field(Gradient2::new(1..=10).tolerance(0.9)), "tolerance");
    assert_eq!(field(Windowed::new(aimd(), Duration::ZERO)), "length");
    assert_eq!(
        field(Windowed::new(aimd(), millis(1)).min_samples(0)),
        "min_samples"
    );
    assert_eq!(field(Windowed::new(aimd().initial(11), millis(1))), "initial");
}

/// A dependency that does 50 calls at once in 10 ms, and more of them proportionally later, and callers that always want more.
fn settle(mut limit: impl Limit, calls: usize) -> Vec<u32> {
    let mut limits = Vec::new();
    for _ in 0..calls {
        let under_way = limit.limit();
        let took = millis(10) * under_way.max(50) / 50;
        limits.push(limit.update(&Sample::new(under_way, took)));
    }
    limits
}

#[test]
fn every_algorithm_settles_near_what_the_dependency_does() {
    let found = settle(Aimd::new(1..=1000, millis(20)), 2000);
    assert!(
        found[200..].iter().all(|limit| (90..=101).contains(limit)),
        "{found:?}"
    );
    let found = settle(Vegas::new(1..=1000).seed(1), 700);
    assert!(
        found[10..].iter().all(|limit| (53..=60).contains(limit)),
        "{found:?}"
    );
    let mut gradient = Gradient2::new(1..=100);
    let mut phase = |took| {
        for _ in 0..100 {
            gradient.update(&Sample::new(100, took));
        }
        gradient.limit()
    };
    assert_eq!(
        (phase(millis(10)), phase(millis(40)) < 50, phase(millis(10)) > 80),
        (100, true, true)
    );
}

#[test]
fn vegas_forgets_the_best_time_so_that_a_dependency_may_become_slower() {
    let mut vegas = Vegas::new(1..=100).initial(50).seed(7);
    vegas.update(&Sample::new(50, millis(1)));
    for _ in 0..20 {
        vegas.update(&Sample::new(50, millis(100)));
    }
    assert_eq!(vegas.limit(), 30);
    for _ in 0..3000 {
        vegas.update(&Sample::new(100, millis(100)));
    }
    assert_eq!(vegas.limit(), 100);
}

#[test]
fn a_failure_that_is_fast_lowers_the_limit_and_is_no_best_time() {
    let mut vegas = Vegas::new(1..=1000).initial(100);
    vegas.update(&Sample::new(100, millis(50)));
    assert_eq!(
        vegas.update(&Sample::new(100, Duration::from_micros(9)).failed()),
        98
    );
    assert_eq!(vegas.update(&Sample::new(100, millis(50))), 104); // 98 + 6: nothing queues
    let mut gradient = Gradient2::new(1..=1000).initial(100);
    assert_eq!(gradient.update(&Sample::new(1, Duration::ZERO).failed()), 90);
    assert_eq!(gradient.update(&Sample::new(90, Duration::ZERO)), 90); // its clock stood still
}

#[test]
fn a_limit_of_one_never_becomes_stuck() {
    for failed in 0..100 {
        let mut limits: [Box<dyn Limit>; 3] = [
            Box::new(Aimd::new(1..=10, millis(1))),
            Box::new(Vegas::new(1..=10).initial(1)),
            Box::new(Gradient2::new(1..=10).initial(1)),
        ];
        for limit in &mut limits {
            for _ in 0..failed {
                assert_eq!(limit.update(&Sample::new(1, millis(1)).failed()), 1);
            }
            let grown = (0..20)
                .map(|_| limit.update(&Sample::new(10, Duration::from_micros(9))))
                .max();
            assert!(grown > Some(1));
        }
    }
}

#[test]
fn a_ticket_that_is_handed_back_twice_blocks_nobody() {
    let (limiter, ..) = tested(2);
    let ticket = limiter.enter().unwrap();
    assert_eq!(
        (Ticket::from_bits(ticket.to_bits()), ticket.in_flight()),
        (ticket, 1)
    );
    limiter.leave(ticket, End::Ignored);
    limiter.leave(ticket, End::Ignored);
    assert_eq!(limiter.in_flight(), 0);
    assert!(limiter.enter().is_ok() && limiter.enter().is_ok() && limiter.enter().is_err());
}

#[test]
fn threads_that_race_take_every_place_and_no_more_and_no_sample_is_lost() {
    let aimd = Aimd::new(1..=1000, Duration::from_mins(1)).initial(1000);
    let limiter = AdaptiveLimit::builder("test", aimd).build().unwrap();
    let barrier = Barrier::new(4);
    let (taken, failed) = std::thread::scope(|scope| {
        let racers = [(); 4].map(|()| {
            scope.spawn(|| {
                barrier.wait();
                let permits: Vec<_> = (0..400).filter_map(|_| limiter.try_acquire().ok()).collect();
                barrier.wait(); // nobody gives anything back before all have tried
                let taken = permits.len();
                for (index, permit) in permits.into_iter().enumerate() {
                    permit.record(if index < 10 {
                        Outcome::Failure
                    } else {
                        Outcome::Ignore
                    });
                }
                (taken, taken.min(10))
            })
        });
        let all = racers.map(|racer| racer.join().expect("it does not panic"));
        all.into_iter()
            .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    let limit = (0..failed).fold(1000, |limit, _| limit * 9 / 10);
    assert_eq!((taken, limiter.in_flight(), limiter.limit()), (1000, 0, limit));
}
