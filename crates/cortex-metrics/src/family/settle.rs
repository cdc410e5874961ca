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
    use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
    use loom::sync::{Arc, RwLock};
    use loom::thread;

    use super::super::epoch::Epoch;
    use super::*;

    /// A family of one series.
    struct Family {
        epoch: Epoch,
        /// Whether it is found by a search.
        table: RwLock<bool>,
        /// The references to the series, and to the metric in it, counted as `Arc` does.
        series: AtomicUsize,
        metric: AtomicUsize,
        /// Where the thread counts: nobody else does.
        cell: AtomicU64,
        /// Whether the removal is over.
        is_removed: AtomicBool,
    }

    /// What a thread remembers.
    #[derive(Default)]
    struct Memory {
        epoch: u64,
        has_series: bool,
    }

    impl Family {
        fn new() -> Self {
            Self {
                epoch: Epoch::new(),
                table: RwLock::new(true),
                series: AtomicUsize::new(2), // the index has it, and the table
                metric: AtomicUsize::new(1),
                cell: AtomicU64::new(0),
                is_removed: AtomicBool::new(false),
            }
        }

        fn count(&self) {
            let count = self.cell.load(Ordering::Relaxed);
            self.cell.store(count + 1, Ordering::Relaxed);
        }

        fn forget(&self, memory: &mut Memory) {
            if std::mem::take(&mut memory.has_series) {
                self.series.fetch_sub(1, Ordering::Release);
            }
        }

        /// Uses the series as `Map::with` does, if it is found, and says whether it was.
        fn with(&self, memory: &mut Memory, f: impl Fn(&Self)) -> bool {
            let is_removed = self.is_removed.load(Ordering::Acquire);
            let memory = std::cell::RefCell::new(memory);
            let is_found = self.epoch.look_up(
                |epoch| {
                    let memory = memory.borrow();
                    let is_current = memory.has_series && memory.epoch == epoch;
                    if is_current { Ok(f(self)) } else { Err(()) }.map(|()| true)
                },
                |epoch, ()| {
                    let mut memory = memory.borrow_mut();
                    if memory.epoch < epoch {
                        self.forget(&mut memory);
                        memory.epoch = epoch;
                    }
                    let found = {
                        let table = self.table.read().expect("nothing panics under it");
                        if *table {
                            self.series.fetch_add(1, Ordering::Relaxed);
                        }
                        *table
                    };
                    if found {
                        f(self);
                        memory.has_series = true;
                    }
                    found
                },
            );
            assert!(!(is_found && is_removed), "it was gone before the use began");
            is_found
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
            family.epoch.remove(|| {
                *family.table.write().expect("nothing panics under it") = false;
                true
            });
            family.series.fetch_sub(1, Ordering::Release); // that of the table
            family.is_removed.store(true, Ordering::Release);
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
            let counted = other.join().expect("nothing panics there");
            if is_had {
                assert!(!settle(), "the thread has ended");
            }
            assert_eq!(total, counted);
        }
    }

    #[test]
    fn model_a_series_is_removed_while_it_is_used() {
        loom::model(|| {
            Family::new().remove_while(|family| {
                let mut memory = Memory::default();
                let uses = (0..2).filter(|_| family.with(&mut memory, Family::count));
                let counted = uses.count() as u64;
                family.forget(&mut memory);
                counted
            });
        });
    }

    #[test]
    fn model_a_series_is_removed_while_its_metric_is_cloned() {
        loom::model(|| {
            Family::new().remove_while(|family| {
                let mut memory = Memory::default();
                let has_clone = family.with(&mut memory, |family| {
                    family.metric.fetch_add(1, Ordering::Relaxed);
                });
                family.forget(&mut memory);
                if !has_clone {
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
