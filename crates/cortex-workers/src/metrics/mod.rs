//! How pools stand, as metrics.
//!
//! | metric | labels | is |
//! |---|---|---|
//! | `cortex_workers_threads` | `pool`, `state` | threads that are `idle`, `busy`, `starting`, in `backoff` after a panic, or given up as `stuck` |
//! | `cortex_workers_threads_min` | `pool` | the least there are to be |
//! | `cortex_workers_threads_max` | `pool` | the most there may be |
//! | `cortex_workers_queue_tasks` | `pool`, `priority` | tasks in the queue |
//! | `cortex_workers_queue_limit` | `pool` | how many there may be |
//! | `cortex_workers_calls_waiting` | `pool` | calls that wait for a place in the queue |
//! | `cortex_workers_queue_oldest_seconds` | `pool` | how long the oldest task has been in the queue; 0 if there is none |
//! | `cortex_workers_submitted_total` | `pool` | tasks that were offered |
//! | `cortex_workers_tasks_total` | `pool`, `outcome` | tasks that have ended: `completed`, `failed`, `panicked`, `cancelled`, `expired`, `timed_out`, `shut_down`, `discarded`, `rejected` |
//! | `cortex_workers_task_wait_seconds` | `pool`, `priority` | a histogram of the time from the offer of a task until a worker takes it |
//! | `cortex_workers_task_run_seconds` | `pool`, `priority` | a histogram of the time that tasks run |
//! | `cortex_workers_busy_seconds_total` | `pool` | time that threads have run tasks |
//! | `cortex_workers_thread_seconds_total` | `pool` | time that threads were there: the rate of the other by the rate of this is the utilisation |
//! | `cortex_workers_respawns_total` | `pool` | states that were made again after a panic |
//! | `cortex_workers_replacements_total` | `pool` | threads that were given up, and replaced |
//! | `cortex_workers_paused` | `pool` | 1 while no task begins |

mod collect;

use self::collect::Pools;
use crate::pool::Pool;
use crate::worker::Worker;
use cortex_metrics::{Registry, Samples};
use std::sync::Arc;

/// Shows at each scrape how pools stand. See [`metrics`](self) for the names.
///
/// Clones show the same pools. A pool whose last handle is dropped is shown no more, and is not kept alive.
///
/// # Performance
///
/// Tasks cost nothing more: pools count anyway, and a scrape reads what they have counted, with their lock held for some
/// microseconds.
///
/// # Examples
///
/// ```
/// use cortex_metrics::Registry;
/// use cortex_workers::metrics::Metrics;
/// use cortex_workers::{Closures, Pool};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let registry = Registry::default();
/// let metrics = Metrics::register(&registry);
/// let pool = Pool::<Closures>::builder("reports").threads(2).build().await.unwrap();
/// metrics.watch(&pool);
///
/// pool.run(|_, _| 1 + 1).await.unwrap();
/// let text = registry.to_text();
/// assert!(text.contains("cortex_workers_submitted_total{pool=\"reports\"} 1.0\n"));
/// assert!(text.contains("cortex_workers_threads_max{pool=\"reports\"} 2.0\n"));
/// # });
/// ```
#[derive(Clone, Debug)]
pub struct Metrics {
    pools: Arc<Pools>,
}

impl Metrics {
    /// Registers the metrics of pools: once in a registry. For a prefix or more labels, give it a
    /// [sub-registry](cortex_metrics::Registry::sub_registry).
    pub fn register(registry: &Registry) -> Self {
        let pools = Arc::new(Pools::default());
        let shown = Arc::clone(&pools);
        registry.register_collector(move |out: &mut Samples<'_>| shown.collect(out));
        Self { pools }
    }

    /// Shows a pool from now on. Returns whether there was room: 500 pools are shown at most.
    ///
    /// Of two pools with the same name that one is shown which was given last.
    pub fn watch<W: Worker>(&self, pool: &Pool<W>) -> bool {
        self.pools.watch(pool.look())
    }
}
