//! What people do with a breaker by hand.

use crate::support::{bench, millis, secs};
use cortex_core::Clock;
use cortex_resilience::circuit::{Axis, Breaker, HalfOpen, State, Window};
use cortex_resilience::{Event, Outcome, Reason};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const STATES: [State; 6] = [
    State::Closed,
    State::Open,
    State::HalfOpen,
    State::Disabled,
    State::MetricsOnly,
    State::ForcedOpen,
];

#[test]
fn every_transition_is_allowed_or_an_error_that_changes_nothing() {
    for from in STATES {
        for to in STATES {
            let bench = bench(|builder| builder.initial(from));
            assert_eq!(bench.breaker.state(), from);
            assert!(bench.log.all().is_empty()); // nobody saw another state
            let generation = bench.breaker.snapshot().generation;
            let done = match to {
                State::Closed => {
                    bench.breaker.close();
                    Ok(())
                }
                State::Open => bench.breaker.open(),
                State::HalfOpen => bench.breaker.half_open(),
                State::Disabled => {
                    bench.breaker.disable();
                    Ok(())
                }
                State::MetricsOnly => {
                    bench.breaker.metrics_only();
                    Ok(())
                }
                State::ForcedOpen => {
                    bench.breaker.force_open();
                    Ok(())
                }
            };
            let legal = !matches!(
                (from, to),
                (State::Closed | State::MetricsOnly, State::HalfOpen) | (State::MetricsOnly, State::Open)
            );
            assert_eq!(done.is_ok(), legal, "{from} to {to}");
            if let Err(error) = done {
                assert_eq!((error.from(), error.to()), (from, to));
            }
            assert_eq!(bench.breaker.state(), if legal { to } else { from });
            assert_eq!(bench.breaker.snapshot().generation, generation + u64::from(legal));
            let events = bench.log.all();
            assert_eq!(
                events.len(),
                usize::from(legal && from != to),
                "{from} to {to}: {events:?}"
            );
            let told = events.first().is_none_or(|event| match event {
                Event::Opened { from: was, .. } => to == State::Open && *was == from,
                Event::HalfOpened { from: was, .. } => to == State::HalfOpen && *was == from,
                Event::Closed { from: was, .. } => to == State::Closed && *was == from,
                Event::ForcedOpen { from: was, .. } => to == State::ForcedOpen && *was == from,
                Event::Disabled { from: was, .. } => to == State::Disabled && *was == from,
                Event::MetricsOnly { from: was, .. } => to == State::MetricsOnly && *was == from,
                _ => false,
            });
            assert!(told, "{from} to {to}: {events:?}");
        }
    }
}

#[test]
fn a_reset_closes_and_empties_from_any_state() {
    for from in STATES {
        let bench = bench(|builder| builder.initial(from));
        bench.breaker.reset();
        assert_eq!(
            (bench.breaker.state(), bench.breaker.snapshot().total),
            (State::Closed, 0)
        );
        let events = bench.log.all();
        assert_eq!(events[0], Event::Reset);
        assert_eq!(events.len(), 1 + usize::from(from != State::Closed));
    }
}

#[test]
fn a_transition_to_the_same_state_starts_it_anew() {
    let bench = bench(|builder| builder);
    bench.fail(4);
    let running = bench.breaker.try_acquire().unwrap();
    bench.breaker.close();
    running.failure();
    let snapshot = bench.breaker.snapshot();
    assert_eq!(
        (snapshot.total, snapshot.consecutive_failed, snapshot.late),
        (0, 0, 1)
    );
    bench.breaker.open().unwrap();
    bench.clock.advance(secs(50));
    bench.breaker.open().unwrap();
    assert_eq!(bench.breaker.remaining(), secs(60));
    assert_eq!(bench.log.transitions().len(), 1);
}

#[test]
fn a_forced_breaker_stays_and_says_so() {
    let bench = bench(|builder| builder);
    bench.breaker.force_open();
    bench.clock.advance(secs(1_000_000));
    assert_eq!(bench.refusal(), (Reason::Forced, None));
    let snapshot = bench.breaker.snapshot();
    assert_eq!(
        (snapshot.state, snapshot.rejected, snapshot.until),
        (State::ForcedOpen, 1, None)
    );
}

