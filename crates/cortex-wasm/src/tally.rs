use std::sync::atomic::{AtomicU64, Ordering};

/// What has happened to the guests of a host. All of it is rare beside calls.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) instantiated: Count,
    pub(crate) restored: Count,
    pub(crate) replaced: Count,
    pub(crate) traps: Count,
    pub(crate) timeouts: Count,
    pub(crate) cancelled: Count,
    pub(crate) panics: Count,
}

/// A number that any thread may add to.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    #[expect(dead_code, reason = "used by the statistics")]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
