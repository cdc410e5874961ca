//! The rules of a closed and of an open breaker.

use crate::support::{bench, millis, secs};
use cortex_core::Clock;
use cortex_resilience::circuit::{After, BreakCx, Breaker, Dropped, HalfOpen, State, Window};
use cortex_resilience::{Event, Outcome, Reason};
use cortex_testkit::ManualClock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

#[test]
fn by_default_half_of_five_calls_open_it_for_a_minute() {
    let bench = bench(|builder| builder);
    bench.votes([
        Outcome::Failure,
        Outcome::Failure,
        Outcome::Failure,
        Outcome::Success,
    ]);
    assert_eq!(bench.breaker.state(), State::Closed);
    bench.succeed(1);
    assert_eq!(bench.breaker.state(), State::Open); // a success that completes the minimum opens
    assert_eq!(bench.refusal(), (Reason::Open, Some(secs(60))));
    bench.clock.advance(Duration::from_nanos(59_999_999_999));
    assert_eq!(bench.refusal(), (Reason::Open, Some(Duration::from_nanos(1))));
    assert_eq!(bench.breaker.remaining(), Duration::from_nanos(1));
    bench.clock.advance(Duration::from_nanos(1));
    assert_eq!(
        (bench.breaker.state(), bench.breaker.remaining()),
        (State::HalfOpen, Duration::ZERO)
    );
    assert_eq!(bench.breaker.snapshot().generation, 2); // a look starts no cycle
    drop(bench.breaker.try_acquire().unwrap());
    assert_eq!(bench.breaker.snapshot().generation, 3);
}

#[test]
fn a_count_window_is_the_last_votes_with_their_marks() {
    let bench = bench(|builder| {
        builder
            .window(Window::count(4))
            .slow_call(millis(100), 1.0)
            .failure_rate(1.0)
            .min_calls(100)
    });
    bench.take(millis(101), Outcome::Success);
    bench.take(millis(100), Outcome::Failure); // as long as the threshold is not slow
    bench.take(millis(101), Outcome::Failure);
    bench.succeed(1);
    let snapshot = bench.breaker.snapshot();
    let counts = (
        snapshot.total,
        snapshot.failed,
        snapshot.slow_ok,
        snapshot.slow_failed,
    );
    assert_eq!(counts, (4, 2, 1, 1));
    assert_eq!(
        (snapshot.failure_rate, snapshot.slow_rate),
        (Some(0.5), Some(0.5))
    ); // the minimum is the size
    bench.succeed(1);
    assert_eq!(bench.breaker.snapshot().slow_ok, 0);
    bench.succeed(2);
    let snapshot = bench.breaker.snapshot();
    assert_eq!((snapshot.failed, snapshot.slow_failed, snapshot.ok), (0, 0, 4));
    assert_eq!((snapshot.consecutive_ok, snapshot.consecutive_failed), (4, 0));
}

#[test]
fn slow_calls_open_it_whatever_they_end_in() {
    for window in [Window::count(10), Window::time(secs(10))] {
        let bench = bench(|builder| {
            builder
                .window(window)
                .slow_call(millis(100), 0.5)
                .failure_rate(1.0)
                .min_calls(4)
        });
        bench.succeed(2);
        bench.take(millis(101), Outcome::Success);
        assert_eq!(bench.breaker.state(), State::Closed);
        bench.take(millis(101), Outcome::Failure);
        assert_eq!(bench.breaker.state(), State::Open);
        let snapshot = bench.breaker.snapshot();
        assert_eq!(
            (snapshot.slow_ok, snapshot.slow_failed, snapshot.slow_rate),
            (1, 1, Some(0.5))
        );
    }
}

#[test]
fn a_vote_leaves_a_time_window_with_its_bucket_and_silence_shows() {
    let bench = bench(|builder| builder.window(Window::time(secs(10))).min_calls(100));
    bench.clock.advance(millis(500));
    bench.fail(1);
    bench.clock.advance(secs(9) + millis(499)); // at 9.999 s, in the last bucket of the window
    assert_eq!(bench.breaker.snapshot().total, 1);
    bench.clock.advance(millis(1));
    assert_eq!(bench.breaker.snapshot().total, 0);
    assert_eq!(
        bench.breaker.snapshot().failure_ratio.to_bits(),
        0.0_f64.to_bits()
    );
}

