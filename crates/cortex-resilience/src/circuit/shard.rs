use super::cell::Cell;
use super::counters::{Count, Counters};
use super::slot::{self, SLOTS};
use super::tally::Tally;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use std::sync::OnceLock;

/// How many buckets a window of time has at most.
pub(super) const BUCKETS: usize = if cfg!(cortex_loom) { 4 } else { 60 };

/// What one thread writes: its counters, and its votes by time.
#[derive(Debug)]
struct Shard {
    counters: Counters,
    /// The bucket of the last vote: its generation, its start and its cell.
    generation: AtomicU64,
    start: AtomicU64,
    cell: AtomicU64,
    cells: OnceLock<Box<[Line]>>,
}

/// A shard whose cache lines nobody else writes to.
#[repr(align(128))]
#[derive(Debug)]
struct Own(Shard);

/// Two cache lines, which processors fetch together.
#[repr(align(128))]
#[derive(Debug)]
struct Line([Cell; 4]);

/// How a window of time is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Nanoseconds.
    pub(super) width: u64,
    pub(super) buckets: u64,
}

/// A vote and the time that it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vote {
    pub(super) generation: u64,
    pub(super) now: u64,
    pub(super) failed: bool,
    pub(super) slow: bool,
}

impl Shard {
    fn new() -> Self {
        Self {
            counters: Counters::new(),
            generation: AtomicU64::new(0),
            start: AtomicU64::new(0),
            cell: AtomicU64::new(0),
            cells: OnceLock::new(),
        }
    }

    #[inline]
    fn vote(&self, cut: Cut, vote: Vote) {
        let start = self.start.load(Ordering::Relaxed);
        let same = self.generation.load(Ordering::Relaxed) == vote.generation
            && vote.now >= start
            && vote.now - start < cut.width;
        if !same && !self.enter(cut, vote) {
            return;
        }
        let index = usize::try_from(self.cell.load(Ordering::Relaxed)).unwrap_or(0);
        if let Some(line) = self.cells.get().and_then(|cells| cells.get(index / 4)) {
            line.0[index % 4].add(vote.failed, vote.slow);
        }
        if !vote.failed {
            self.counters.add(vote.generation, Count::Ok);
        }
    }

    /// Finds the cell of another bucket; `false` if the vote is of a generation that is over.
    #[cold]
    fn enter(&self, cut: Cut, vote: Vote) -> bool {
        if self.generation.load(Ordering::Relaxed) > vote.generation {
            return false;
        }
        let cells = self.cells.get_or_init(|| {
            (0..BUCKETS.div_ceil(4))
                .map(|_| Line(std::array::from_fn(|_| Cell::new())))
                .collect()
        });
        let epoch = vote.now / cut.width;
        let index = usize::try_from(epoch % cut.buckets).unwrap_or(0);
        if !cells[index / 4].0[index % 4].enter(vote.generation, epoch) {
            // The clock went back by more than the window: no time has passed since the last vote.
            return self.generation.load(Ordering::Relaxed) == vote.generation;
        }
        self.generation.store(vote.generation, Ordering::Relaxed);
        self.start.store(epoch * cut.width, Ordering::Relaxed);
        self.cell.store(index as u64, Ordering::Relaxed);
        true
    }

    fn tally(&self, generation: u64, from: u64) -> Tally {
        let mut tally = Tally::default();
        let cells = self.cells.get().into_iter().flatten().flat_map(|line| &line.0);
        for votes in cells.filter_map(|cell| cell.read(generation, from)) {
            tally.merge(votes);
        }
        tally
    }
}

/// The shards of a breaker: one each for the first threads, and one that the others share.
#[derive(Debug)]
pub(super) struct Shards {
    own: Box<[Own]>,
    shared: Shard,
    gate: Mutex<()>,
}

impl Shards {
    pub(super) fn new(own: usize) -> Self {
        Self {
            own: (0..own.min(SLOTS)).map(|_| Own(Shard::new())).collect(),
            shared: Shard::new(),
            gate: Mutex::new(()),
        }
    }

    #[inline]
    fn with(&self, write: impl FnOnce(&Shard)) {
        if let Some(shard) = slot::own().and_then(|slot| self.own.get(slot)) {
            return write(&shard.0);
        }
        let _gate = lock(&self.gate);
        write(&self.shared);
    }

    #[inline]
    pub(super) fn count(&self, cycle: u64, count: Count) {
        self.with(|shard| shard.counters.add(cycle, count));
    }

    #[inline]
    pub(super) fn vote(&self, cut: Cut, vote: Vote) {
        self.with(|shard| shard.vote(cut, vote));
    }

    fn all(&self) -> impl Iterator<Item = &Shard> {
        self.own.iter().map(|own| &own.0).chain([&self.shared])
    }

    /// Counts the votes that are in the window now.
    pub(super) fn tally(&self, cut: Cut, generation: u64, now: u64) -> Tally {
        let from = (now / cut.width).saturating_sub(cut.buckets - 1);
        let mut tally = Tally::default();
        for shard in self.all() {
            tally.merge(shard.tally(generation, from));
        }
        tally
    }

    /// Returns the counts of a cycle in the order of [`Count`].
    pub(super) fn counts(&self, cycle: u64) -> [u64; 4] {
        let mut sums = [0; 4];
        for shard in self.all() {
            for (sum, count) in sums.iter_mut().zip(shard.counters.read(cycle)) {
                *sum += count;
            }
        }
        sums
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;

    const CUT: Cut = Cut {
        width: 10,
        buckets: 3,
    };

    fn vote(shards: &Shards, now: u64) {
        shards.vote(
            CUT,
            Vote {
                generation: 1,
                now,
                failed: false,
                slow: false,
            },
        );
    }

    #[test]
    fn a_vote_leaves_with_its_bucket() {
        for own in [0, 64] {
            let shards = Shards::new(own);
            let total = |now| shards.tally(CUT, 1, now).total;
            vote(&shards, 9);
            assert_eq!((total(9), total(29), total(30)), (1, 1, 0));
            vote(&shards, 30); // the same cell, restarted
            assert_eq!((total(30), total(59), total(60)), (1, 1, 0));
        }
    }

    #[test]
    fn a_clock_that_goes_back_loses_no_vote() {
        let shards = Shards::new(64);
        vote(&shards, 95);
        vote(&shards, 85); // a bucket before
        vote(&shards, 5); // the cell of the newer one: no time has passed
        vote(&shards, 95);
        assert_eq!(shards.tally(CUT, 1, 95).total, 4);
    }

    #[test]
    fn threads_beyond_the_shards_share_one() {
        let shards = Shards::new(1);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        vote(&shards, 5);
                        shards.count(1, Count::Rejected);
                    }
                });
            }
        });
        assert_eq!(shards.tally(CUT, 1, 5).total, 4000);
        assert_eq!(shards.counts(1), [4000, 4000, 0, 0]);
    }
}
