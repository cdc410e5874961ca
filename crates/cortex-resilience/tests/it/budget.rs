//! Budgets: their settings, and many threads.

#![expect(clippy::float_cmp, reason = "levels are whole or fixed-point numbers")]

use cortex_resilience::budget::{Budget, Cost, Costs, Withdrawal};
use cortex_testkit::ManualClock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

#[test]
fn settings_that_make_no_sense_are_named() {
    let costs = |retry, throttling, timeout| Costs {
        retry,
        throttling,
        timeout,
    };
    let wrong = [
        (Budget::throttle(0, 0.1), "max_tokens"),
        (Budget::throttle(1001, 0.1), "max_tokens"),
        (Budget::throttle(10, 0.0004), "token_ratio"),
        (Budget::throttle(10, f64::NAN), "token_ratio"),
        (Budget::bucket(10, costs(0, 1, 1)), "retry"),
        (Budget::bucket(10, costs(1, 11, 1)), "throttling"),
        (Budget::bucket(10, costs(1, 1, 11)), "timeout"),
        (Budget::windowed(-0.1).build(), "ratio"),
        (Budget::windowed(f64::NAN).build(), "ratio"),
        (Budget::windowed(0.1).ttl(Duration::from_millis(9)).build(), "ttl"),
        (Budget::windowed(0.1).ttl(Duration::MAX).build(), "ttl"),
        (Budget::in_flight(1.1, 3), "max_share"),
        (Budget::in_flight(f64::NAN, 3), "max_share"),
    ];
    for (budget, field) in wrong {
        assert_eq!(budget.unwrap_err().field(), field);
    }
    assert!(Budget::throttle(1000, 1000.0).is_ok() && Budget::in_flight(0.0, 0).is_ok());
}

#[test]
fn the_tokens_of_the_presets_are_those_of_their_specifications() {
    for (budget, [retry, throttling, timeout]) in [
        (Budget::aws(), [14.0, 5.0, 14.0]),
        (Budget::aws_2_0(), [5.0, 5.0, 10.0]),
    ] {
        for (cost, tokens) in [
            (Cost::Retry, retry),
            (Cost::Throttling, throttling),
            (Cost::Timeout, timeout),
        ] {
            let taken = budget.try_withdraw(cost).unwrap();
            assert_eq!(budget.level(), 500.0 - tokens);
            drop(taken);
        }
    }
}

/// The example of proposal A6: ten tokens, and a tenth for a success.
#[test]
fn a_throttle_stops_at_half_and_not_before() {
    let budget = Budget::throttle(10, 0.1).unwrap();
    for _ in 0..4 {
        budget.begin().failed();
    }
    assert!(budget.allows()); // 6 of 10
    budget.begin().failed();
    assert!(!budget.allows()); // 5 is not more than half
    budget.begin().succeeded();
    assert!(budget.allows());
    for _ in 0..100 {
        budget.begin().failed();
    }
    for _ in 0..50 {
        budget.begin().succeeded();
    }
    assert_eq!((budget.level(), budget.allows()), (5.0, false));
}

#[test]
fn a_window_forgets_what_was_paid_and_what_was_taken() {
    let clock = ManualClock::new();
    let builder = Budget::windowed(0.2).min_per_sec(0).clock(clock.clone());
    let budget = builder.build().unwrap();
    for _ in 0..10 {
        drop(budget.begin());
    }
    let take = || {
        budget
            .try_withdraw(Cost::Retry)
            .and_then(Withdrawal::start)
            .is_some()
    };
    assert!(take() && take() && !take());
    clock.advance(Duration::from_secs(9));
    for _ in 0..5 {
        drop(budget.begin());
    }
    assert!(take() && !take());
    clock.advance(Duration::from_secs(1)); // the first ten and their two are gone
    assert_eq!(budget.level(), 0.0);
    drop(budget.begin());
    assert_eq!(budget.level(), 0.2);
    clock.advance(Duration::from_hours(24 * 365));
    assert_eq!(budget.level(), 0.0);
}

#[test]
fn waiting_holds_nothing_of_what_may_run() {
    let budget = Budget::in_flight(0.2, 1).unwrap();
    let waiting = [(); 3].map(|()| budget.try_withdraw(Cost::Retry).unwrap());
    let [first, second, third] = waiting.map(Withdrawal::start);
    assert!(first.is_some() && second.is_none() && third.is_none());
    drop(first);
    assert_eq!(budget.level(), 0.0);
}

/// Threads take and give back all the time; there are never more out than there are, and in the end all are back.
#[test]
fn nothing_is_lost_among_threads() {
    let costs = Costs {
        retry: 3,
        throttling: 1,
        timeout: 2,
    };
    let clock = ManualClock::new();
    let windowed = Budget::windowed(0.0).min_per_sec(1).clock(clock.clone());
    for (budget, most) in [
        (Budget::bucket(10, costs).unwrap(), 3),
        (windowed.build().unwrap(), 10),
    ] {
        let (full, out) = (budget.level(), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5_000 {
                        if let Some(taken) = budget.try_withdraw(Cost::Retry) {
                            assert!(out.fetch_add(1, Ordering::SeqCst) < most);
                            out.fetch_sub(1, Ordering::SeqCst);
                            drop(taken);
                        }
                    }
                });
            }
        });
        assert_eq!(budget.level(), full);
    }
}

#[test]
fn what_runs_on_threads_is_a_share_at_all_times() {
    let budget = Budget::in_flight(0.0, 2).unwrap();
    let running = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let first = budget.begin();
                    let taken = budget.try_withdraw(Cost::Retry);
                    if let Some(second) = taken.and_then(Withdrawal::start) {
                        assert!(running.fetch_add(1, Ordering::SeqCst) < 2);
                        running.fetch_sub(1, Ordering::SeqCst);
                        second.failed();
                    }
                    first.succeeded();
                }
            });
        }
    });
    assert_eq!(budget.level(), 0.0);
    assert!(budget.allows());
}

/// As many succeed as fail, so that the end is where it began unless a step was lost.
#[test]
fn a_throttle_counts_every_end_of_all_threads() {
    let budget = Budget::throttle(1000, 0.25).unwrap();
    for _ in 0..500 {
        budget.begin().failed();
    }
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    budget.begin().failed();
                    for _ in 0..4 {
                        budget.begin().succeeded();
                    }
                }
            });
        }
    });
    assert_eq!(budget.level(), 500.0);
}

#[test]
fn a_budget_says_what_it_is() {
    let builder = Budget::windowed(0.5).min_per_sec(3);
    let text = format!("{builder:?}");
    assert!(text.contains("ratio: 0.5") && text.contains("min_per_sec: 3"));
    let budget = builder.build().unwrap();
    assert!(format!("{budget:?}").contains("slot: 1s"));
    let withdrawal = budget.try_withdraw(Cost::Retry).unwrap();
    assert!(format!("{withdrawal:?}").starts_with("Withdrawal"));
    assert!(format!("{:?}", withdrawal.start()).contains("beyond_first: true"));
    assert!(format!("{:?}", budget.begin()).contains("beyond_first: false"));
}

/// Handles that outlive the budget's own keep it.
#[test]
fn what_is_owned_outlives_the_handle() {
    let budget = Budget::aws();
    let (other, first) = (budget.clone(), budget.begin_owned());
    let second = budget.try_withdraw_owned(Cost::Retry);
    drop(budget);
    drop(second);
    first.succeeded();
    assert_eq!(other.level(), 500.0); // full is full
}
