use super::tally::Tally;
use crate::sync::{AtomicU64, Ordering, fence};

/// The votes of one bucket of time, written by one thread at a time and read by any.
///
/// The tag, generation and start of the bucket, is whole: nothing aliases when it grows. Generation 0 is none: the cell is being
/// set.
#[derive(Debug)]
pub(super) struct Cell {
    generation: AtomicU64,
    start: AtomicU64,
    /// All votes and the failed ones, 32 bits each.
    votes: AtomicU64,
    /// The slow ones that succeeded and that failed, 32 bits each.
    slow: AtomicU64,
}

impl Cell {
    pub(super) fn new() -> Self {
        Self {
            generation: AtomicU64::new(0),
            start: AtomicU64::new(0),
            votes: AtomicU64::new(0),
            slow: AtomicU64::new(0),
        }
    }

    /// Returns the tag. Only the thread that may write now calls it.
    #[inline]
    pub(super) fn tag(&self) -> (u64, u64) {
        let generation = self.generation.load(Ordering::Relaxed);
        (generation, self.start.load(Ordering::Relaxed))
    }

    /// Begins another bucket. Only the thread that may write now calls it.
    pub(super) fn begin(&self, generation: u64, start: u64) {
        self.set((generation, start), (0, 0));
    }

    /// Takes over what another cell holds. Only the thread that may write to both now calls it.
    pub(super) fn copy(&self, other: &Self) {
        let votes = other.votes.load(Ordering::Relaxed);
        self.set(other.tag(), (votes, other.slow.load(Ordering::Relaxed)));
    }

    fn set(&self, (generation, start): (u64, u64), (votes, slow): (u64, u64)) {
        self.generation.store(0, Ordering::Release); // who reads it, reads to where the votes were copied
        fence(Ordering::Release); // who reads anything below, reads the 0 or what comes after it
        self.votes.store(votes, Ordering::Relaxed);
        self.slow.store(slow, Ordering::Relaxed);
        self.start.store(start, Ordering::Release); // who reads it, reads no older votes
        self.generation.store(generation, Ordering::Release);
    }

    /// Adds a vote. Only the thread that may write now calls it.
    #[inline]
    pub(super) fn add(&self, failed: bool, slow: bool) {
        let votes = self.votes.load(Ordering::Relaxed);
        if votes >> 32 == u64::from(u32::MAX) {
            self.halve();
            return;
        }
        self.votes
            .store(votes + (1 << 32) + u64::from(failed), Ordering::Relaxed);
        if slow {
            let one = if failed { 1 } else { 1 << 32 };
            let before = self.slow.load(Ordering::Relaxed);
            self.slow.store(before + one, Ordering::Relaxed);
        }
    }

    /// Keeps the rates where a count would overflow; one vote of four thousand millions is lost.
    #[cold]
    fn halve(&self) {
        for pair in [&self.votes, &self.slow] {
            let half = pair.load(Ordering::Relaxed) >> 1 & 0x7fff_ffff_7fff_ffff;
            pair.store(half, Ordering::Relaxed);
        }
    }

    /// Returns the start of the bucket and the votes, if they are of the generation.
    pub(super) fn read(&self, generation: u64) -> Option<(u64, Tally)> {
        loop {
            if self.generation.load(Ordering::Acquire) != generation {
                return None; // of another one, or being set: a vote that comes now is not there yet
            }
            let start = self.start.load(Ordering::Acquire);
            let votes = self.votes.load(Ordering::Relaxed);
            let slow = self.slow.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            let same = self.generation.load(Ordering::Acquire) == generation
                && self.start.load(Ordering::Relaxed) == start;
            if same {
                let low = |pair: u64| pair & u64::from(u32::MAX);
                let tally = Tally {
                    total: votes >> 32,
                    failed: low(votes),
                    slow_ok: slow >> 32,
                    slow_failed: low(slow),
                };
                return Some((start, tally));
            }
            #[cfg(cortex_loom)]
            loom::thread::yield_now();
        }
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;

    #[test]
    fn another_bucket_begins_from_zero_and_a_copy_is_the_same() {
        let (cell, other) = (Cell::new(), Cell::new());
        cell.begin(1, 5);
        cell.add(true, true);
        cell.add(false, true);
        cell.add(false, false);
        let votes = Tally {
            total: 3,
            failed: 1,
            slow_ok: 1,
            slow_failed: 1,
        };
        other.copy(&cell);
        assert_eq!((cell.read(1), cell.read(2)), (Some((5, votes)), None));
        cell.begin(2, 1);
        assert_eq!((cell.read(1), cell.read(2)), (None, Some((1, Tally::default()))));
        assert_eq!((other.read(1), other.tag()), (Some((5, votes)), (1, 5)));
    }

    #[test]
    fn counts_are_halved_before_they_overflow() {
        let cell = Cell::new();
        cell.begin(1, 0);
        cell.votes
            .store(u64::from(u32::MAX) << 32 | 0x8000_0000, Ordering::Relaxed);
        cell.slow.store(0x4000_0000 << 32 | 7, Ordering::Relaxed);
        cell.add(true, true);
        let votes = Tally {
            total: 0x7fff_ffff,
            failed: 0x4000_0000,
            slow_ok: 0x2000_0000,
            slow_failed: 3,
        };
        assert_eq!(cell.read(1), Some((0, votes)));
    }
}

/// `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-resilience --lib --release model`
#[cfg(all(test, cortex_loom))]
mod model {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn model_a_reader_never_mixes_two_buckets() {
        loom::model(|| {
            let cell = Arc::new(Cell::new());
            cell.begin(1, 0);
            cell.add(true, false);
            let writer = {
                let cell = Arc::clone(&cell);
                thread::spawn(move || {
                    cell.begin(1, 9);
                    cell.add(false, true);
                })
            };
            if let Some((start, tally)) = cell.read(1) {
                let mixed = if start == 0 { tally.slow_ok } else { tally.failed };
                assert_eq!(mixed, 0, "{tally:?}");
            }
            writer.join().unwrap();
            let (start, tally) = cell.read(1).expect("nobody sets it now");
            assert_eq!((start, tally.total, tally.slow_ok), (9, 1, 1));
        });
    }
}
