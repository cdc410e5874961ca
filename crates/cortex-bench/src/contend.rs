use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use cortex_core::{Clock, SystemClock};

use crate::{Series, pin_current_thread};

/// How long a round takes: many times what starting one costs, and a fraction of what the kernel gives a thread before
/// another one may have the core.
const ROUND: Duration = Duration::from_micros(250);

/// What a thread of ours lacks when it is gone: only its panic ends it early.
const ALIVE: &str = "invariant: a worker lives as long as its team";

/// Runs `body` beside `threads` threads, each kept on a core of its own, that do the same work at the same time.
///
/// `worker` makes the work of the thread with a number: one operation per call. The threads live until `body` has
/// returned, so what a library prepares for each thread is prepared once.
///
/// # Errors
///
/// There are fewer cores than threads.
///
/// # Panics
///
/// The work panics.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let count = AtomicU64::new(0);
/// let inc = |_thread| || { count.fetch_add(1, Ordering::Relaxed); };
/// let (time, operations) = cortex_bench::contend(1, inc, |team| (team.measure(10_000), team.operations()))?;
/// assert!(!time.is_zero());
/// assert_eq!(count.into_inner(), operations);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn contend<W: FnMut(), R>(
    threads: usize,
    worker: impl Fn(usize) -> W + Sync,
    body: impl FnOnce(&mut Team) -> R,
) -> io::Result<R> {
    let shared = Shared::default();
    thread::scope(|scope| {
        let mut team = Team {
            workers: Vec::new(),
            goal: 1,
            rounds: 0,
            operations: 0,
        };
        for core in 0..threads {
            let (orders, todo) = channel();
            let (done, results) = channel();
            let (shared, worker) = (&shared, &worker);
            scope.spawn(move || {
                let pinned = pin_current_thread(core);
                let failed = pinned.is_err();
                let told = done.send(pinned.map(|()| Vec::new()));
                if !failed && told.is_ok() {
                    shared.serve(threads as u64, worker(core), &todo, &done);
                }
            });
            results.recv().expect(ALIVE)?;
            team.workers.push(Worker { orders, results });
        }
        team.calibrate();
        Ok(body(&mut team))
    })
}

/// Threads that do the same work at the same time, on order of [`contend`].
#[derive(Debug)]
pub struct Team {
    workers: Vec<Worker>,
    /// So many operations of one thread end a round.
    goal: u64,
    rounds: u64,
    operations: u64,
}

#[derive(Debug)]
struct Worker {
    orders: Sender<Order>,
    results: Receiver<io::Result<Vec<Round>>>,
}

/// What all threads are to do: `rounds` rounds, of which the first has the number `first`.
#[derive(Clone, Copy, Debug)]
struct Order {
    first: u64,
    rounds: u64,
    goal: u64,
}

/// What one thread did in one round.
#[derive(Clone, Copy, Debug)]
struct Round {
    spent: Duration,
    operations: u64,
}

impl Team {
    /// Lets every thread do at least `operations` and returns how long so many take one thread while the others work.
    ///
    /// It is the median over rounds of about 250 us, so a thread that loses its core for a while spoils only the round
    /// in which that happens. In a round all threads work until the first reaches the goal: nobody works alone, and
    /// one that gets less done because others crowd it out counts with what it did get done.
    ///
    /// # Panics
    ///
    /// The work panics.
    pub fn measure(&mut self, operations: u64) -> Duration {
        let rounds = self.run(operations.div_ceil(self.goal).max(1));
        let nanos = rounds.median().expect("invariant: there is a round");
        #[expect(clippy::cast_precision_loss, reason = "2^53 operations take months")]
        Duration::from_secs_f64(nanos * 1e-9 * operations as f64)
    }

    /// Returns how many operations all threads did together, those for calibration included.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// Finds how many operations make a round.
    fn calibrate(&mut self) {
        for _ in 0..24 {
            // Three, for the median to leave out one that was disturbed.
            let nanos = self.run(3).median().expect("invariant: there are three rounds");
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "positive, and rounded anyway"
            )]
            let wanted = (ROUND.as_nanos() as f64 / nanos.max(0.01)) as u64;
            if wanted / 2 <= self.goal {
                self.goal = wanted.max(1);
                break;
            }
            // What few operations take is mostly the clock's own time.
            self.goal = wanted.min(self.goal * 16);
        }
    }

    /// Returns the nanoseconds per operation of each round.
    fn run(&mut self, rounds: u64) -> Series {
        let order = Order {
            first: self.rounds,
            rounds,
            goal: self.goal,
        };
        self.rounds += rounds;
        for worker in &self.workers {
            worker.orders.send(order).expect(ALIVE);
        }
        let mut all: Vec<Round> = Vec::new();
        for worker in &self.workers {
            let each = worker
                .results
                .recv()
                .expect(ALIVE)
                .expect("invariant: pinned by now");
            if all.is_empty() {
                all = each;
            } else {
                for (sum, round) in all.iter_mut().zip(each) {
                    sum.spent += round.spent;
                    sum.operations += round.operations;
                }
            }
        }
        self.operations += all.iter().map(|round| round.operations).sum::<u64>();
        #[expect(clippy::cast_precision_loss, reason = "2^53 ns are months")]
        let nanos = |round: Round| round.spent.as_nanos() as f64 / round.operations as f64;
        all.into_iter().map(nanos).collect()
    }
}

/// Where the threads meet. Nobody writes here during a round, and the alignment keeps the work's own data away.
#[derive(Default)]
#[repr(align(128))]
struct Shared {
    /// How many threads have come to any start.
    arrived: AtomicU64,
    /// How many rounds are over.
    over: AtomicU64,
    panicked: AtomicBool,
}

impl Shared {
    /// Does what is ordered until nobody can order any more.
    fn serve(
        &self,
        threads: u64,
        mut work: impl FnMut(),
        todo: &Receiver<Order>,
        done: &Sender<io::Result<Vec<Round>>>,
    ) {
        let _alarm = Alarm(&self.panicked);
        for order in todo {
            let numbers = order.first..order.first + order.rounds;
            let rounds = numbers
                .map(|number| {
                    self.start((number + 1) * threads);
                    self.round(number, order.goal, &mut work)
                })
                .collect();
            if done.send(Ok(rounds)).is_err() {
                return;
            }
        }
    }

    /// Waits until everybody is here. It spins: a thread that sleeps would begin late.
    fn start(&self, expected: u64) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        while self.arrived.load(Ordering::Acquire) < expected {
            assert!(!self.panicked.load(Ordering::Relaxed), "another worker panicked");
            std::hint::spin_loop();
        }
    }

    fn round(&self, number: u64, goal: u64, work: &mut impl FnMut()) -> Round {
        // Few enough that the end of a round is noticed soon, and many enough that looking costs nothing.
        let chunk = (goal / 128).clamp(1, 64);
        let mut operations = 0;
        let start = SystemClock.now();
        while self.over.load(Ordering::Relaxed) <= number {
            for _ in 0..chunk {
                work();
            }
            operations += chunk;
            if operations >= goal {
                self.over.store(number + 1, Ordering::Relaxed);
                break;
            }
        }
        let spent = SystemClock.now() - start;
        if operations == 0 {
            // Not even begun when the others were done. One operation says more than a division by zero.
            work();
            operations = 1;
            return Round {
                spent: SystemClock.now() - start,
                operations,
            };
        }
        Round { spent, operations }
    }
}

/// Tells the others when a worker panics, or they would wait for it for ever.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
