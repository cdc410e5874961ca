//! The rules of a half-open breaker.

use crate::support::{Bench, bench, millis, secs};
use cortex_core::Clock;
use cortex_resilience::circuit::{After, HalfOpen, State, Window};
use cortex_resilience::{Event, Outcome, Reason};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Makes a breaker whose break is over.
fn recovering(half_open: HalfOpen, min_calls: u32) -> Bench {
    let bench = bench(|builder| builder.half_open(half_open).min_calls(min_calls));
    bench.breaker.open().expect("it may");
    bench.clock.advance(secs(60));
    bench
}

#[test]
fn rates_have_the_say_from_the_minimum_on() {
    let good = recovering(HalfOpen::permits(10), 4);
    good.votes([Outcome::Failure, Outcome::Success, Outcome::Success]);
    assert_eq!(
        (good.breaker.state(), good.breaker.snapshot().failure_rate),
        (State::HalfOpen, None)
    );
    good.succeed(1); // 1 of 4
    let snapshot = good.breaker.snapshot();
    assert_eq!(
        (snapshot.state, snapshot.total, snapshot.half_open_attempts),
        (State::Closed, 0, 0)
    );

    let bad = recovering(HalfOpen::permits(10), 4);
    bad.votes([
        Outcome::Success,
        Outcome::Failure,
        Outcome::Failure,
        Outcome::Success,
    ]);
    assert_eq!(
        (bad.breaker.state(), bad.breaker.remaining()),
        (State::Open, secs(60))
    );
    assert_eq!(bad.breaker.snapshot().half_open_attempts, 1);

    let few = recovering(HalfOpen::permits(2), 20); // the minimum is the permits
    few.succeed(2);
    assert_eq!(few.breaker.state(), State::Closed);
}

#[test]
fn slow_probes_open_it() {
    let bench = bench(|builder| {
        builder
            .half_open(HalfOpen::permits(2))
            .slow_call(millis(100), 0.5)
    });
    bench.breaker.open().unwrap();
    bench.clock.advance(secs(60));
    bench.succeed(1);
    bench.take(millis(101), Outcome::Success);
    assert_eq!(bench.breaker.state(), State::Open);
    assert_eq!(bench.breaker.snapshot().slow_ok, 1);
}

#[test]
fn a_success_threshold_decides_as_soon_as_it_is_certain() {
    let closes = recovering(HalfOpen::success(2, 4), 100);
    closes.votes([Outcome::Failure, Outcome::Success, Outcome::Failure]);
    assert_eq!(closes.breaker.state(), State::HalfOpen);
    closes.succeed(1);
    assert_eq!(closes.breaker.state(), State::Closed);
    let opens = recovering(HalfOpen::success(2, 4), 100);
    opens.fail(2);
    assert_eq!(opens.breaker.state(), State::HalfOpen);
    opens.fail(1);
    assert_eq!(opens.breaker.state(), State::Open);
}

#[test]
fn k_of_n_probes_with_n_permits() {
    for (failures, successes, state) in [
        (2, 0, State::Open),
        (1, 2, State::Closed),
        (1, 1, State::HalfOpen),
    ] {
        let bench = bench(|builder| builder.window(Window::k_of_n(2, 3)));
        bench.breaker.open().unwrap();
        bench.clock.advance(secs(60));
        bench.fail(failures);
        bench.succeed(successes);
        assert_eq!(bench.breaker.state(), state);
    }
}

#[test]
fn what_is_ignored_or_dropped_gives_its_permit_back() {
    let bench = recovering(HalfOpen::permits(2), 2);
    for round in 0..100 {
        let permits = [
            bench.breaker.try_acquire().unwrap(),
            bench.breaker.try_acquire().unwrap(),
        ];
        assert_eq!(bench.refusal(), (Reason::HalfOpen, Some(secs(60))));
        for permit in permits {
            if round % 2 == 0 {
                permit.ignore();
            } else {
                drop(permit);
            }
        }
    }
    assert_eq!(
        (bench.breaker.state(), bench.breaker.snapshot().ignored),
        (State::HalfOpen, 200)
    );
    let vote = bench.breaker.try_acquire().unwrap();
    vote.success(); // a vote uses its permit up
    let _last = bench.breaker.try_acquire().unwrap();
    assert_eq!(bench.refusal().0, Reason::HalfOpen);
}

#[test]
fn probes_that_hang_block_no_recovery() {
    for (after, state) in [(After::Open, State::Open), (After::Closed, State::Closed)] {
        let bench = recovering(HalfOpen::permits(1).max_time(secs(5), after), 1);
        let hung = bench.breaker.try_acquire().unwrap();
        assert_eq!(bench.refusal(), (Reason::HalfOpen, Some(secs(5))));
        bench.clock.advance(Duration::from_nanos(4_999_999_999));
        assert_eq!(bench.breaker.state(), State::HalfOpen);
        bench.clock.advance(secs(3) + Duration::from_nanos(1));
        assert_eq!(bench.breaker.state(), state);
        let snapshot = bench.breaker.snapshot();
        if after == After::Open {
            assert_eq!(bench.breaker.remaining(), secs(57)); // dated when it was due
            assert_eq!(snapshot.half_open_attempts, 1);
        }
        hung.success();
        assert_eq!((bench.breaker.state(), bench.breaker.snapshot().late), (state, 1));
    }
}

