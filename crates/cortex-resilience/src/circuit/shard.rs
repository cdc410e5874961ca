use super::cell::Cell;
use super::counters::{Count, Counters};
use super::slot::{self, SLOTS};
use super::tally::Tally;
use crate::sync::{AtomicU64, Mutex, Ordering, fence, lock};
use std::sync::OnceLock;

/// How many buckets a window of time has at most.
pub(super) const BUCKETS: usize = if cfg!(cortex_loom) { 4 } else { 60 };

/// What one thread writes: its counters, and its votes by time.
#[derive(Debug)]
struct Shard {
    /// The bucket of the last vote: its generation, its start and its cell. Generation 0 is none: the votes are being zeroed.
    generation: AtomicU64,
    start: AtomicU64,
    cell: AtomicU64,
    /// The votes for the dependency in this generation.
    ok: AtomicU64,
    cells: OnceLock<Box<Cells>>,
    counters: Counters,
}

/// A shard whose cache lines nobody else writes to.
#[repr(align(128))]
#[derive(Debug)]
struct Own(Shard);

/// Two cache lines are what processors fetch together.
#[repr(align(128))]
#[derive(Debug)]
struct Cells([Cell; BUCKETS]);

/// How a window of time is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Nanoseconds.
    pub(super) width: u64,
    pub(super) buckets: u64,
}

/// What a vote says; two words that stay in registers on their way into a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vote {
    pub(super) failed: bool,
    pub(super) slow: bool,
}

impl Shard {
    fn new() -> Self {
        Self {
            generation: AtomicU64::new(0),
            start: AtomicU64::new(0),
            cell: AtomicU64::new(0),
            ok: AtomicU64::new(0),
            cells: OnceLock::new(),
            counters: Counters::new(),
        }
    }

    #[inline]
    fn vote(&self, cut: Cut, generation: u64, now: u64, vote: Vote) {
        let start = self.start.load(Ordering::Relaxed);
        let same =
            self.generation.load(Ordering::Relaxed) == generation && now.wrapping_sub(start) < cut.width; // before the start it is more than a width, too
        if !same && !self.enter(cut, generation, now) {
            return;
        }
        let index = usize::try_from(self.cell.load(Ordering::Relaxed)).unwrap_or(0);
        if let Some(cell) = self.cells.get().and_then(|cells| cells.0.get(index)) {
            cell.add(vote.failed, vote.slow);
        }
        if !vote.failed {
            self.ok
                .store(self.ok.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    /// Finds the cell of another bucket; `false` if the vote is of a generation that is over.
    #[cold]
    fn enter(&self, cut: Cut, generation: u64, now: u64) -> bool {
        let before = self.generation.load(Ordering::Relaxed);
        if before > generation {
            return false;
        }
        let cells = self
            .cells
            .get_or_init(|| Box::new(Cells(std::array::from_fn(|_| Cell::new()))));
        let epoch = now / cut.width;
        let index = usize::try_from(epoch % cut.buckets).unwrap_or(0);
        if !cells.0[index].enter(generation, epoch) {
            // The clock went back by more than the window: no time has passed since the last vote.
            return before == generation;
        }
        if before != generation {
            self.generation.store(0, Ordering::Relaxed);
            fence(Ordering::Release); // who reads the zero below, reads the 0 or what comes after it
            self.ok.store(0, Ordering::Relaxed);
            self.generation.store(generation, Ordering::Release);
        }
        self.start.store(epoch * cut.width, Ordering::Relaxed);
        self.cell.store(index as u64, Ordering::Relaxed);
        true
    }

    /// Returns how many votes for the dependency there were in a generation.
    fn ok(&self, generation: u64) -> u64 {
        if self.generation.load(Ordering::Acquire) != generation {
            return 0;
        }
        let ok = self.ok.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        if self.generation.load(Ordering::Relaxed) == generation {
            ok
        } else {
            0 // a generation never comes again
        }
    }

    fn tally(&self, generation: u64, from: u64) -> Tally {
        let mut tally = Tally::default();
        let cells = self.cells.get().into_iter().flat_map(|cells| &cells.0);
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
    pub(super) fn count(&self, cycle: u64, count: Count) {
        match self.own.get(slot::own()) {
            Some(shard) => shard.0.counters.add(cycle, count),
            None => self.count_elsewhere(cycle, count),
        }
    }

    #[cold]
    fn count_elsewhere(&self, cycle: u64, count: Count) {
        self.with_first_or_shared(|shard| shard.counters.add(cycle, count));
    }

    #[inline]
    pub(super) fn vote(&self, cut: Cut, generation: u64, now: u64, vote: Vote) {
        match self.own.get(slot::own()) {
            Some(shard) => shard.0.vote(cut, generation, now, vote),
            None => self.vote_elsewhere(cut, generation, now, vote),
        }
    }

    #[cold]
    fn vote_elsewhere(&self, cut: Cut, generation: u64, now: u64, vote: Vote) {
        self.with_first_or_shared(|shard| shard.vote(cut, generation, now, vote));
    }

    /// Writes to the shard of a thread that writes for the first time, or to the shared one.
    fn with_first_or_shared(&self, write: impl FnOnce(&Shard)) {
        if let Some(shard) = self.own.get(slot::lease()) {
            return write(&shard.0);
        }
        let _gate = lock(&self.gate);
        write(&self.shared);
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

    /// Counts the votes for the dependency in a generation whose window is one of time.
    pub(super) fn ok(&self, generation: u64) -> u64 {
        self.all().map(|shard| shard.ok(generation)).sum()
    }

    /// Returns the counts of a cycle in the order of [`Count`].
    pub(super) fn counts(&self, cycle: u64) -> [u64; 3] {
        let mut sums = [0; 3];
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
        let vote = Vote {
            failed: false,
            slow: false,
        };
        shards.vote(CUT, 1, now, vote);
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
        assert_eq!((shards.ok(1), shards.counts(1)), (4000, [4000, 0, 0]));
    }
}
