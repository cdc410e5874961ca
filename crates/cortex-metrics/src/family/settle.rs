use std::sync::atomic::Ordering;

#[cfg(cortex_loom)]
use loom::sync::atomic::fence;
#[cfg(not(cortex_loom))]
use std::sync::atomic::fence;

/// Says whether somebody may still write to a removed series. What it shows is looked at after that, not before.
///
/// The order matters: once nobody else has the series, nor a clone of its metric, it does not change any more; who
/// looked at it before might miss the last write. And who cloned the metric had the series then, so the clone is seen
/// by who sees the series let go.
#[inline]
pub(super) fn is_had(is_known: impl FnOnce() -> bool, is_cloned: impl FnOnce() -> bool) -> bool {
    let is_known = is_known();
    // Both fences meet the release with which a reference is dropped.
    fence(Ordering::Acquire);
    let is_had = is_known || is_cloned();
    fence(Ordering::Acquire);
    is_had
}

/// `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-metrics --lib --release model`
#[cfg(all(cortex_loom, test))]
mod model {
    use loom::sync::Arc;
    use loom::sync::atomic::{AtomicU64, AtomicUsize};
    use loom::thread;

    use super::*;

    /// A family of one series, which a thread remembers.
    struct Family {
        epoch: AtomicU64,
        /// The references to the series, and to the metric in it, counted as `Arc` does.
        series: AtomicUsize,
        metric: AtomicUsize,
        /// Where the thread counts: nobody else does.
        cell: AtomicU64,
    }

    impl Family {
        fn new() -> Self {
            Self {
                epoch: AtomicU64::new(0),
                series: AtomicUsize::new(2),
                metric: AtomicUsize::new(1),
                cell: AtomicU64::new(0),
            }
        }

        fn is_current(&self) -> bool {
            self.epoch.load(Ordering::Acquire) == 0
        }

        fn count(&self) {
            let count = self.cell.load(Ordering::Relaxed);
            self.cell.store(count + 1, Ordering::Relaxed);
        }

        fn forget(&self) {
            self.series.fetch_sub(1, Ordering::Release);
        }

        /// Removes the series while the thread does something, and adds up what was seen of it before, and since.
        fn remove_while(self, uses: fn(&Self) -> u64) {
            let family = Arc::new(self);
            let other = {
                let family = Arc::clone(&family);
                thread::spawn(move || uses(&family))
            };
            let mut seen = family.cell.load(Ordering::Relaxed);
            let mut total = seen;
            family.epoch.fetch_add(1, Ordering::Release);
            let mut settle = || {
                let is_had = is_had(
                    || family.series.load(Ordering::Relaxed) > 1,
                    || family.metric.load(Ordering::Relaxed) > 1,
                );
                let now = family.cell.load(Ordering::Relaxed);
                total += now - seen;
                seen = now;
                is_had
            };
            let is_had = settle() && settle();
            let counted = other.join().unwrap();
            if is_had {
                assert!(!settle(), "the thread has ended");
            }
            assert_eq!(total, counted);
        }
    }

    #[test]
    fn model_a_remembered_series_is_removed() {
        loom::model(|| {
            Family::new().remove_while(|family| {
                let mut counted = 0;
                for _ in 0..2 {
                    if family.is_current() {
                        family.count();
                        counted += 1;
                    }
                }
                family.forget();
                counted
            });
        });
    }

    #[test]
    fn model_a_remembered_series_is_removed_while_its_metric_is_cloned() {
        loom::model(|| {
            Family::new().remove_while(|family| {
                let is_current = family.is_current();
                if is_current {
                    family.metric.fetch_add(1, Ordering::Relaxed);
                }
                family.forget();
                if !is_current {
                    return 0;
                }
                family.count();
                family.count();
                family.metric.fetch_sub(1, Ordering::Release);
                2
            });
        });
    }
}