#[test]
fn successes_that_leave_open_a_time_window() {
    let bench = bench(|builder| builder.window(Window::time(secs(10))).min_calls(2));
    bench.succeed(3);
    bench.clock.advance(secs(1));
    bench.fail(2); // 2 of 5
    assert_eq!(bench.breaker.state(), State::Closed);
    bench.clock.advance(secs(9)); // the successes leave, and the next vote is a fast success
    bench.succeed(1); // 2 of 3
    assert_eq!(bench.breaker.state(), State::Open);
}

#[test]
fn k_of_n_has_no_minimum_and_slides() {
    let bench = bench(|builder| builder.window(Window::k_of_n(2, 3)));
    bench.votes([
        Outcome::Failure,
        Outcome::Success,
        Outcome::Success,
        Outcome::Failure,
    ]);
    assert_eq!(bench.breaker.state(), State::Closed);
    bench.fail(1);
    assert_eq!(bench.breaker.state(), State::Open);
    let in_a_row = crate::support::bench(|builder| builder.window(Window::consecutive(2)));
    in_a_row.votes([Outcome::Failure, Outcome::Success, Outcome::Failure]);
    assert_eq!(in_a_row.breaker.state(), State::Closed);
    in_a_row.fail(1);
    assert_eq!(in_a_row.breaker.state(), State::Open);
}

#[test]
fn what_is_ignored_changes_neither_window_nor_streak() {
    for window in [Window::count(10), Window::time(secs(10))] {
        let bench = bench(|builder| builder.window(window));
        bench.fail(2);
        bench.votes([Outcome::Ignore; 20]);
        bench.fail(1);
        let snapshot = bench.breaker.snapshot();
        assert_eq!(
            (snapshot.total, snapshot.ignored, snapshot.consecutive_failed),
            (3, 20, 3)
        );
        bench.succeed(1);
        let snapshot = bench.breaker.snapshot();
        assert_eq!((snapshot.consecutive_ok, snapshot.consecutive_failed), (1, 0));
    }
}

#[test]
fn an_open_breaker_shows_what_led_there_and_counts_rejections() {
    let bench = bench(|builder| builder);
    bench.fail(5);
    let from = State::Closed;
    assert!(
        matches!(bench.log.transitions()[..], [Event::Opened { from: f, wait, .. }] if f == from && wait == secs(60))
    );
    for _ in 0..3 {
        bench.refusal();
    }
    bench.clock.advance(secs(59));
    let snapshot = bench.breaker.snapshot();
    assert_eq!((snapshot.total, snapshot.failed, snapshot.rejected), (5, 5, 3));
    assert_eq!(
        (snapshot.consecutive_failed, snapshot.failure_rate),
        (5, Some(1.0))
    );
    bench.clock.advance(secs(1));
    drop(bench.breaker.try_acquire());
    let snapshot = bench.breaker.snapshot();
    assert_eq!(
        (snapshot.total, snapshot.rejected, snapshot.consecutive_failed),
        (0, 0, 0)
    );
}

#[test]
fn late_results_count_for_nothing() {
    let bench = bench(|builder| builder.half_open(HalfOpen::permits(2)).min_calls(2));
    let late: Vec<_> = (0..4).map(|_| bench.breaker.try_acquire().unwrap()).collect();
    bench.fail(2);
    let before = bench.breaker.snapshot();
    let mut late = late.into_iter();
    late.next().unwrap().failure();
    let after = bench.breaker.snapshot();
    assert_eq!(
        (after.late, after.until, after.total),
        (1, before.until, before.total)
    );
    bench.clock.advance(secs(60));
    let probe = bench.breaker.try_acquire().unwrap();
    late.next().unwrap().failure();
    late.next().unwrap().success();
    drop(late.next());
    let snapshot = bench.breaker.snapshot();
    assert_eq!(
        (snapshot.state, snapshot.total, snapshot.late),
        (State::HalfOpen, 0, 3)
    );
    let second = bench.breaker.try_acquire().unwrap();
    assert_eq!(bench.refusal().0, Reason::HalfOpen); // no permit came from elsewhere
    probe.success();
    second.success();
    assert_eq!(bench.breaker.state(), State::Closed);
}