#[test]
fn long_silence_after_a_hung_probe_leads_to_the_next_probe() {
    let bench = recovering(HalfOpen::permits(1), 1);
    let _hung = bench.breaker.try_acquire().unwrap();
    bench.clock.advance(secs(10_000));
    let second = bench.breaker.try_acquire().unwrap();
    assert_eq!(bench.breaker.snapshot().half_open_attempts, 2);
    second.success();
    assert_eq!(bench.breaker.state(), State::Closed);
}

#[test]
fn a_verdict_that_comes_too_late_is_none() {
    let bench = recovering(HalfOpen::permits(1), 1);
    let probe = bench.breaker.try_acquire().unwrap();
    bench.clock.advance(secs(60));
    probe.success(); // the first to look
    assert_eq!(
        (bench.breaker.snapshot().state, bench.breaker.snapshot().late),
        (State::Open, 1)
    );
}

#[test]
fn without_a_maximum_the_hint_is_one_break() {
    let bench = recovering(HalfOpen::permits(1).without_max_time(), 1);
    let probe = bench.breaker.try_acquire().unwrap();
    bench.clock.advance(secs(20));
    assert_eq!(bench.refusal(), (Reason::HalfOpen, Some(secs(40))));
    bench.clock.advance(secs(2_000_000));
    assert_eq!(bench.refusal(), (Reason::HalfOpen, Some(Duration::ZERO)));
    probe.success();
    assert_eq!(bench.breaker.state(), State::Closed);
}

#[test]
fn without_a_maximum_and_a_break_before_the_hint_is_one_as_set() {
    let bench = bench(|builder| {
        builder
            .initial(State::HalfOpen)
            .break_for(secs(30))
            .half_open(HalfOpen::permits(1).without_max_time())
    });
    let _probe = bench.breaker.try_acquire().unwrap();
    assert_eq!(bench.refusal(), (Reason::HalfOpen, Some(secs(30))));
}

#[test]
fn advanced_it_does_what_is_due_without_a_call() {
    let bench = bench(|builder| builder.half_open(HalfOpen::permits(1).max_time(secs(5), After::Open)));
    assert_eq!(bench.breaker.advance(), None);
    bench.breaker.open().unwrap();
    let due = bench.clock.now() + secs(60);
    assert_eq!(bench.breaker.advance(), Some(due));
    bench.clock.advance(secs(59));
    assert_eq!(
        (bench.breaker.advance(), bench.breaker.state()),
        (Some(due), State::Open)
    );
    bench.clock.advance(secs(1));
    assert_eq!(bench.breaker.advance(), Some(due + secs(5)));
    assert_eq!(bench.breaker.snapshot().generation, 3);
    assert!(bench.breaker.try_acquire().is_ok()); // no permit was taken
    bench.clock.advance(secs(7));
    assert_eq!(bench.breaker.advance(), Some(due + secs(65)));
    let events = bench.log.transitions();
    assert!(
        matches!(
            events[..],
            [
                Event::Opened { .. },
                Event::HalfOpened { .. },
                Event::Opened { .. }
            ]
        ),
        "{events:?}"
    );
    bench.breaker.force_open();
    assert_eq!(bench.breaker.advance(), None);
}

#[test]
fn ten_thousand_callers_at_the_end_of_the_break_get_the_permits_and_no_more() {
    let bench = recovering(HalfOpen::permits(7), 7);
    let (admitted, start) = (AtomicUsize::new(0), Barrier::new(8));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                let held: Vec<_> = (0..1250)
                    .filter_map(|_| bench.breaker.try_acquire().ok())
                    .collect();
                admitted.fetch_add(held.len(), Ordering::Relaxed);
                start.wait(); // nobody gives one back before all have asked
            });
        }
    });
    assert_eq!(admitted.into_inner(), 7);
    assert_eq!(bench.breaker.snapshot().rejected, 10_000 - 7);
    let events = bench.log.transitions();
    assert!(
        matches!(events[..], [Event::Opened { .. }, Event::HalfOpened { .. }]),
        "{events:?}"
    );
    bench.succeed(7);
    assert_eq!(bench.breaker.state(), State::Closed);
}

#[test]
fn after_recovery_the_share_grows() {
    let bench = bench(|builder| {
        builder
            .ramp_up(secs(100), 0.1)
            .half_open(HalfOpen::permits(1))
            .min_calls(1000)
    });
    bench.breaker.open().unwrap();
    bench.clock.advance(secs(60));
    bench.succeed(1);
    assert_eq!(bench.breaker.state(), State::Closed);
    let mut before = 0;
    for _ in 0..4 {
        let admitted = (0..1000).filter_map(|_| bench.breaker.try_acquire().ok()).count();
        assert!(admitted > before && admitted < 1000, "{admitted} after {before}");
        before = admitted;
        bench.clock.advance(secs(25));
    }
    assert!((0..1000).all(|_| bench.breaker.try_acquire().is_ok()));
    let ramps =
        |event: &Event| matches!(event, Event::Rejected(rejected) if rejected.reason() == Reason::Ramp);
    assert!(bench.log.all().iter().any(ramps));
}
