//! `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-resilience --lib --release model`

use super::{Budget, Cost, Costs};
use cortex_testkit::ManualClock;
use loom::thread;
use std::time::Duration;

fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Runs the same on two threads and returns what both said.
fn both<T: Send + 'static>(work: impl Fn() -> T + Clone + Send + 'static) -> [T; 2] {
    let theirs = thread::spawn(work.clone());
    let mine = work();
    [mine, theirs.join().unwrap()]
}

/// There is enough for one: one gets it.
#[test]
fn model_the_last_tokens_of_a_bucket_go_to_one() {
    explore(|| {
        let costs = Costs {
            retry: 3,
            throttling: 1,
            timeout: 3,
        };
        let budget = Budget::bucket(5, costs).unwrap();
        let got = both({
            let budget = budget.clone();
            move || budget.try_withdraw_owned(Cost::Retry)
        });
        assert!(got[0].is_some() != got[1].is_some());
        drop(got);
        assert!((budget.level() - 5.0).abs() < f64::EPSILON);
    });
}

/// No failure and no success is lost.
#[test]
fn model_a_throttle_counts_all() {
    explore(|| {
        let budget = Budget::throttle(10, 0.5).unwrap();
        for _ in 0..4 {
            budget.begin().failed();
        }
        let _ = both({
            let budget = budget.clone();
            move || {
                budget.begin().failed();
                budget.begin().succeeded();
            }
        });
        assert!((budget.level() - 5.0).abs() < f64::EPSILON);
        assert!(!budget.allows());
    });
}

/// What runs and what may begin are judged in one step, and nothing of it stays.
#[test]
fn model_one_of_two_is_within_the_share_of_what_runs() {
    explore(|| {
        let budget = Budget::in_flight(0.0, 1).unwrap();
        let first = budget.begin();
        let got = both({
            let budget = budget.clone();
            move || {
                budget
                    .try_withdraw_owned(Cost::Retry)
                    .and_then(super::Withdrawal::start)
            }
        });
        assert!(got[0].is_some() != got[1].is_some());
        drop((first, got));
        assert!(budget.level().abs() < f64::EPSILON);
        assert!(budget.allows());
    });
}

/// One payment is there and one comes: what is taken is never more than what was paid.
#[test]
fn model_a_window_pays_for_no_more_than_was_paid_in() {
    explore(|| {
        let builder = Budget::windowed(1.0).min_per_sec(0);
        let clock = ManualClock::new();
        let budget = builder
            .ttl(Duration::from_secs(10))
            .clock(clock.clone())
            .build()
            .unwrap();
        let _ = budget.begin();
        clock.advance(Duration::from_secs(1)); // the next payment restarts no slot that counts
        let got = both({
            let budget = budget.clone();
            move || {
                let _ = budget.begin();
                budget
                    .try_withdraw_owned(Cost::Retry)
                    .and_then(super::Withdrawal::start)
                    .is_some()
            }
        });
        assert_eq!(got, [true, true]); // each has paid before it asked
        assert!((budget.level() - 1.0).abs() < f64::EPSILON);
    });
}
