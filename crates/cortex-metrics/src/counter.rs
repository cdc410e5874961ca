use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only grows: requests served, bytes sent, errors.
///
/// Clones share the count. It is exposed with the suffix `_total`, and wraps around at 2^64.
///
/// # Examples
///
/// ```
/// use cortex_metrics::Counter;
///
/// let sent = Counter::default();
/// sent.inc();
/// sent.clone().add(41);
/// assert_eq!(sent.get(), 42);
/// ```
#[derive(Clone, Default)]
pub struct Counter {
    value: Arc<AtomicU64>,
}

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.value.fetch_add(n, Ordering::Relaxed);
    }

    /// Returns the count so far.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counter").field(&self.get()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_and_debug_shows_the_count() {
        let counter = Counter::default();
        counter.clone().add(3);
        counter.inc();
        assert_eq!(counter.get(), 4);
        assert_eq!(format!("{counter:?}"), "Counter(4)");
    }

    #[test]
    fn threads_lose_no_count() {
        let counter = Counter::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..10_000).for_each(|_| counter.inc()));
            }
        });
        assert_eq!(counter.get(), 80_000);
    }
}
