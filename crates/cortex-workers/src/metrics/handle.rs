use super::collect::Pools;
use crate::pool::Pool;
use crate::worker::Worker;
use cortex_metrics::{Registry, Samples};
use std::sync::Arc;

/// Shows at each scrape how pools stand. See [`metrics`](super) for the names.
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
