use super::cell::Cell;
use super::compact::Compact;
use super::counters::{Count, Counters};
use super::tally::Tally;
use crate::slot::{self, SLOTS};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, fence, lock};
use std::sync::OnceLock;

/// How many buckets a window of time has at most.
pub(super) const BUCKETS: usize = if cfg!(cortex_loom) { 4 } else { 60 };

/// What one thread writes: its counters, and its votes by time.
#[derive(Debug)]
struct Shard {
    /// The bucket of the last vote.
    current: Cell,
    /// The votes for the dependency in a generation.
    ok: AtomicU64,
    /// Which; 0 is none: they are being zeroed.
    ok_of: AtomicU64,
    /// The buckets before, each in its place: as many as the window had with the first vote.
    past: OnceLock<Past>,
    /// The same, for as many as there may be: a reload has cut the window finer.
    finer: OnceLock<Past>,
    counters: Counters,
}

/// A shard whose cache lines nobody else writes to.
#[repr(align(128))]
#[derive(Debug)]
struct Own(Shard);

/// Cells for buckets, on cache lines of their own.
#[derive(Debug)]
struct Past(Box<[Cells]>);

/// How many cells have room on two cache lines, which is what processors fetch together.
const CELLS: usize = 4;

#[repr(align(128))]
#[derive(Debug)]
struct Cells([Cell; CELLS]);

impl Past {
    fn new(buckets: usize) -> Self {
        let cells = || Cells(std::array::from_fn(|_| Cell::new()));
        let lines = buckets.div_ceil(CELLS);
        Self(std::iter::repeat_with(cells).take(lines).collect())
    }

    fn get(&self, place: usize) -> Option<&Cell> {
        self.0.get(place / CELLS)?.0.get(place % CELLS)
    }

    fn all(&self) -> impl Iterator<Item = &Cell> {
        self.0.iter().flat_map(|cells| &cells.0)
    }
}

/// How a window of time is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// Where the first bucket starts.
    pub(super) origin: u64,
    /// Nanoseconds.
    pub(super) width: u64,
    pub(super) buckets: u64,
}

impl Cut {
    /// Returns where the bucket starts that a time is in.
    pub(super) const fn start(self, now: u64) -> u64 {
        now.saturating_sub(self.since_origin(now) % self.width)
    }

    /// Returns how many buckets there are, of at most as many as there may be.
    pub(super) fn len(self) -> usize {
        usize::try_from(self.buckets).unwrap_or(BUCKETS).clamp(1, BUCKETS)
    }

    /// Returns the place of the bucket that starts then.
    pub(super) fn place(self, start: u64) -> usize {
        usize::try_from(self.since_origin(start) / self.width % self.buckets).unwrap_or(0)
    }

