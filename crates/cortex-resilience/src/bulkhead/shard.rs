use crate::slot;
use crate::sync::{AtomicU64, Ordering};

/// Permits that one thread has at hand: it takes them and gives them back where no other thread writes.
///
/// While it is open, the thread changes it, and whoever [collects](Shards::close) all of them closes it. A closed one is empty.
#[repr(align(128))] // what processors fetch together
#[derive(Debug)]
struct Shard(AtomicU64);

const OPEN: u64 = 1 << 63;
const ROOM: u32 = 32;
const FREE: u64 = (1 << ROOM) - 1;

/// The most permits that a thread has at hand.
const MOST: u32 = 16;

impl Shard {
    #[inline]
    fn change(&self, order: Ordering, change: impl Fn(u64) -> Option<u64>) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        while let Some(next) = change(word) {
            match self.0.compare_exchange_weak(word, next, order, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(other) => word = other,
            }
        }
        false
    }
}

/// The permits that threads have at hand.
#[derive(Debug)]
pub(super) struct Shards(Box<[Shard]>);

impl Shards {
    pub(super) fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| Shard(AtomicU64::new(0))).collect())
    }

    /// Makes those of this machine, unless there are too few permits to split them.
    pub(super) fn of(limit: u64) -> Option<Self> {
        let threads = slot::threads();
        (room(limit, threads) > 0).then(|| Self::new(threads))
    }

    /// Takes a permit that this thread has at hand.
    #[inline]
    pub(super) fn take(&self, thread: usize) -> bool {
        let Some(shard) = self.0.get(thread) else {
            return false;
        };
        shard.change(Ordering::Acquire, |word| (word & FREE > 0).then(|| word - 1))
    }

    /// Keeps a permit at hand, if there is room.
    #[inline]
    pub(super) fn give(&self, thread: usize) -> bool {
        let Some(shard) = self.0.get(thread) else {
            return false;
        };
        shard.change(Ordering::Release, |word| {
            (word & FREE < (word & !OPEN) >> ROOM).then(|| word + 1)
        })
    }

    /// Returns how many permits this thread is to get at once, one of which it is about to use; zero if it gets none in advance.
    pub(super) fn batch(&self, thread: usize, limit: u64) -> u64 {
        if thread < self.0.len() {
            u64::from(room(limit, self.0.len()).div_ceil(2))
        } else {
            0
        }
    }

    /// Opens a shard and adds permits to it. The caller is the thread that it is of, and keeps others from closing it.
    pub(super) fn add(&self, thread: usize, limit: u64, permits: u64) {
        let Some(shard) = self.0.get(thread) else {
            return;
        };
        let free = (shard.0.load(Ordering::Relaxed) & FREE) + permits;
        let room = u64::from(room(limit, self.0.len()));
        shard.0.store(OPEN | room << ROOM | free, Ordering::Release);
    }

    /// Closes all, and returns how many permits were in them. One caller at a time.
    pub(super) fn close(&self) -> u64 {
        let close = |shard: &Shard| shard.0.swap(0, Ordering::AcqRel) & FREE;
        self.0.iter().map(close).sum()
    }

    /// Returns how many permits are at hand.
    pub(super) fn free(&self) -> u64 {
        let free = |shard: &Shard| shard.0.load(Ordering::Relaxed) & FREE;
        self.0.iter().map(free).sum()
    }
}

/// Returns how many permits a thread may have at hand: all together no more than half of them.
fn room(limit: u64, threads: usize) -> u32 {
    let each = limit / 2 / (threads.max(1) as u64);
    u32::try_from(each).unwrap_or(MOST).min(MOST)
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_shard_holds_what_it_has_room_for_while_it_is_open() {
        let shards = Shards::new(2);
        assert!(!shards.take(0) && !shards.give(0) && !shards.take(7) && !shards.give(7));
        assert_eq!(
            (shards.batch(0, 16), shards.batch(7, 16), shards.batch(0, 3)),
            (2, 0, 0)
        );
        shards.add(0, 16, 1);
        assert!(shards.take(0) && !shards.take(0) && !shards.take(1));
        assert_eq!((0..5).filter(|_| shards.give(0)).count(), 4);
        assert_eq!((shards.free(), shards.close(), shards.free()), (4, 4, 0));
        assert!(!shards.give(0));
    }

    #[test]
    fn no_more_than_half_of_the_permits_are_at_hand() {
        for (limit, threads) in [(1, 1), (7, 2), (100, 4), (100, 64), (1 << 31, 64), (5, 0)] {
            assert!(u64::from(room(limit, threads)) * threads as u64 <= limit / 2);
        }
    }
}
