use super::sync::{AtomicU8, AtomicU64, Mutex, Ordering, lock};
use std::array;
use std::sync::Arc;

/// A block was dropped.
pub(super) const FREED: u8 = 1;
/// An owner of blocks was closed.
pub(super) const CLOSED: u8 = 2;

/// What other threads tell the one that owns an instance.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    raised: AtomicU8,
    /// Where the instance has the owners that were closed.
    closed: Mutex<Vec<u32>>,
}

impl Signals {
    /// Says that the owner at this place was closed.
    pub(super) fn close(&self, place: u32) {
        lock(&self.closed).push(place);
        self.raise(CLOSED);
    }

    fn raise(&self, signal: u8) {
        // Who takes what the last of several raised sees what all of them did, as each is a read and a write in one.
        self.raised.fetch_or(signal, Ordering::Release);
    }
}

/// How many slots share a page.
const SLOTS: usize = if cfg!(cortex_loom) { 2 } else { 64 };

/// The dropped blocks of some slots.
#[derive(Debug)]
pub(crate) struct Page {
    signals: Arc<Signals>,
    /// A bit for each slot whose block was dropped.
    dropped: AtomicU64,
    /// Which block of the slot that was: the newest one, as all before it are gone already.
    generations: [AtomicU64; SLOTS],
}

impl Page {
    /// Says that a block was dropped. From any thread: it takes no lock and no memory, and there is always room.
    pub(super) fn free(&self, slot: u32, generation: u64) {
        let (_, place) = split(slot);
        self.generations[place].fetch_max(generation, Ordering::Relaxed);
        self.dropped.fetch_or(1 << place, Ordering::Release);
        self.signals.raise(FREED);
    }
}

/// The blocks that were dropped and are to be freed: as there is one place for each slot, it is never full.
#[derive(Debug, Default)]
pub(super) struct Frees {
    signals: Arc<Signals>,
    pages: Vec<Arc<Page>>,
}

impl Frees {
    pub(super) const fn signals(&self) -> &Arc<Signals> {
        &self.signals
    }

    /// Returns the page of a slot, made if it is the first of a new one.
    pub(super) fn page(&mut self, slot: u32) -> &Arc<Page> {
        let (page, _) = split(slot);
        while self.pages.len() <= page {
            self.pages.push(Arc::new(Page {
                signals: Arc::clone(&self.signals),
                dropped: AtomicU64::new(0),
                generations: array::from_fn(|_| AtomicU64::new(0)),
            }));
        }
        &self.pages[page]
    }

    /// Says that nothing was told since the last [`take`](Self::take): one relaxed load.
    pub(super) fn is_quiet(&self) -> bool {
        self.signals.raised.load(Ordering::Relaxed) == 0
    }

    /// Takes the signals: what was done before one of them was raised is seen from here on.
    pub(super) fn take(&self) -> u8 {
        self.signals.raised.swap(0, Ordering::Acquire)
    }

    /// Takes the places of the owners that were closed.
    pub(super) fn take_closed(&self) -> Vec<u32> {
        std::mem::take(&mut *lock(&self.signals.closed))
    }

    /// Takes what was dropped, by slot and generation; some may be of blocks that are gone by now.
    pub(super) fn drain(&self, mut each: impl FnMut(u32, u64)) {
        for (page, first) in self.pages.iter().zip((0..).step_by(SLOTS)) {
            if page.dropped.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut dropped = page.dropped.swap(0, Ordering::Acquire);
            while dropped != 0 {
                let place = dropped.trailing_zeros();
                dropped &= dropped - 1;
                each(
                    first + place,
                    page.generations[place as usize].load(Ordering::Relaxed),
                );
            }
        }
    }

    /// Says whether this block was dropped, and not yet taken.
    pub(super) fn holds(&self, slot: u32, generation: u64) -> bool {
        let (page, place) = split(slot);
        self.pages.get(page).is_some_and(|page| {
            page.dropped.load(Ordering::Acquire) & (1 << place) != 0
                && page.generations[place].load(Ordering::Relaxed) == generation
        })
    }

    /// Counts what was dropped, and not yet taken.
    pub(super) fn len(&self) -> usize {
        let dropped = self.pages.iter().map(|page| page.dropped.load(Ordering::Relaxed));
        dropped.map(|bits| bits.count_ones() as usize).sum()
    }
}

const fn split(slot: u32) -> (usize, usize) {
    (slot as usize / SLOTS, slot as usize % SLOTS)
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;

    fn drained(frees: &Frees) -> Vec<(u32, u64)> {
        let mut all = Vec::new();
        frees.drain(|slot, generation| all.push((slot, generation)));
        all
    }

    #[test]
    fn what_was_dropped_is_taken_once() {
        let mut frees = Frees::default();
        assert!(frees.is_quiet());
        frees.page(200).free(200, 7);
        frees.page(3).free(3, 5);
        assert!(!frees.is_quiet());
        assert_eq!(frees.len(), 2);
        assert!(
            frees.holds(200, 7) && !frees.holds(200, 6) && !frees.holds(201, 7) && !frees.holds(9_999, 1)
        );
        assert_eq!(frees.take(), FREED);
        assert_eq!(drained(&frees), [(3, 5), (200, 7)]);
        assert!(frees.is_quiet() && frees.len() == 0 && drained(&frees).is_empty());
    }

    /// A handle from before a reset is dropped after the block that has its slot now: that one is not forgotten.
    #[test]
    fn an_old_block_does_not_hide_the_new_one_of_its_slot() {
        let mut frees = Frees::default();
        let page = Arc::clone(frees.page(0));
        page.free(0, 9);
        page.free(0, 5);
        assert_eq!(drained(&frees), [(0, 9)]);
        page.free(0, 5);
        assert_eq!(drained(&frees), [(0, 9)], "the owner knows that it is gone");
    }
}
