use crate::sync::{AtomicU64, Ordering, fence};

/// What is counted beside the window.
#[derive(Clone, Copy, Debug)]
pub(super) enum Count {
    Rejected = 0,
    Ignored = 1,
    Late = 2,
}

/// The counts of one cycle, written by one thread at a time and read by any.
#[derive(Debug)]
pub(super) struct Counters {
    /// The generation at which they were zero; 0 while they are being restarted.
    cycle: AtomicU64,
    counts: [AtomicU64; 3],
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            cycle: AtomicU64::new(0),
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Adds one. Only the thread that may write now calls it.
    #[inline]
    pub(super) fn add(&self, cycle: u64, count: Count) {
        if self.cycle.load(Ordering::Relaxed) != cycle && !self.restart(cycle) {
            return;
        }
        let count = &self.counts[count as usize];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    #[cold]
    fn restart(&self, cycle: u64) -> bool {
        if self.cycle.load(Ordering::Relaxed) > cycle {
            return false; // of a cycle that is over
        }
        self.cycle.store(0, Ordering::Relaxed);
        fence(Ordering::Release); // who reads a zero below, reads the 0 or what comes after it
        for count in &self.counts {
            count.store(0, Ordering::Relaxed);
        }
        self.cycle.store(cycle, Ordering::Release);
        true
    }

    /// Returns the counts of a cycle in the order of [`Count`]; zeros if they are of another one.
    pub(super) fn read(&self, cycle: u64) -> [u64; 3] {
        if self.cycle.load(Ordering::Acquire) != cycle {
            return [0; 3];
        }
        let counts = std::array::from_fn(|index| self.counts[index].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        if self.cycle.load(Ordering::Relaxed) == cycle {
            counts
        } else {
            [0; 3] // a cycle is never started again
        }
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_new_cycle_starts_from_zero_and_an_old_one_counts_nothing() {
        let counters = Counters::new();
        counters.add(1, Count::Ignored);
        counters.add(1, Count::Late);
        counters.add(1, Count::Late);
        assert_eq!(counters.read(1), [0, 1, 2]);
        counters.add(4, Count::Rejected);
        counters.add(1, Count::Ignored);
        assert_eq!((counters.read(1), counters.read(4)), ([0; 3], [1, 0, 0]));
    }
}
