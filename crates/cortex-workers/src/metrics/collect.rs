use crate::look::Look;
use crate::priority::Priority;
use crate::snapshot::{Snapshot, TaskCounts};
use crate::times::Times;
use cortex_metrics::{Buckets, Samples};
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

/// The most that are shown.
const MOST: usize = 500;

/// The bounds of histograms, as powers of two of nanoseconds: from 1 us to 69 s. So they are ends of the buckets of [`Times`], and no
/// count is a guess.
const BOUNDS: [u32; 14] = [10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36];

/// The pools that are shown, the last one at the end.
pub(super) struct Pools {
    all: Mutex<Vec<Weak<dyn Look>>>,
    buckets: Buckets,
}

impl Default for Pools {
    fn default() -> Self {
        let bounds = BOUNDS.map(|power| Duration::from_nanos(1 << power).as_secs_f64());
        Self {
            all: Mutex::default(),
            buckets: Buckets::new(bounds).expect("invariant: they increase, and are few"),
        }
    }
}

impl Pools {
    pub(super) fn watch(&self, pool: Weak<dyn Look>) -> bool {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|pool| pool.strong_count() > 0);
        let is_room = all.len() < MOST;
        if is_room {
            all.push(pool);
        }
        is_room
    }

    /// Takes those that still are, without our lock: the last handle may be dropped here.
    fn alive(&self) -> Vec<Arc<dyn Look>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|pool| pool.strong_count() > 0);
        all.iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn collect(&self, out: &mut Samples<'_>) {
        let pools = self.alive();
        let mut names = HashSet::new();
        let mut shown: Vec<_> = pools
            .iter()
            .rev()
            .filter(|pool| names.insert(pool.name()))
            .collect();
        shown.reverse();
        for pool in shown {
            let snapshot = pool.look();
            threads(pool.name(), &snapshot, out);
            queue(pool.name(), &snapshot, out);
            tasks(pool.name(), &snapshot.tasks, out);
            self.times(pool.name(), &snapshot, out);
        }
    }

    fn times(&self, pool: &str, snapshot: &Snapshot, out: &mut Samples<'_>) {
        for priority in Priority::ALL {
            let labels = [("pool", pool), ("priority", priority.as_str())];
            let mut give = |name: &str, help: &str, times: &Times| {
                let (counts, sum) = (coarse(times), times.total().as_secs_f64());
                out.histogram(name, help, &labels, &self.buckets, &counts, sum);
            };
            let help = "Time from when a task is offered until a worker takes it.";
            let name = "cortex_workers_task_wait_seconds";
            give(name, help, snapshot.wait_times(priority));
            let help = "Time that tasks run on a worker, however they end.";
            let name = "cortex_workers_task_run_seconds";
            give(name, help, snapshot.run_times(priority));
        }
    }
}

/// Puts many buckets into few, the last of which has no bound.
fn coarse(times: &Times) -> [u64; BOUNDS.len() + 1] {
    let mut counts = [0; BOUNDS.len() + 1];
    for (upto, count) in times.buckets() {
        let fits = |power: &u32| upto <= Duration::from_nanos(1 << power);
        let at = BOUNDS.iter().position(fits).unwrap_or(BOUNDS.len());
        counts[at] += count;
    }
    counts
}

