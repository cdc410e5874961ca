use super::align::Align;
use super::extent::Extent;
use super::frees::{CLOSED, FREED, Frees};
use super::guest_box::{BlockId, GuestBox};
use super::leak::Leak;
use super::owner::OwnerRef;
use super::owners::Owners;
use super::region::Carved;
use super::tags::{Tag, Tags};
use super::totals::Totals;
use crate::{Error, Resource};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the host holds in one instance: which blocks, for whom and since when.
///
/// It calls no guest: it says what is to be freed, and whoever asks does that.
pub(super) struct Registry {
    instance: u64,
    /// How many blocks may be held at once.
    limit: u32,
    /// The generation of the next block: no two are alike.
    next: u64,
    /// The first one since the last reset.
    era: u64,
    owners: Owners,
    slots: Slots,
    frees: Frees,
    /// What is no longer held, and not yet freed.
    doomed: Vec<Block>,
    /// The slot where the sweep goes on, and how many it has to look at.
    cursor: usize,
    remaining: usize,
    tags: Arc<Tags>,
}

struct Slots {
    blocks: Vec<Option<Block>>,
    vacant: Vec<u32>,
    totals: Arc<Totals>,
}

/// What is held.
pub(super) struct Block {
    /// Which block of its slot it is; given to it by [`Registry::insert`].
    pub(super) generation: u64,
    /// The bytes that were asked for.
    pub(super) extent: Extent,
    /// What was taken for them, and is to be given back.
    pub(super) origin: Extent,
    pub(super) align: Align,
    pub(super) home: Home,
    pub(super) tag: Tag,
    /// Where its owner is among those of the instance.
    pub(super) owner: u32,
    /// When it was taken, in nanoseconds.
    pub(super) since: u64,
}

/// Where a block came from.
#[derive(Clone, Copy)]
pub(super) enum Home {
    /// The guest's allocator.
    Guest,
    /// The host's.
    Region(Carved),
}

/// Why a block is not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    Elsewhere,
    Reset,
    Freed,
}

impl Gone {
    /// Says it to who wants to use it.
    pub(super) const fn to_use(self) -> Error {
        match self {
            Self::Elsewhere => Error::WrongInstance,
            Self::Reset => Error::Stale,
            Self::Freed => Error::UseAfterFree,
        }
    }

    /// Says it to who wants to free it.
    pub(super) const fn to_free(self) -> Error {
        match self {
            Self::Freed => Error::DoubleFree,
            _ => self.to_use(),
        }
    }
}

