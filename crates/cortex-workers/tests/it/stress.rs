use crate::support::{assert_balanced, poll_once};
use cortex_workers::{
    Closures, Drain, Error, Event, Observer, Outcome, Overflow, Pool, Priority, TaskCounts,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A source of numbers that is the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Counts what it hears as a snapshot has it.
#[derive(Default)]
struct Counts([AtomicU64; 9]);

impl Counts {
    fn all(&self) -> [u64; 9] {
        std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed))
    }

    fn of(tasks: &TaskCounts) -> [u64; 9] {
        [
            tasks.rejected,
            tasks.completed,
            tasks.failed,
            tasks.panicked,
            tasks.cancelled,
            tasks.expired,
            tasks.timed_out,
            tasks.discarded,
            tasks.shut_down,
        ]
    }
}

impl Observer for Counts {
    fn on_event(&self, _: &str, event: &Event) {
        let at = match event {
            Event::Refused { .. } => 0,
            Event::Ended { outcome, .. } => match outcome {
                Outcome::Completed => 1,
                Outcome::Failed => 2,
                Outcome::Panicked => 3,
                Outcome::Cancelled => 4,
                Outcome::Expired => 5,
                Outcome::TimedOut => 6,
                _ => 8,
            },
            Event::Cancelled { .. } => 4,
            Event::Expired { .. } => 5,
            Event::Discarded { .. } => 7,
            _ => return,
        };
        self.0[at].fetch_add(1, Ordering::Relaxed);
    }
}

/// Panics, cancellations, deadlines, resizes and pauses from several threads at once: each task is accounted for, and each answer is
/// the right one.
#[test]
fn every_task_is_accounted_for_whatever_happens() {
    let heard = Arc::new(Counts::default());
    let pool = Pool::<Closures>::builder("stress")
        .observe(Arc::clone(&heard))
        .threads(1..=4)
        .queue(16)
        .idle(Duration::from_millis(1));
    let pool = pool.run_timeout(Duration::from_mins(1)).build_blocking().unwrap();
    let (begun, ended) = (Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    let rounds: u64 = 3000;
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (pool, begun, ended) = (&pool, &begun, &ended);
            scope.spawn(move || {
                let mut numbers = Numbers(seed);
                let mut calls = VecDeque::new();
                for round in 0..rounds {
                    let begun = Arc::clone(begun);
                    let panics = numbers.below(50) == 0;
                    let call = pool.run(move |_, _| {
                        begun.fetch_add(1, Ordering::Relaxed);
                        if panics {
                            std::panic::resume_unwind(Box::new("on purpose"));
                        }
                        round
                    });
                    let overflow = [
                        Overflow::Wait,
                        Overflow::Reject,
                        Overflow::DropOldest,
                        Overflow::CallerRuns,
                    ];
                    let overflow = overflow[usize::try_from(numbers.below(4)).unwrap()];
                    let priority = Priority::ALL[usize::try_from(numbers.below(3)).unwrap()];
                    let mut call = call.overflow(overflow).priority(priority);
                    match numbers.below(8) {
                        0 => drop(call.detach()),
                        1 => drop(poll_once(&mut call)),
                        2 => {
                            if let Ok(answer) = call.wait() {
                                assert_eq!(answer, round);
                                ended.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        _ => {
                            if poll_once(&mut call).is_pending() {
                                calls.push_back((round, call));
                            }
                        }
                    }
                    if calls.len() > 8 {
                        let (number, call) = calls.pop_front().unwrap();
                        match call.wait() {
                            Ok(answer) => assert_eq!(answer, number),
                            Err(Error::Panicked(panic)) => assert_eq!(panic.message(), "on purpose"),
                            Err(Error::Discarded { .. } | Error::Full(_)) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                    match numbers.below(200) {
                        0 => pool
                            .resize(1..=usize::try_from(1 + numbers.below(4)).unwrap())
                            .unwrap(),
                        1 => {
                            pool.pause();
                            pool.resume();
                        }
                        _ => {}
                    }
                }
            });
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let report = runtime.block_on(pool.shutdown(Drain::unlimited()));
    assert_eq!((report.leaked, report.discarded), (0, 0));
    let snapshot = pool.snapshot();
    assert_balanced(&snapshot);
    assert_eq!(snapshot.tasks.submitted, 4 * rounds);
    assert_eq!(snapshot.tasks.ended(), 4 * rounds, "nothing is left");
    assert_eq!(heard.all(), Counts::of(&snapshot.tasks), "each is told of once");
    let ran = snapshot.tasks.completed + snapshot.tasks.panicked;
    assert!(begun.load(Ordering::Relaxed) >= ran && ended.load(Ordering::Relaxed) > 0);
}
