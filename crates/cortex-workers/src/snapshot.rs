use crate::hub::{Life, View};
use crate::priority::Priority;
use crate::times::{TaskTimes, Times};
use std::time::Duration;

/// How a pool stands, and what became of its tasks.
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Pool};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = Pool::<Closures>::builder("sums").threads(2).build().await.unwrap();
/// pool.run(|_, _| 1 + 1).await.unwrap();
/// let snapshot = pool.snapshot();
/// assert_eq!((snapshot.threads.live, snapshot.tasks.submitted), (2, 1));
/// assert!(snapshot.is_balanced());
/// # });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The threads.
    pub threads: ThreadCounts,
    /// What waits.
    pub queue: QueueCounts,
    /// What became of all tasks so far.
    pub tasks: TaskCounts,
    /// Tasks wait in the queue until the pool is resumed.
    pub is_paused: bool,
    /// Nothing is accepted any more.
    pub is_closed: bool,
    times: Box<TaskTimes>,
}

/// How many threads a pool has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ThreadCounts {
    /// The least there are to be.
    pub least: usize,
    /// The most there may be.
    pub most: usize,
    /// How many there are, without those that were given up.
    pub live: usize,
    /// How many of them have nothing to do.
    pub idle: usize,
    /// How many of them run a task.
    pub busy: usize,
    /// How many wait to make their state again.
    pub failing: usize,
    /// How many were given up and still run.
    pub stuck: usize,
    /// How many may be given up at a time.
    pub stuck_limit: usize,
    /// How often a state was made again after a panic.
    pub respawned: u64,
    /// How many threads were given up so far.
    pub replaced: u64,
    /// How long all threads together have run tasks, those that run now included.
    pub busy_time: Duration,
    /// How long all threads together have been there to run tasks.
    pub thread_time: Duration,
}

/// What waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueCounts {
    /// How many tasks of each priority wait for a worker, in the order of [`Priority::ALL`](crate::Priority::ALL).
    pub queued: [usize; 3],
    /// How many there may be.
    pub capacity: usize,
    /// How many wait for a place.
    pub waiting: usize,
    /// How long the oldest one has been in the queue.
    pub oldest: Option<Duration>,
}

/// What became of tasks; each counts once, in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskCounts {
    /// All that were offered.
    pub submitted: u64,
    /// Not accepted.
    pub rejected: u64,
    /// Answered.
    pub completed: u64,
    /// Answered with the worker's error.
    pub failed: u64,
    /// Panicked.
    pub panicked: u64,
    /// Cancelled, before or while they ran.
    pub cancelled: u64,
    /// Too late, before or while they ran.
    pub expired: u64,
    /// Ran for too long.
    pub timed_out: u64,
    /// Discarded for others, or by a shutdown.
    pub discarded: u64,
    /// Stopped by a shutdown while they ran.
    pub shut_down: u64,
    /// How many of these ran on the thread of their caller: none of a kind of their own.
    pub inline: u64,
}

impl TaskCounts {
    /// How many have come to an end.
    pub const fn ended(&self) -> u64 {
        self.rejected
            + self.completed
            + self.failed
            + self.panicked
            + self.cancelled
            + self.expired
            + self.timed_out
            + self.discarded
            + self.shut_down
    }
}

impl Snapshot {
    pub(crate) fn of<W>(hub: &mut View<'_, W>, now: u64, mut times: Box<TaskTimes>) -> Self {
        (*times).clone_from(hub.times());
        let (busy_nanos, thread_nanos) = hub.spent(now);
        let (totals, (least, most, live, busy, stuck)) = (hub.totals(), hub.threads());
        let since = |time: u64| Duration::from_nanos(now.saturating_sub(time));
        Self {
            threads: ThreadCounts {
                least,
                most,
                live,
                idle: hub.idle(),
                busy,
                failing: hub.failing(),
                stuck,
                stuck_limit: hub.most_stuck(),
                respawned: totals.respawns,
                replaced: totals.replaced,
                busy_time: Duration::from_nanos(busy_nanos),
                thread_time: Duration::from_nanos(thread_nanos),
            },
            queue: QueueCounts {
                queued: hub.queued(),
                capacity: hub.capacity(),
                waiting: hub.waiting(),
                oldest: hub.oldest().map(since),
            },
            tasks: TaskCounts {
                submitted: totals.submitted,
                rejected: totals.rejected,
                completed: totals.completed,
                failed: totals.failed,
                panicked: totals.panicked,
                cancelled: totals.cancelled,
                expired: totals.expired,
                timed_out: totals.timed_out,
                discarded: totals.discarded,
                shut_down: totals.shut_down,
                inline: totals.inline,
            },
            is_paused: hub.is_paused(),
            is_closed: hub.life() != Life::Open,
            times,
        }
    }

    /// Returns how long tasks of this priority have waited from when they were offered until a worker took them: those that have
    /// ended since.
    pub fn wait_times(&self, priority: Priority) -> &Times {
        &self.times.wait[priority.index()]
    }

    /// Returns how long tasks of this priority have run that have ended, however they did.
    pub fn run_times(&self, priority: Priority) -> &Times {
        &self.times.run[priority.index()]
    }

    /// Returns which share of their time the threads have been busy, from 0 to 1, since the pool began.
    pub fn utilisation(&self) -> f64 {
        share(self.threads.busy_time, self.threads.thread_time)
    }

    /// Returns which share of their time the threads have been busy, from 0 to 1, since an earlier look at the same pool.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_workers::{Closures, Pool};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let pool = Pool::<Closures>::builder("sums").threads(2).build().await.unwrap();
    /// let before = pool.snapshot();
    /// pool.run(|_, _| (0..1000_u64).sum::<u64>()).await.unwrap();
    /// let busy = pool.snapshot().utilisation_since(&before);
    /// assert!((0.0..=1.0).contains(&busy));
    /// # });
    /// ```
    pub fn utilisation_since(&self, before: &Self) -> f64 {
        let (now, before) = (&self.threads, &before.threads);
        share(
            now.busy_time.saturating_sub(before.busy_time),
            now.thread_time.saturating_sub(before.thread_time),
        )
    }

    /// Says whether each task is accounted for: it has ended, waits, or runs.
    pub fn is_balanced(&self) -> bool {
        let there = self.queue.queued.iter().sum::<usize>()
            + self.queue.waiting
            + self.threads.busy
            + self.threads.stuck;
        u64::try_from(there).is_ok_and(|there| self.tasks.submitted == self.tasks.ended() + there)
    }
}

fn share(busy: Duration, there: Duration) -> f64 {
    if there.is_zero() {
        return 0.0;
    }
    busy.div_duration_f64(there).min(1.0)
}