#[test]
fn a_break_is_computed_once_an_entry_and_grows() {
    static SEEN: Mutex<Vec<BreakCx>> = Mutex::new(Vec::new());
    let bench = bench(|builder| {
        builder
            .half_open(HalfOpen::permits(1))
            .min_calls(2)
            .break_with(|cx| {
                SEEN.lock().unwrap().push(*cx);
                cx.retry_after.unwrap_or(secs(1 << cx.half_open_attempts))
            })
    });
    bench.fail(2);
    for wait in [1, 2, 4] {
        assert_eq!(bench.breaker.remaining(), secs(wait));
        bench.clock.advance(secs(wait));
        bench.fail(1);
    }
    bench.clock.advance(secs(8));
    let pushed = bench.breaker.try_acquire().unwrap();
    pushed.record_with(Outcome::Failure, Some(secs(100)));
    assert_eq!(bench.breaker.remaining(), secs(100));
    bench.breaker.open().unwrap(); // by hand, too
    bench.breaker.open_for(secs(7)).unwrap(); // but not if a time is given
    assert_eq!(bench.breaker.remaining(), secs(7));
    let seen = SEEN.lock().unwrap();
    assert_eq!(seen.len(), 6);
    assert_eq!(
        (seen[0].failures, seen[0].failure_rate.to_bits()),
        (2, 1.0_f64.to_bits())
    );
    assert_eq!(seen[4].half_open_attempts, 4);
}

#[test]
fn a_break_that_panics_is_the_fixed_one() {
    let bench = bench(|builder| builder.break_with(|_| panic!("as written")).min_calls(1));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.fail(1)));
    assert!(panicked.is_err());
    assert_eq!(
        (bench.breaker.state(), bench.breaker.remaining()),
        (State::Open, secs(60))
    );
}

#[test]
fn while_a_break_is_computed_calls_are_rejected_and_it_may_be_closed() {
    let breaker: Arc<Mutex<Option<crate::support::Tested>>> = Arc::default();
    let inside = breaker.clone();
    let bench = bench(|builder| {
        builder.min_calls(1).break_with(move |_| {
            let breaker = inside.lock().unwrap().take().expect("it was put there");
            assert_eq!(breaker.try_acquire().unwrap_err().retry_after(), Some(secs(60)));
            assert_eq!(breaker.state(), State::Open);
            assert_eq!(breaker.advance(), breaker.snapshot().since.checked_add(secs(60)));
            breaker.close();
            secs(5)
        })
    });
    *breaker.lock().unwrap() = Some(bench.breaker.clone());
    bench.fail(1);
    assert_eq!(bench.breaker.state(), State::Closed); // who closed it was the last to speak
}

#[test]
fn a_dropped_call_is_ignored_unless_it_was_slow_and_that_counts() {
    for (on_drop, time, failed) in [
        (Dropped::Ignore, millis(200), 0),
        (Dropped::FailIfSlow, millis(100), 0),
        (Dropped::FailIfSlow, millis(101), 1),
    ] {
        let bench = bench(|builder| builder.slow_call(millis(100), 1.0).on_drop(on_drop));
        let permit = bench.breaker.try_acquire().unwrap();
        bench.clock.advance(time);
        drop(permit);
        let snapshot = bench.breaker.snapshot();
        assert_eq!((snapshot.failed, snapshot.slow_failed), (failed, failed));
        assert_eq!(snapshot.ignored, 1 - failed);
    }
}

#[test]
fn deadlines_saturate() {
    let bench = bench(|builder| builder.break_for(Duration::MAX).min_calls(1));
    bench.clock.advance(secs(10));
    bench.fail(1);
    bench.clock.advance(secs(1 << 30));
    assert_eq!(bench.breaker.state(), State::Open);
    assert_eq!(bench.breaker.snapshot().until, None);
}