#[test]
fn a_disabled_breaker_records_nothing_and_tells_nothing() {
    let bench = bench(|builder| builder);
    let before = bench.breaker.try_acquire().unwrap();
    bench.breaker.disable();
    bench.log.all();
    bench.fail(100);
    bench.votes([Outcome::Ignore]);
    drop(bench.breaker.try_acquire());
    before.failure();
    let snapshot = bench.breaker.snapshot();
    assert_eq!(
        (snapshot.total, snapshot.ignored, snapshot.late, snapshot.state),
        (0, 0, 0, State::Disabled)
    );
    assert!(bench.log.all().is_empty());
}

#[test]
fn metrics_only_tells_once_an_axis_and_stay_and_never_opens() {
    for window in [Window::count(4), Window::time(secs(10))] {
        let bench = bench(|builder| builder.window(window).min_calls(2).slow_call(millis(100), 0.5));
        bench.breaker.metrics_only();
        bench.log.all();
        bench.fail(20);
        for _ in 0..8 {
            bench.take(millis(101), Outcome::Success);
        }
        assert_eq!(bench.breaker.state(), State::MetricsOnly);
        let axes = |events: Vec<Event>| -> Vec<_> {
            let axis = |event| match event {
                Event::RateExceeded { axis, rate, .. } if rate >= 0.5 => Some(axis),
                _ => None,
            };
            events.into_iter().filter_map(axis).collect()
        };
        let told = axes(bench.log.all());
        assert_eq!(told.first(), Some(&Axis::Failures));
        assert!(told.len() <= 2 && (window != Window::count(4) || told.len() == 2));
        bench.breaker.metrics_only();
        bench.fail(2);
        assert_eq!(axes(bench.log.all()), [Axis::Failures]); // another stay
    }
}

#[test]
fn an_initial_open_waits_from_the_creation() {
    let bench = bench(|builder| builder.initial(State::Open));
    bench.clock.advance(secs(10));
    assert_eq!(bench.refusal(), (Reason::Open, Some(secs(50))));
}

#[test]
fn it_can_be_opened_until_a_moment() {
    let bench = bench(|builder| builder);
    let then = bench.clock.now() + secs(90);
    bench.breaker.open_until(then).unwrap();
    assert_eq!(
        (bench.breaker.remaining(), bench.breaker.snapshot().until),
        (secs(90), Some(then))
    );
    bench.breaker.open_until(bench.clock.now()).unwrap(); // past: over at once
    assert_eq!(bench.breaker.state(), State::HalfOpen);
}

#[test]
fn a_reload_keeps_the_state_and_a_window_of_the_same_shape() {
    let bench = bench(|builder| builder.window(Window::count(10)).min_calls(10));
    bench.fail(4);
    let settings = || Breaker::builder("ignored").window(Window::count(10)).min_calls(5);
    bench.breaker.reload(&settings()).unwrap();
    assert_eq!(
        (bench.breaker.name(), bench.breaker.snapshot().total),
        ("test", 4)
    );
    bench.succeed(1); // the next vote is judged by the new minimum
    assert_eq!(bench.breaker.state(), State::Open);
    bench
        .breaker
        .reload(&settings().window(Window::time(secs(3))))
        .unwrap();
    assert_eq!(
        (bench.breaker.state(), bench.breaker.snapshot().total),
        (State::Open, 5)
    );
    let error = bench.breaker.reload(&settings().min_calls(0)).unwrap_err();
    assert_eq!(error.field(), "min_calls");
}