impl Registry {
    pub(super) fn new(limit: u32, tags: Arc<Tags>, totals: Arc<Totals>) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self {
            instance: NEXT.fetch_add(1, Ordering::Relaxed),
            limit,
            next: 1,
            era: 1,
            owners: Owners::default(),
            slots: Slots {
                blocks: Vec::new(),
                vacant: Vec::new(),
                totals,
            },
            frees: Frees::default(),
            doomed: Vec::new(),
            cursor: 0,
            remaining: 0,
            tags,
        }
    }

    /// Says whether one more block may be held for an owner; returns the place of the owner.
    pub(super) fn admit(&mut self, owner: &OwnerRef) -> Result<u32, Error> {
        let totals = &self.slots.totals;
        let live = totals.live.get();
        if live >= u64::from(self.limit) {
            totals.refused.add(1);
            return Err(Error::Quota {
                what: Resource::LiveAllocs,
                limit: self.limit.into(),
                asked: live + 1,
            });
        }
        self.owners.admit(owner, self.frees.signals())
    }

    /// Holds a block that was admitted.
    pub(super) fn insert(&mut self, mut block: Block) -> BlockId {
        block.generation = self.next;
        self.next += 1;
        self.owners.hold(block.owner);
        let generation = block.generation;
        BlockId::new(self.instance, self.slots.put(block), generation)
    }

    pub(super) fn guest_box(&mut self, id: BlockId, extent: Extent) -> GuestBox {
        let page = Arc::clone(self.frees.page(id.slot()));
        GuestBox::new(id, extent, page)
    }

    pub(super) fn find(&self, id: BlockId) -> Result<&Block, Gone> {
        if id.instance() != self.instance {
            return Err(Gone::Elsewhere);
        }
        if id.generation() < self.era {
            return Err(Gone::Reset);
        }
        let was_dropped = !self.frees.is_quiet() && self.frees.holds(id.slot(), id.generation());
        let block = self.slots.get(id).filter(|_| !was_dropped);
        block.ok_or(Gone::Freed)
    }

    /// Takes out a block, which the caller frees.
    pub(super) fn remove(&mut self, id: BlockId) -> Result<Block, Gone> {
        self.find(id)?;
        let block = self.slots.take(id.slot(), id.generation()).ok_or(Gone::Freed)?;
        self.released(&block);
        Ok(block)
    }

    /// Has a block freed at the next boundary, if it is held.
    pub(super) fn doom(&mut self, id: BlockId) {
        if self.find(id).is_ok() {
            self.doomed.extend(self.slots.take(id.slot(), id.generation()));
        }
    }

    /// Finds out whether a stretch has bytes of a block.
    pub(super) fn overlaps(&self, extent: Extent) -> bool {
        let held = self.slots.blocks.iter().flatten().chain(&self.doomed);
        held.into_iter().any(|held| held.origin.overlaps(extent))
    }

    /// Says that nothing is to be freed.
    pub(super) fn is_quiet(&self) -> bool {
        self.frees.is_quiet() && self.remaining == 0 && self.doomed.is_empty()
    }

    /// Finds what was dropped, and the garbage among so many slots.
    pub(super) fn gather(&mut self, looks: usize) {
        self.hear();
        let looks = looks.min(self.remaining);
        self.remaining -= looks;
        for _ in 0..looks {
            if self.cursor >= self.slots.blocks.len() {
                self.cursor = 0;
            }
            self.sweep(self.cursor, None);
            self.cursor += 1;
        }
    }

    /// Finds what was dropped, all garbage, and what is too old for its tag.
    pub(super) fn gather_all(&mut self, now: u64) {
        self.hear();
        self.remaining = 0;
        for slot in 0..self.slots.blocks.len() {
            self.sweep(slot, Some(now));
        }
    }

    /// Returns one that is to be freed; until then it counted, as its memory was not the guest's again.
    pub(super) fn next_doomed(&mut self) -> Option<Block> {
        let block = self.doomed.pop()?;
        self.released(&block);
        Some(block)
    }

    fn released(&mut self, block: &Block) {
        let totals = &self.slots.totals;
        totals.live.subtract(1);
        totals.live_bytes.subtract(block.extent.length.into());
        self.owners.release(block.owner);
    }

    fn hear(&mut self) {
        let signals = self.frees.take();
        if signals & FREED != 0 {
            let (slots, doomed) = (&mut self.slots, &mut self.doomed);
            self.frees
                .drain(|slot, generation| doomed.extend(slots.take(slot, generation)));
        }
        if signals & CLOSED != 0 {
            for place in self.frees.take_closed() {
                if self.owners.is_garbage(place) {
                    self.remaining = self.slots.blocks.len(); // from the cursor on, and round
                }
            }
        }
    }

    fn sweep(&mut self, slot: usize, now: Option<u64>) {
        let Some(Some(block)) = self.slots.blocks.get(slot) else {
            return;
        };
        let (tag, totals) = (block.tag, &self.slots.totals);
        let is_expired = |now: u64| self.tags.is_expired(tag, now.saturating_sub(block.since));
        if self.owners.is_closed(block.owner) {
            self.tags.count_swept(tag);
            totals.swept.add(1);
        } else if now.is_some_and(is_expired) {
            self.tags.count_expired(tag);
            totals.expired.add(1);
        } else {
            return;
        }
        self.slots.vacant.extend(u32::try_from(slot));
        self.doomed.extend(self.slots.blocks[slot].take());
    }

    /// Reports what is held for so long, for an owner that is open.
    pub(super) fn leaks(&self, now: u64, older_than: Duration) -> Vec<Leak> {
        let mut leaks = Vec::new();
        for (block, slot) in self.slots.blocks.iter().zip(0..) {
            let Some(block) = block else { continue };
            let age = now.saturating_sub(block.since);
            let is_old = Duration::from_nanos(age) >= older_than;
            if is_old && !self.owners.is_closed(block.owner) && !self.frees.holds(slot, block.generation) {
                Leak::add(&mut leaks, self.tags.name(block.tag), block, age);
            }
        }
        leaks
    }

    /// Counts what was dropped and not yet freed.
    pub(super) fn pending(&self) -> usize {
        self.frees.len() + self.doomed.len()
    }

    /// Forgets all blocks, each of which is shown, and turns their handles stale.
    pub(super) fn reset(&mut self, each: impl FnMut(Block)) {
        self.era = self.next;
        self.frees.take();
        self.frees.take_closed();
        self.frees.drain(|_, _| {});
        self.owners.clear();
        self.remaining = 0;
        self.cursor = 0;
        self.slots.clear().chain(self.doomed.drain(..)).for_each(each);
    }
}

