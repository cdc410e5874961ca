use std::fmt;

use tokio::runtime::{Handle, RuntimeMetrics};

use crate::{Collector, Samples};

/// Shows how a tokio runtime is doing, under the name you give it.
///
/// Every series has the label `runtime`. Several runtimes are several collectors with different names; their families
/// merge.
///
/// | family | |
/// |---|---|
/// | `tokio_workers` | worker threads |
/// | `tokio_alive_tasks` | tasks that have not ended |
/// | `tokio_global_queue_depth` | tasks that wait for any worker to take them |
/// | `tokio_worker_busy_seconds_total{worker}` | time a worker did not sleep |
/// | `tokio_worker_parks_total{worker}` | times a worker went to sleep for want of work |
///
/// A worker adds its busy time when it goes to sleep: while a task blocks it, its two counters stand still.
///
/// The last two are missing on targets without 64-bit atomics. Built with
/// `RUSTFLAGS="--cfg tokio_unstable"`, which unlocks more of tokio, there are also `tokio_blocking_threads`,
/// `tokio_idle_blocking_threads`, `tokio_blocking_queue_depth`, `tokio_spawned_tasks_total`,
/// `tokio_worker_steals_total{worker}` and `tokio_worker_polls_total{worker}`.
///
/// It neither keeps the runtime alive nor needs it: once the runtime is shut down, its last numbers are shown. As with
/// every [`Handle`], up to three file descriptors of the runtime's I/O driver stay open until the collector is dropped.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Registry, RuntimeCollector};
///
/// let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// let registry = Registry::default();
/// registry.register_collector(RuntimeCollector::new("main", runtime.handle()));
///
/// let text = registry.to_text();
/// assert!(text.contains("tokio_workers{runtime=\"main\"} 1.0\n"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct RuntimeCollector {
    name: String,
    metrics: RuntimeMetrics,
}

impl RuntimeCollector {
    /// Makes a collector for the runtime that the handle belongs to.
    pub fn new(name: impl Into<String>, runtime: &Handle) -> Self {
        Self {
            name: name.into(),
            metrics: runtime.metrics(),
        }
    }
}

impl Collector for RuntimeCollector {
    fn collect(&self, out: &mut Samples<'_>) {
        let Self { name, metrics } = self;
        let runtime = ("runtime", &**name);
        let workers = metrics.num_workers();
        let mut gauge = |name: &str, help: &str, value: usize| {
            out.gauge(name, help, &[runtime], to_f64(value as u64));
        };
        gauge("tokio_workers", "Worker threads.", workers);
        gauge(
            "tokio_alive_tasks",
            "Tasks that have not ended.",
            metrics.num_alive_tasks(),
        );
        gauge(
            "tokio_global_queue_depth",
            "Tasks that wait for any worker to take them.",
            metrics.global_queue_depth(),
        );
        #[cfg(tokio_unstable)]
        {
            gauge(
                "tokio_blocking_threads",
                "Threads for blocking work.",
                metrics.num_blocking_threads(),
            );
            gauge(
                "tokio_idle_blocking_threads",
                "Threads for blocking work that have none.",
                metrics.num_idle_blocking_threads(),
            );
            gauge(
                "tokio_blocking_queue_depth",
                "Blocking work that waits for a thread.",
                metrics.blocking_queue_depth(),
            );
        }
        #[cfg(all(tokio_unstable, target_has_atomic = "64"))]
        out.counter(
            "tokio_spawned_tasks",
            "Tasks spawned.",
            &[runtime],
            to_f64(metrics.spawned_tasks_count()),
        );
        #[cfg(target_has_atomic = "64")]
        for worker in 0..workers {
            let label = worker.to_string();
            let mut counter = |name: &str, help: &str, value: f64| {
                out.counter(name, help, &[runtime, ("worker", &label)], value);
            };
            counter(
                "tokio_worker_busy_seconds",
                "Time a worker did not sleep.",
                metrics.worker_total_busy_duration(worker).as_secs_f64(),
            );
            counter(
                "tokio_worker_parks",
                "Times a worker went to sleep for want of work.",
                to_f64(metrics.worker_park_count(worker)),
            );
            #[cfg(tokio_unstable)]
            {
                counter(
                    "tokio_worker_steals",
                    "Tasks a worker took from another.",
                    to_f64(metrics.worker_steal_count(worker)),
                );
                counter(
                    "tokio_worker_polls",
                    "Times a worker ran a task until it waited or ended.",
                    to_f64(metrics.worker_poll_count(worker)),
                );
            }
        }
    }
}

impl fmt::Debug for RuntimeCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeCollector")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[expect(clippy::cast_precision_loss, reason = "the formats know only doubles")]
fn to_f64(value: u64) -> f64 {
    value as f64
}