#[test]
fn a_window_of_another_shape_starts_empty() {
    let shapes = [
        Window::count(10),
        Window::time(secs(10)),
        Window::time(secs(7)),
        Window::k_of_n(6, 10),
    ];
    for from in shapes {
        for to in shapes.into_iter().filter(|to| *to != from) {
            let bench = bench(|builder| builder.window(from));
            bench.fail(4);
            let running = bench.breaker.try_acquire().unwrap();
            bench
                .breaker
                .reload(&Breaker::builder("test").window(to))
                .unwrap();
            running.failure();
            let snapshot = bench.breaker.snapshot();
            assert_eq!(
                (snapshot.total, snapshot.late, snapshot.state),
                (0, 1, State::Closed)
            );
            bench.fail(4);
            assert_eq!(bench.breaker.snapshot().total, 4);
            assert!(bench.log.transitions().is_empty());
            bench.fail(if to == Window::k_of_n(6, 10) { 2 } else { 1 });
            assert_eq!(bench.breaker.state(), State::Open);
        }
    }
}

#[test]
fn a_stay_in_metrics_only_goes_on_when_it_is_reloaded() {
    let bench = bench(|builder| builder.window(Window::count(4)).initial(State::MetricsOnly));
    bench.fail(4);
    let settings = Breaker::builder("test")
        .window(Window::time(secs(10)))
        .min_calls(4);
    bench.breaker.reload(&settings).unwrap();
    bench.fail(4);
    let told = bench.log.transitions();
    assert!(matches!(told[..], [Event::RateExceeded { .. }]), "{told:?}"); // once a stay
}

#[test]
fn reloads_while_calls_run_lose_no_permit_and_no_later_vote() {
    let shapes = [
        Window::count(100),
        Window::time(secs(60)),
        Window::k_of_n(90, 100),
        Window::time(secs(7)).buckets(3),
    ];
    let bench = bench(|builder| builder.shards(2));
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (bench, done) = (&bench, &done);
            scope.spawn(move || {
                let mut round = thread;
                while !done.load(Ordering::Relaxed) {
                    round += 1;
                    let Ok(permit) = bench.breaker.try_acquire() else {
                        continue;
                    };
                    match round % 8 {
                        0 => permit.failure(),
                        1 => permit.ignore(),
                        2 => drop(permit),
                        _ => permit.success(),
                    }
                }
            });
        }
        for round in 0..20_000 {
            let settings = Breaker::builder("test")
                .window(shapes[round % 4])
                .half_open(HalfOpen::success(1, 2));
            bench.breaker.reload(&settings).unwrap();
            if round % 50 == 0 {
                bench.breaker.open_for(Duration::ZERO).unwrap(); // over at once: probes among the reloads
            }
            let snapshot = bench.breaker.snapshot();
            assert!(snapshot.ok + snapshot.failed == snapshot.total);
        }
        done.store(true, Ordering::Relaxed);
    });
    bench.breaker.open_for(Duration::ZERO).unwrap();
    let probes = [bench.breaker.try_acquire(), bench.breaker.try_acquire()];
    assert!(probes.iter().all(Result::is_ok) && bench.breaker.try_acquire().is_err());
    for probe in probes {
        probe.unwrap().success();
    }
    bench.succeed(20);
    bench.fail(4);
    let snapshot = bench.breaker.snapshot();
    assert_eq!(
        (snapshot.state, snapshot.total, snapshot.late),
        (State::Closed, 24, 1)
    ); // the second success came when one had closed it
}

#[test]
fn running_calls_keep_the_threshold_they_began_with() {
    let slow = |threshold| Breaker::builder("test").slow_call(millis(threshold), 1.0);
    let bench = bench(|builder| builder.slow_call(millis(100), 1.0));
    let running = bench.breaker.try_acquire().unwrap();
    bench.breaker.reload(&slow(10)).unwrap();
    bench.clock.advance(millis(50));
    running.success();
    bench.take(millis(50), Outcome::Success);
    assert_eq!(
        (bench.breaker.snapshot().total, bench.breaker.snapshot().slow_ok),
        (2, 1)
    );
}

#[test]
fn probing_goes_on_as_it_began_when_it_is_reloaded() {
    let bench = bench(|builder| builder.half_open(HalfOpen::success(2, 2)));
    bench.breaker.open().unwrap();
    bench.clock.advance(secs(60));
    bench.succeed(1);
    bench
        .breaker
        .reload(&Breaker::builder("test").half_open(HalfOpen::permits(100)))
        .unwrap();
    bench.succeed(1);
    assert_eq!(bench.breaker.state(), State::Closed);
}