#[test]
fn nonsense_is_refused_by_the_name_of_its_setting() {
    let builder = || Breaker::builder("test");
    let cases = [
        ("window", builder().window(Window::count(0))),
        ("window", builder().window(Window::count(2_000_000))),
        ("window", builder().window(Window::k_of_n(4, 3))),
        ("window", builder().window(Window::consecutive(0))),
        ("window", builder().window(Window::time(Duration::ZERO))),
        ("window", builder().window(Window::time(Duration::MAX))),
        ("window", builder().window(Window::time(secs(1)).buckets(1))),
        ("window", builder().window(Window::time(secs(1)).buckets(61))),
        ("failure_rate", builder().failure_rate(0.0)),
        ("failure_rate", builder().failure_rate(f64::NAN)),
        ("failure_rate", builder().failure_rate(1.01)),
        ("slow_call", builder().slow_call(secs(1), 0.0)),
        ("slow_call", builder().slow_call(Duration::ZERO, 0.5)),
        (
            "slow_call",
            builder().window(Window::k_of_n(1, 1)).slow_call(secs(1), 0.5),
        ),
        ("min_calls", builder().min_calls(0)),
        ("half_open", builder().half_open(HalfOpen::permits(0))),
        ("half_open", builder().half_open(HalfOpen::permits(70_000))),
        ("half_open", builder().half_open(HalfOpen::success(3, 2))),
        ("half_open", builder().half_open(HalfOpen::success(0, 2))),
        (
            "half_open",
            builder()
                .window(Window::k_of_n(1, 1))
                .half_open(HalfOpen::permits(2)),
        ),
        (
            "half_open",
            builder().half_open(HalfOpen::permits(1).max_time(Duration::ZERO, After::default())),
        ),
        ("break_for", builder().break_for(Duration::ZERO)),
        ("on_drop", builder().on_drop(Dropped::FailIfSlow)),
        ("ramp_up", builder().ramp_up(secs(1), 0.0)),
        ("ramp_up", builder().ramp_up(Duration::ZERO, 0.5)),
        ("shards", builder().shards(65)),
    ];
    for (field, builder) in cases {
        let text = format!("{builder:?}");
        let error = builder.build().expect_err(&text);
        assert_eq!(error.field(), field, "{text}");
        assert!(error.to_string().contains(error.allowed()));
    }
}

/// A clock that may go back.
#[derive(Clone)]
struct Jumping(Instant, Arc<AtomicU64>);

impl Clock for Jumping {
    fn now(&self) -> Instant {
        self.0 + secs(self.1.load(Ordering::Relaxed))
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

#[test]
fn a_clock_that_steps_back_is_no_time_and_no_panic() {
    for window in [Window::count(10), Window::time(secs(10))] {
        let at = Arc::new(AtomicU64::new(1000));
        let clock = Jumping(ManualClock::new().now(), at.clone());
        let breaker = Breaker::builder("test")
            .window(window)
            .slow_call(secs(1), 1.0)
            .half_open(HalfOpen::permits(1))
            .min_calls(3)
            .clock(clock)
            .build()
            .unwrap();
        at.store(1100, Ordering::Relaxed);
        let permit = breaker.try_acquire().unwrap();
        at.store(0, Ordering::Relaxed); // before the breaker was made
        permit.failure();
        assert_eq!(breaker.snapshot().slow_failed, 0);
        for _ in 0..2 {
            breaker.try_acquire().unwrap().failure();
        }
        assert_eq!((breaker.state(), breaker.remaining()), (State::Open, secs(60)));
        at.store(1060, Ordering::Relaxed);
        breaker.try_acquire().unwrap().success();
        assert_eq!(breaker.state(), State::Closed);
    }
}

#[test]
fn a_clock_that_steps_back_promises_no_more_than_a_break() {
    let at = Arc::new(AtomicU64::new(1000));
    let breaker = Breaker::builder("test")
        .half_open(HalfOpen::permits(1).max_time(secs(5), After::Open))
        .clock(Jumping(ManualClock::new().now(), at.clone()))
        .build()
        .unwrap();
    breaker.open().unwrap();
    let wait = || {
        breaker
            .try_acquire_owned()
            .err()
            .and_then(|rejected| rejected.retry_after())
    };
    for (time, left) in [(400, 60), (1000, 60), (1001, 59), (0, 60)] {
        at.store(time, Ordering::Relaxed);
        assert_eq!((wait(), breaker.remaining()), (Some(secs(left)), secs(left)));
    }
    at.store(1060, Ordering::Relaxed);
    let _probe = breaker.try_acquire().unwrap();
    at.store(0, Ordering::Relaxed);
    assert_eq!(wait(), Some(secs(5)));
}

#[test]
fn no_vote_of_many_threads_is_lost() {
    for window in [Window::time(secs(10)), Window::count(100_000)] {
        let bench = bench(|builder| builder.window(window).failure_rate(1.0).shards(2));
        // More than the shards, one after the other too: a thread takes over what one that has ended counted in.
        for _ in 0..2 {
            std::thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| {
                        for round in 0..500 {
                            let permit = bench.breaker.try_acquire().unwrap();
                            if round % 5 == 4 {
                                permit.failure();
                            } else {
                                permit.success();
                            }
                        }
                    });
                }
            });
            bench.clock.advance(secs(1));
        }
        let snapshot = bench.breaker.snapshot();
        assert_eq!((snapshot.total, snapshot.failed, snapshot.ok), (6000, 1200, 4800));
    }
}