    const fn since_origin(self, at: u64) -> u64 {
        at.saturating_sub(self.origin)
    }
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
            current: Cell::new(),
            ok: AtomicU64::new(0),
            ok_of: AtomicU64::new(0),
            past: OnceLock::new(),
            finer: OnceLock::new(),
            counters: Counters::new(),
        }
    }

    /// Says whether the bucket of the last vote is the one of a vote at this time.
    #[inline]
    fn is_current(&self, width: u64, generation: u64, now: u64) -> bool {
        let (of, start) = self.current.tag();
        of == generation && now.wrapping_sub(start) < width // before the start it is more than a width, too
    }

    #[inline]
    fn add(&self, vote: Vote) {
        self.current.add(vote.failed, vote.slow);
        if !vote.failed {
            self.ok
                .store(self.ok.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }

    fn vote(&self, cut: Cut, generation: u64, now: u64, vote: Vote) {
        if self.is_current(cut.width, generation, now) || self.enter(cut, generation, now) {
            self.add(vote);
        }
    }

    /// Begins another bucket; `false` if the vote is of a generation that is over.
    fn enter(&self, cut: Cut, generation: u64, now: u64) -> bool {
        let (before, last) = self.current.tag();
        let start = cut.start(now);
        if before > generation {
            return false;
        }
        // With the first vote of a thread, so that it is not a later one that waits for it.
        let past = self.past.get_or_init(|| Past::new(cut.len()));
        if before == generation {
            if start <= last {
                return true; // the clock went back: no time has passed since the last vote
            }
            let place = cut.place(last);
            let cell = past
                .get(place)
                .or_else(|| self.finer.get_or_init(|| Past::new(BUCKETS)).get(place));
            if let Some(cell) = cell {
                cell.copy(&self.current);
            }
        } else {
            self.ok_of.store(0, Ordering::Relaxed);
            fence(Ordering::Release); // who reads the zero below, reads the 0 or what comes after it
            self.ok.store(0, Ordering::Relaxed);
            self.ok_of.store(generation, Ordering::Release);
        }
        self.current.begin(generation, start);
        true
    }

    /// Returns how many votes for the dependency there were in a generation.
    fn ok(&self, generation: u64) -> u64 {
        if self.ok_of.load(Ordering::Acquire) != generation {
            return 0;
        }
        let ok = self.ok.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        if self.ok_of.load(Ordering::Relaxed) == generation {
            ok
        } else {
            0 // a generation never comes again
        }
    }

    /// Counts the votes of the buckets that start then or later.
    fn tally(&self, generation: u64, from: u64) -> Tally {
        let mut tally = Tally::default();
        let mut before = u64::MAX;
        // First the current bucket: it may become a past one now, and is not to be counted twice. While it is being begun, what it
        // was before is a past one.
        if let Some((start, votes)) = self.current.read(generation) {
            before = start;
            if start >= from {
                tally = votes;
            }
        }
        let past = self.past.get().into_iter().chain(self.finer.get());
        let past = past.flat_map(Past::all);
        for (start, votes) in past.filter_map(|cell| cell.read(generation)) {
            if start >= from && start < before {
                tally.merge(votes);
            }
        }
        tally
    }
}

/// The shards of a breaker: one each for the first threads, and a window in little memory that the others share.
#[derive(Debug)]
pub(super) struct Shards {
    own: Box<[Own]>,
    /// Whether the others wrote anything, so that nobody takes the lock for nothing.
    is_shared: AtomicU64,
    shared: Mutex<Compact>,
    /// Written under the lock.
    counters: Counters,
}

impl Shards {
    pub(super) fn new(own: usize) -> Self {
        Self {
            own: (0..own.min(SLOTS)).map(|_| Own(Shard::new())).collect(),
            is_shared: AtomicU64::new(0),
            shared: Mutex::new(Compact::new()),
            counters: Counters::new(),
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
        if let Some(shard) = self.own.get(slot::lease()) {
            return shard.0.counters.add(cycle, count);
        }
        let _shared = lock(&self.shared);
        self.counters.add(cycle, count);
    }

    /// Takes a vote in the bucket of the last one of this thread; `false` if it is in another one.
    #[inline]
    pub(super) fn vote_again(&self, width: u64, generation: u64, now: u64, vote: Vote) -> bool {
        match self.own.get(slot::own()) {
            Some(shard) if shard.0.is_current(width, generation, now) => {
                shard.0.add(vote);
                true
            }
            _ => false,
        }
    }

    /// Takes a vote.
    pub(super) fn vote(&self, cut: Cut, generation: u64, now: u64, vote: Vote) {
        if let Some(shard) = self.own.get(slot::lease()) {
            return shard.0.vote(cut, generation, now, vote);
        }
        let mut shared = lock(&self.shared);
        shared.vote(cut, generation, now, vote);
        self.is_shared.store(1, Ordering::Release);
    }

    /// Returns what threads without a shard wrote, if they did.
    fn shared(&self) -> Option<MutexGuard<'_, Compact>> {
        (self.is_shared.load(Ordering::Acquire) != 0).then(|| lock(&self.shared))
    }

    /// Counts the votes that are in the window now.
    pub(super) fn tally(&self, cut: Cut, generation: u64, now: u64) -> Tally {
        let from = cut.start(now).saturating_sub(cut.width * (cut.buckets - 1));
        let mut tally = Tally::default();
        for shard in &self.own {
            tally.merge(shard.0.tally(generation, from));
        }
        if let Some(shared) = self.shared() {
            tally.merge(shared.tally(cut, generation, from));
        }
        tally
    }

    /// Counts the votes for the dependency in a generation whose window is one of time.
    pub(super) fn ok(&self, generation: u64) -> u64 {
        let own = self.own.iter().map(|shard| shard.0.ok(generation)).sum::<u64>();
        own + self.shared().map_or(0, |shared| shared.ok(generation))
    }

    /// Returns the counts of a cycle in the order of [`Count`].
    pub(super) fn counts(&self, cycle: u64) -> [u64; 3] {
        let mut sums = [0; 3];
        let own = self.own.iter().map(|shard| &shard.0.counters);
        for counters in own.chain([&self.counters]) {
            for (sum, count) in sums.iter_mut().zip(counters.read(cycle)) {
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
        origin: 0,
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
    fn a_window_that_is_cut_finer_finds_room() {
        let shards = Shards::new(1);
        vote(&shards, 5);
        let fine = Cut {
            buckets: BUCKETS as u64,
            ..CUT
        };
        let last = BUCKETS as u64 - 1;
        for bucket in 0..=last {
            let vote = Vote {
                failed: false,
                slow: false,
            };
            shards.vote(fine, 2, bucket * 10, vote);
        }
        assert_eq!(shards.tally(fine, 2, last * 10).total, last + 1);
        assert_eq!(shards.tally(fine, 2, last * 10 + 300).total, last - 29);
        vote(&shards, 700); // of a generation that is over
        assert_eq!(shards.tally(CUT, 1, 700).total, 0);
    }

    #[test]
    fn a_clock_that_goes_back_loses_no_vote() {
        let shards = Shards::new(64);
        vote(&shards, 95);
        vote(&shards, 85); // a bucket before
        vote(&shards, 5); // more than a window before: no time has passed
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

/// `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-resilience --lib --release model`
#[cfg(all(test, cortex_loom))]
mod model {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    const CUT: Cut = Cut {
        origin: 0,
        width: 10,
        buckets: 3,
    };

    #[test]
    fn model_a_bucket_that_is_over_is_counted_once() {
        loom::model(|| {
            let shard = Arc::new(Shard::new());
            let vote = |shard: &Shard, now| {
                let vote = Vote {
                    failed: false,
                    slow: true,
                };
                shard.vote(CUT, 1, now, vote);
            };
            vote(&shard, 5);
            vote(&shard, 11);
            let writer = {
                let shard = Arc::clone(&shard);
                thread::spawn(move || vote(&shard, 25))
            };
            let (tally, ok) = (shard.tally(1, 0), shard.ok(1));
            assert!((2..=3).contains(&tally.total) && tally.slow_ok <= 3, "{tally:?}");
            assert!((2..=3).contains(&ok), "{ok}");
            writer.join().unwrap();
            assert_eq!(
                (shard.tally(1, 0).slow_ok, shard.tally(1, 20).total, shard.ok(1)),
                (3, 1, 3)
            );
        });
    }
}
