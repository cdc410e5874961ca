//! What exporters do, with real collectors and with scripted ones in paused time.

mod schedule;
mod wire;

use cortex_metrics::{Counter, Registry};

/// Returns a registry with one counter.
fn registry() -> (Registry, Counter) {
    let (registry, jobs) = (Registry::default(), Counter::default());
    registry.register("jobs", "Jobs done.", jobs.clone()).unwrap();
    (registry, jobs)
}
