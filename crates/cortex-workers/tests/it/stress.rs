use crate::support::{assert_balanced, poll_once};
use cortex_core::{Clock, Deadline, SystemClock};
use cortex_workers::{
    Adaptive, Builder, Call, CancelToken, Closure, Closures, Drain, Error, Event, Gate, Observer, Outcome,
    Overflow, Pool, Priority, TaskCounts, TaskCx, Worker, WorkerCx,
};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
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

/// Loses its state with each panic.
struct Frail;

impl Worker for Frail {
    type Request = Arc<Toll>;
    type Response = ();
    type Error = Infallible;

    fn init(_: &WorkerCx<'_>) -> Result<Self, Infallible> {
        Ok(Self)
    }

    fn run(&mut self, toll: Arc<Toll>, _: &TaskCx<'_>) -> Result<(), Infallible> {
        toll.begun.fetch_add(1, Ordering::Relaxed);
        toll.done.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// What only some pools can do, from a thread of its own.
trait Also: Worker {
    /// Returns how many tasks were offered.
    fn also(storm: Storm, pool: &Pool<Self>, toll: &Arc<Toll>) -> u64;
}

/// Tasks on the thread of a caller, of a runtime, and in batches.
impl Also for Closures {
    fn also(storm: Storm, pool: &Pool<Self>, toll: &Arc<Toll>) -> u64 {
        static SITE: Adaptive = Adaptive::new();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build();
        let runtime = runtime.expect("a runtime needs little");
        let token = CancelToken::new();
        let mut spawned = Vec::new();
        let rounds = storm.rounds / 16;
        for round in 0..rounds {
            let tiny = pool.run(toll.task(round)).adaptive(&SITE);
            storm.settle(tiny.cancel_with(&token).wait(), round, toll);
            let (own, task) = (pool.clone(), toll.task(round));
            spawned.push(runtime.spawn(async move {
                let call = own.run(task).overflow(Overflow::CallerRuns);
                (round, call.submitter(round % 3).await.map_err(drop))
            }));
            let tasks = (0..4).map(|number| toll.task(number));
            let batch = pool.run_batch(tasks).submitter(7).cancel_with(&token.child());
            for (number, answer) in (0..).zip(batch.wait()) {
                storm.settle(answer, number, toll);
            }
            let begun = Arc::clone(toll);
            drop(pool.submit(move || {
                begun.begun.fetch_add(1, Ordering::Relaxed);
            }));
        }
        for spawned in spawned {
            let (round, answer) = runtime.block_on(spawned).expect("nothing panics there");
            assert!(answer.is_err() || answer == Ok(round));
            toll.answered
                .fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
        }
        rounds * 7
    }
}

/// Requests that nobody awaits: each that was accepted is done, or handed over.
impl Also for Frail {
    fn also(storm: Storm, pool: &Pool<Self>, toll: &Arc<Toll>) -> u64 {
        let policies = [Overflow::Reject, Overflow::DropOldest, Overflow::DropNewest];
        for overflow in policies.into_iter().cycle().take(to_size(storm.rounds)) {
            let call = pool.call(Arc::clone(toll)).overflow(overflow);
            let accepted = call.submitter(1).detach().is_ok();
            toll.accepted.fetch_add(u64::from(accepted), Ordering::Relaxed);
        }
        storm.rounds
    }
}

const THREADS: u64 = 4;

fn to_size(number: u64) -> usize {
    usize::try_from(number).expect("it is small")
}

/// What several threads do to a pool at once.
#[derive(Clone, Copy)]
struct Storm {
    seed: u64,
    rounds: u64,
    /// The number of threads changes, and the pool is paused.
    resizes: bool,
    /// It is shut down in between.
    ends: bool,
}

/// What came of it.
#[derive(Default)]
struct Toll {
    /// A token of some thread, for another one to cancel.
    token: Mutex<CancelToken>,
    begun: AtomicU64,
    answered: AtomicU64,
    closed: AtomicU64,
    cancelled: AtomicU64,
    /// Requests that nobody awaits.
    accepted: AtomicU64,
    done: AtomicU64,
    handed_over: AtomicU64,
}

impl Toll {
    /// Makes a task that answers this.
    fn task<W>(self: &Arc<Self>, answer: u64) -> impl FnOnce(&mut W, &TaskCx<'_>) -> u64 + Send + use<W> {
        let toll = Arc::clone(self);
        move |_, _| {
            toll.begun.fetch_add(1, Ordering::Relaxed);
            answer
        }
    }

    /// Takes a new token in place of an old one; the old one, or that of another thread, is to be cancelled.
    fn token(&self, own: &mut CancelToken, numbers: &mut Numbers) -> CancelToken {
        let old = std::mem::take(own);
        if numbers.below(2) == 0 {
            return old;
        }
        std::mem::replace(&mut *self.token.lock().expect("nobody panics there"), old)
    }
}

impl Storm {
    fn rage<W: Worker>(self, pool: &Pool<W>, seed: u64, toll: &Arc<Toll>) {
        let mut numbers = Numbers(seed);
        let mut calls = VecDeque::new();
        let mut token = CancelToken::new();
        for round in 0..self.rounds {
            let begun = Arc::clone(toll);
            let panics = numbers.below(50) == 0;
            let call = pool.run(move |_, cx| {
                begun.begun.fetch_add(1, Ordering::Relaxed);
                if panics {
                    std::panic::resume_unwind(Box::new("on purpose"));
                }
                let _ = cx.check();
                round
            });
            let overflow = [
                Overflow::Wait,
                Overflow::Reject,
                Overflow::DropOldest,
                Overflow::DropNewest,
                Overflow::CallerRuns,
            ];
            let overflow = overflow[to_size(numbers.below(5))];
            let priority = Priority::ALL[to_size(numbers.below(3))];
            let mut call = call.overflow(overflow).priority(priority);
            if numbers.below(4) == 0 {
                let time = Duration::from_micros(numbers.below(200));
                call = call.deadline(Deadline::after(SystemClock.now(), time));
            }
            if numbers.below(2) == 0 {
                call = call.submitter(numbers.below(3));
            }
            if numbers.below(4) == 0 {
                let child = if numbers.below(2) == 0 {
                    token.child()
                } else {
                    token.clone()
                };
                call = call.cancel_with(&child);
            }
            if numbers.below(16) == 0 {
                toll.token(&mut token, &mut numbers).cancel();
            }
            match numbers.below(8) {
                0 => drop(call.detach()),
                1 => drop(poll_once(&mut call)),
                2 => self.settle(call.wait(), round, toll),
                _ => match poll_once(&mut call) {
                    Poll::Ready(answer) => self.settle(answer, round, toll),
                    Poll::Pending => calls.push_back((round, call)),
                },
            }
            if calls.len() > 8 {
                self.end_first(&mut calls, toll);
            }
            match numbers.below(200) {
                0 if self.resizes => {
                    let most = to_size(1 + numbers.below(4));
                    pool.resize(1..=most).expect("it may have as many");
                }
                1 if self.resizes => {
                    pool.pause();
                    pool.resume();
                }
                _ => {}
            }
        }
        while !calls.is_empty() {
            self.end_first(&mut calls, toll);
        }
    }

    fn end_first<W: Worker, F>(self, calls: &mut VecDeque<(u64, Call<'_, W, Closure<F>>)>, toll: &Toll)
    where
        F: FnOnce(&mut W, &TaskCx<'_>) -> u64 + Send + 'static,
    {
        if let Some((number, call)) = calls.pop_front() {
            self.settle(call.wait(), number, toll);
        }
    }

    /// Asserts that an answer is the one of its call, and that an error is one that there may be.
    fn settle<Q>(self, answer: Result<u64, Error<Q>>, number: u64, toll: &Toll) {
        match answer {
            Ok(answer) => {
                assert_eq!(answer, number);
                toll.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(Error::Panicked(panic)) => assert_eq!(panic.message(), "on purpose"),
            Err(Error::Closed(_) | Error::Shutdown) if self.ends => {
                toll.closed.fetch_add(1, Ordering::Relaxed);
            }
            Err(Error::Cancelled { .. }) => {
                toll.cancelled.fetch_add(1, Ordering::Relaxed);
            }
            Err(Error::Discarded { .. } | Error::Full(_) | Error::NoWorkers(_) | Error::Deadline { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Has several threads at the pool, and asserts that each task is accounted for, to the observer, too.
    fn come<W: Also>(self, set: impl FnOnce(Builder<W>) -> Builder<W>, drain: Drain) {
        let heard = Arc::new(Counts::default());
        let builder = Pool::<W>::builder("stress")
            .observe(Arc::clone(&heard))
            .threads(1..=4)
            .queue(16)
            .idle(Duration::from_millis(1))
            .grace(Duration::from_mins(1))
            .run_timeout(Duration::from_mins(1));
        let built = set(builder).build_blocking();
        let pool = built.unwrap_or_else(|_| panic!("the settings make sense"));
        let toll = Arc::new(Toll::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime needs little");
        let (report, also) = std::thread::scope(|scope| {
            let (pool, toll) = (&pool, &toll);
            let also = scope.spawn(move || W::also(self, pool, toll));
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| scope.spawn(move || self.rage(pool, self.seed * THREADS + thread, toll)))
                .collect();
            if self.ends {
                // One thread alone may have offered as many before the others have an answer.
                let some = |count: &AtomicU64| count.load(Ordering::Relaxed) > 0;
                while pool.snapshot().tasks.submitted < self.rounds
                    || !some(&toll.answered)
                    || !some(&toll.cancelled)
                {
                    std::thread::yield_now();
                }
            } else {
                for thread in threads {
                    thread.join().expect("every answer is right");
                }
                let also = also.join().expect("every answer is right");
                return (runtime.block_on(pool.shutdown(drain)), also);
            }
            let report = runtime.block_on(pool.shutdown(drain));
            (report, also.join().expect("every answer is right"))
        });
        assert_eq!(report.leaked, 0);
        let snapshot = pool.snapshot();
        assert_balanced(&snapshot);
        assert_eq!(snapshot.tasks.submitted, THREADS * self.rounds + also);
        assert_eq!(
            snapshot.tasks.ended(),
            snapshot.tasks.submitted,
            "nothing is left"
        );
        assert_eq!(heard.all(), Counts::of(&snapshot.tasks), "each is told of once");
        let ran = snapshot.tasks.completed + snapshot.tasks.panicked;
        assert!(toll.begun.load(Ordering::Relaxed) >= ran);
        let answered = toll.answered.load(Ordering::Relaxed);
        assert!(answered > 0);
        assert!(
            answered <= snapshot.tasks.completed,
            "whoever is answered counts so"
        );
        assert!(toll.cancelled.load(Ordering::Relaxed) > 0);
        let [accepted, done, handed_over] =
            [&toll.accepted, &toll.done, &toll.handed_over].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(accepted, done + handed_over, "no request is lost");
        if !self.ends {
            assert_eq!((report.discarded, report.stopped), (0, 0));
        }
    }
}

fn frail(builder: Builder<Frail>) -> Builder<Frail> {
    let builder = builder.on_discard(|toll, _| {
        toll.handed_over.fetch_add(1, Ordering::Relaxed);
    });
    builder.respawn(Duration::from_micros(5), Duration::from_micros(50))
}

/// Panics, cancellations, deadlines, resizes and pauses from several threads at once: each task is accounted for, and each answer is
/// the right one.
#[test]
fn every_task_is_accounted_for_whatever_happens() {
    let storm = Storm {
        seed: 0,
        rounds: 3000,
        resizes: true,
        ends: false,
    };
    storm.come::<Closures>(|builder| builder, Drain::unlimited());
}

#[test]
fn every_task_is_accounted_for_where_states_are_lost() {
    let storm = Storm {
        seed: 0,
        rounds: 2000,
        resizes: true,
        ends: false,
    };
    storm.come::<Frail>(frail, Drain::unlimited());
}

#[test]
fn every_call_is_answered_by_a_pool_that_ends_in_the_middle() {
    let storm = Storm {
        seed: 0,
        rounds: 2000,
        resizes: false,
        ends: true,
    };
    for drain in [Drain::now(), Drain::unlimited()] {
        storm.come::<Closures>(|builder| builder, drain);
        storm.come::<Frail>(frail, drain);
    }
}

/// All of it, on two pools that share places, with other numbers each time.
#[test]
#[ignore = "it lasts as long as it is told to: `cargo xtask stress`"]
fn every_task_is_accounted_for_in_a_storm_that_lasts() {
    let seconds = std::env::var("CORTEX_STRESS_SECONDS").expect("it says how long");
    let until = SystemClock.now() + Duration::from_secs(seconds.parse().expect("it is a number"));
    let mut seed = 0;
    while SystemClock.now() < until {
        seed += 1;
        let gate = Gate::new(16);
        let storm = Storm {
            seed,
            rounds: 2000,
            resizes: seed % 3 > 0,
            ends: seed % 2 > 0,
        };
        let drain = if seed % 4 == 1 {
            Drain::now()
        } else {
            Drain::unlimited()
        };
        std::thread::scope(|scope| {
            scope.spawn(|| storm.come::<Closures>(|builder| builder.gate(&gate, 2), drain));
            scope.spawn(|| storm.come::<Frail>(|builder| frail(builder).gate(&gate, 2), drain));
        });
        assert_eq!(gate.free(), 16, "each place was given back");
    }
}
