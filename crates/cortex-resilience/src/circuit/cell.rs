use super::tally::Tally;
use crate::sync::{AtomicU64, Ordering, fence};

/// The votes of one bucket of time, written by one thread at a time and read by any.
///
/// The tag, generation and epoch, is whole: nothing aliases when it grows. Generation 0 is none: the cell is being restarted.
#[derive(Debug)]
pub(super) struct Cell {
    generation: AtomicU64,
    epoch: AtomicU64,
    /// All votes and the failed ones, 32 bits each.
    votes: AtomicU64,
    /// The slow ones that succeeded and that failed, 32 bits each.
    slow: AtomicU64,
}

impl Cell {
    pub(super) fn new() -> Self {
        Self {
            generation: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            votes: AtomicU64::new(0),
            slow: AtomicU64::new(0),
        }
    }

    /// Prepares the cell for votes of a bucket; `false` if it has those of a later one, which stay.
    pub(super) fn enter(&self, generation: u64, epoch: u64) -> bool {
        let (has, at) = (
            self.generation.load(Ordering::Relaxed),
            self.epoch.load(Ordering::Relaxed),
        );
        if has == generation && at >= epoch {
            return at == epoch;
        }
        if has > generation {
            return false;
        }
        self.generation.store(0, Ordering::Relaxed);
        fence(Ordering::Release); // who reads anything below, reads the 0 or what comes after it
        self.votes.store(0, Ordering::Relaxed);
        self.slow.store(0, Ordering::Relaxed);
        self.epoch.store(epoch, Ordering::Release); // who reads it, reads no older votes
        self.generation.store(generation, Ordering::Release);
        true
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

    /// Returns the votes, if they are of the generation and of `from` or a later bucket.
    pub(super) fn read(&self, generation: u64, from: u64) -> Option<Tally> {
        loop {
            if self.generation.load(Ordering::Acquire) != generation {
                return None; // of another one, or being restarted: a vote that comes now is not there yet
            }
            let epoch = self.epoch.load(Ordering::Acquire);
            let votes = self.votes.load(Ordering::Relaxed);
            let slow = self.slow.load(Ordering::Relaxed);
            fence(Ordering::Acquire);
            let same = self.generation.load(Ordering::Acquire) == generation
                && self.epoch.load(Ordering::Relaxed) == epoch;
            if same {
                let low = |pair: u64| pair & u64::from(u32::MAX);
                return (epoch >= from).then_some(Tally {
                    total: votes >> 32,
                    failed: low(votes),
                    slow_ok: slow >> 32,
                    slow_failed: low(slow),
                });
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
    fn another_tag_restarts_and_a_newer_one_stays() {
        let cell = Cell::new();
        assert!(cell.enter(1, 5));
        cell.add(true, true);
        cell.add(false, true);
        cell.add(false, false);
        let votes = Tally {
            total: 3,
            failed: 1,
            slow_ok: 1,
            slow_failed: 1,
        };
        assert!(cell.enter(1, 5));
        assert_eq!(cell.read(1, 5), Some(votes));
        assert_eq!((cell.read(1, 6), cell.read(2, 0)), (None, None));
        assert!(!cell.enter(1, 4));
        assert_eq!(cell.read(1, 0), Some(votes));
        assert!(cell.enter(2, 1));
        assert_eq!(cell.read(2, 0), Some(Tally::default()));
        assert!(!cell.enter(1, 9));
    }

    #[test]
    fn counts_are_halved_before_they_overflow() {
        let cell = Cell::new();
        assert!(cell.enter(1, 0));
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
        assert_eq!(cell.read(1, 0), Some(votes));
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
            cell.enter(1, 0);
            cell.add(true, false);
            let writer = {
                let cell = Arc::clone(&cell);
                thread::spawn(move || {
                    cell.enter(1, 9);
                    cell.add(false, true);
                })
            };
            if let Some(tally) = cell.read(1, 0) {
                assert!(tally.failed == 0 || tally.slow_ok == 0, "{tally:?}");
            }
            assert!(cell.read(1, 1).is_none_or(|tally| tally.failed == 0));
            writer.join().unwrap();
            assert_eq!(
                cell.read(1, 0).map(|tally| (tally.total, tally.slow_ok)),
                Some((1, 1))
            );
        });
    }
}