impl Slots {
    fn put(&mut self, block: Block) -> u32 {
        let totals = &self.totals;
        totals.allocated.add(1);
        totals.live.add(1);
        totals.live_bytes.add(block.extent.length.into());
        totals.high_water.raise(totals.live.get());
        totals.high_water_bytes.raise(totals.live_bytes.get());
        if let Some(slot) = self.vacant.pop() {
            self.blocks[slot as usize] = Some(block);
            return slot;
        }
        let slot = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX); // never so many: the limit is an u32
        self.blocks.push(Some(block));
        slot
    }

    fn get(&self, id: BlockId) -> Option<&Block> {
        let block = self.blocks.get(id.slot() as usize)?.as_ref();
        block.filter(|block| block.generation == id.generation())
    }

    fn take(&mut self, slot: u32, generation: u64) -> Option<Block> {
        let is_it = |block: &mut Block| block.generation == generation;
        let block = self.blocks.get_mut(slot as usize)?.take_if(is_it)?;
        self.vacant.push(slot);
        Some(block)
    }

    fn clear(&mut self) -> impl Iterator<Item = Block> {
        self.vacant.clear();
        self.totals.live.set(0);
        self.totals.live_bytes.set(0);
        self.blocks.drain(..).flatten()
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::super::owner::Owner;
    use super::*;

    fn registry() -> Registry {
        Registry::new(1000, Arc::default(), Arc::default())
    }

    fn own(registry: &mut Registry, owner: &Owner) -> GuestBox {
        let extent = Extent::new(1024, 8);
        let owner = registry.admit(&owner.reference()).expect("there is room");
        let id = registry.insert(Block {
            generation: 0,
            extent,
            origin: extent,
            align: Align::BYTE,
            home: Home::Guest,
            tag: Tag::SCOPE,
            owner,
            since: 0,
        });
        registry.guest_box(id, extent)
    }

    fn boundary(registry: &mut Registry) -> usize {
        registry.gather(64);
        std::iter::from_fn(|| registry.next_doomed()).count()
    }

    /// As most requests do: each would have all slots looked at for nothing.
    #[test]
    fn an_owner_that_left_nothing_starts_no_sweep() {
        let mut registry = registry();
        let (stays, request) = (Owner::new(), Owner::new());
        let blocks: Vec<_> = (0..200).map(|_| own(&mut registry, &stays)).collect();
        drop(own(&mut registry, &request));
        assert_eq!(boundary(&mut registry), 1);
        drop(request);
        assert!(!registry.is_quiet());
        assert_eq!(boundary(&mut registry), 0);
        assert!(registry.is_quiet());
        drop(blocks);
    }

    #[test]
    fn nothing_grows_but_with_what_is_held_at_once() {
        let mut registry = registry();
        for round in 0..10_000 {
            let owner = Owner::new();
            let blocks = [(); 3].map(|()| own(&mut registry, &owner));
            let [dropped, forgotten, late] = blocks;
            drop(dropped);
            let _ = forgotten.into_id();
            drop(owner);
            assert_eq!(boundary(&mut registry), 3, "the late one is garbage, too");
            drop(late);
            assert_eq!(boundary(&mut registry), 0);
            if round % 100 == 0 {
                registry.reset(|_| {});
            }
        }
        assert_eq!(registry.slots.blocks.len(), 3);
        assert_eq!(registry.slots.vacant.len(), 3);
        assert_eq!(registry.owners.places(), 1);
        assert!(registry.doomed.capacity() < 10);
        assert!(registry.is_quiet());
    }
}