fn threads(pool: &str, snapshot: &Snapshot, out: &mut Samples<'_>) {
    let threads = &snapshot.threads;
    let known = threads.idle + threads.busy + threads.failing;
    let states = [
        ("idle", threads.idle),
        ("busy", threads.busy),
        ("starting", threads.live.saturating_sub(known)),
        ("backoff", threads.failing),
        ("stuck", threads.stuck),
    ];
    for (state, count) in states {
        let labels = [("pool", pool), ("state", state)];
        let help = "Threads of a pool by what they do.";
        out.gauge("cortex_workers_threads", help, &labels, size(count));
    }
    let just = [("pool", pool)];
    let help = "The least threads that a pool is to have.";
    out.gauge("cortex_workers_threads_min", help, &just, size(threads.least));
    let help = "The most threads that a pool may have.";
    out.gauge("cortex_workers_threads_max", help, &just, size(threads.most));
    let help = "Time that threads have run tasks.";
    let busy = threads.busy_time.as_secs_f64();
    out.counter("cortex_workers_busy_seconds", help, &just, busy);
    let help = "Time that threads were there to run tasks.";
    let there = threads.thread_time.as_secs_f64();
    out.counter("cortex_workers_thread_seconds", help, &just, there);
    let help = "Times that a worker has made its state again after a panic.";
    out.counter("cortex_workers_respawns", help, &just, number(threads.respawned));
    let help = "Threads that were given up because their task did not stop.";
    let replaced = number(threads.replaced);
    out.counter("cortex_workers_replacements", help, &just, replaced);
    let help = "1 while no task begins, by hand.";
    let paused = f64::from(u8::from(snapshot.is_paused));
    out.gauge("cortex_workers_paused", help, &just, paused);
}

fn queue(pool: &str, snapshot: &Snapshot, out: &mut Samples<'_>) {
    let queue = &snapshot.queue;
    for (priority, count) in Priority::ALL.into_iter().zip(queue.queued) {
        let labels = [("pool", pool), ("priority", priority.as_str())];
        let help = "Tasks that wait in the queue of a pool.";
        out.gauge("cortex_workers_queue_tasks", help, &labels, size(count));
    }
    let just = [("pool", pool)];
    let help = "How many tasks may wait in the queue of a pool.";
    out.gauge("cortex_workers_queue_limit", help, &just, size(queue.capacity));
    let help = "Calls that wait for a place in the queue of a pool.";
    out.gauge("cortex_workers_calls_waiting", help, &just, size(queue.waiting));
    let help = "How long the oldest task has waited in the queue; 0 if there is none.";
    let oldest = queue.oldest.unwrap_or_default().as_secs_f64();
    out.gauge("cortex_workers_queue_oldest_seconds", help, &just, oldest);
}

fn tasks(pool: &str, tasks: &TaskCounts, out: &mut Samples<'_>) {
    let help = "Tasks that were offered to a pool.";
    let submitted = number(tasks.submitted);
    out.counter("cortex_workers_submitted", help, &[("pool", pool)], submitted);
    let help = "Tasks that ran on the thread of their caller.";
    let inline = number(tasks.inline);
    out.counter("cortex_workers_inline_runs", help, &[("pool", pool)], inline);
    let outcomes = [
        ("completed", tasks.completed),
        ("failed", tasks.failed),
        ("panicked", tasks.panicked),
        ("cancelled", tasks.cancelled),
        ("expired", tasks.expired),
        ("timed_out", tasks.timed_out),
        ("shut_down", tasks.shut_down),
        ("discarded", tasks.discarded),
        ("rejected", tasks.rejected),
    ];
    for (outcome, count) in outcomes {
        let labels = [("pool", pool), ("outcome", outcome)];
        let help = "Tasks of a pool that have ended, by how they did.";
        out.counter("cortex_workers_tasks", help, &labels, number(count));
    }
}

fn size(count: usize) -> f64 {
    number(u64::try_from(count).unwrap_or(u64::MAX))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "of so many tasks nobody needs the last digit"
)]
fn number(count: u64) -> f64 {
    count as f64
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Pools")
            .field("watched", &all.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bucket_lies_across_a_bound() {
        for (at, power) in BOUNDS.into_iter().enumerate() {
            for (nanos, place) in [(1 << power, at), ((1 << power) + 1, at + 1)] {
                let mut times = Times::NONE;
                times.add(nanos);
                assert_eq!(coarse(&times)[place], 1, "{nanos} ns");
            }
        }
    }
}
