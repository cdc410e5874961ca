use super::abi::{Calls, GuestAbi, GuestBlock, Passed, Returned, begin, obtain, within};
use super::align::Align;
use super::arena::{Arena, Mark};
use super::extent::Extent;
use super::guest_box::{BlockId, GuestBox};
use super::leak::Leak;
use super::owner::OwnerRef;
use super::region::Region;
use super::registry::{Block, Gone, Home, Registry};
use super::tags::{Tag, Tags};
use super::totals::Totals;
use crate::Error;
use std::sync::Arc;
use std::time::Duration;

/// How many slots are swept at a boundary.
const LOOKS: usize = 64;

/// What the host holds in the memory of one instance, and how it takes and frees it.
///
/// A method that has the guest as a parameter may call it. [`boundary`](Self::boundary), [`idle`](Self::idle),
/// [`collect`](Self::collect) and [`free`](Self::free) give memory back, so they are called while no call of the guest
/// is under way, and never after one trapped.
pub(crate) struct Heap {
    abi: Option<Arc<dyn GuestAbi>>,
    limit: u32,
    arena: Arena,
    region: Option<Region>,
    registry: Registry,
    totals: Arc<Totals>,
}

/// What a block is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder<'a> {
    pub(crate) tag: Tag,
    pub(crate) owner: &'a OwnerRef,
    /// The time, in nanoseconds.
    pub(crate) now: u64,
}

impl Heap {
    /// Makes one that holds so many blocks at most, without an arena and a region.
    pub(crate) fn new(abi: Option<Arc<dyn GuestAbi>>, limit: u32, tags: Arc<Tags>) -> Self {
        let totals = Arc::<Totals>::default();
        Self {
            abi,
            limit,
            arena: Arena::default(),
            region: None,
            registry: Registry::new(limit, tags, Arc::clone(&totals)),
            totals,
        }
    }

    /// Takes a block that stays as long as the instance does, for an arena or a region.
    pub(crate) fn reserve(
        &self,
        guest: &mut dyn Calls,
        length: u32,
        align: Align,
    ) -> Result<(u32, u32), Error> {
        let (pointer, _) = obtain(self.abi()?, guest, length, align)?;
        Ok((pointer, length))
    }

    /// Puts the arguments of calls there. Nothing may be in the arena.
    pub(crate) fn place_arena(&mut self, (pointer, length): (u32, u32)) {
        self.arena = Arena::new(Extent::new(pointer, length));
        self.totals.arena_bytes.set(length.into());
    }

    /// Cuts blocks from there, before the guest is asked for some. Nothing may be in the region.
    pub(crate) fn place_region(&mut self, (pointer, length): (u32, u32)) {
        self.region = Region::new(Extent::new(pointer, length), self.limit);
        if let Some(region) = &self.region {
            region.report(&self.totals);
        }
    }

    /// Returns the counts, which other threads may read.
    pub(crate) const fn totals(&self) -> &Arc<Totals> {
        &self.totals
    }

    /// Counts what was dropped and not yet freed.
    pub(crate) fn pending(&self) -> usize {
        self.registry.pending()
    }

    /// Takes a block for the host: from the region, or else from the guest's allocator.
    pub(crate) fn own(
        &mut self,
        guest: &mut dyn Calls,
        length: u32,
        align: Align,
        holder: Holder<'_>,
    ) -> Result<GuestBox, Error> {
        let (id, extent) = self.hold(guest, length, align, holder)?;
        Ok(self.registry.guest_box(id, extent))
    }

    /// Takes over a block that the guest returned.
    pub(crate) fn adopt(
        &mut self,
        guest: &mut dyn Calls,
        (pointer, length): (u32, u32),
        align: Align,
        holder: Holder<'_>,
    ) -> Result<GuestBox, Error> {
        let abi = Arc::clone(self.abi.as_ref().ok_or(Error::NoAllocator)?);
        if !abi.can_free() || abi.returned() == Returned::Lent {
            return Err(Error::NoFree { abi: abi.name() });
        }
        let owner = self.registry.admit(holder.owner)?;
        let extent = Extent::new(pointer, length);
        if pointer == 0 {
            return Err(Error::NullPointer);
        }
        within(extent, guest)?;
        let region = self.region.as_ref().map(Region::extent);
        let is_ours = self.registry.overlaps(extent)
            || (self.arena.extent().length > 0 && self.arena.extent().overlaps(extent))
            || region.is_some_and(|region| region.overlaps(extent));
        if is_ours {
            return Err(Error::AlreadyHeld { pointer });
        }
        abi.adopt(guest, pointer)?;
        let id = self.register(extent, extent, align, Home::Guest, (owner, holder));
        Ok(self.registry.guest_box(id, extent))
    }

    /// Makes a block the guest's, to free as it likes; one that the guest's allocator does not know is copied to one
    /// that it does, by `copy` from the first pointer to the second.
    pub(crate) fn give<G: Calls>(
        &mut self,
        guest: &mut G,
        block: GuestBox,
        copy: impl FnOnce(&mut G, u32, u32) -> Result<(), Error>,
    ) -> Result<(u32, u32), Error> {
        let held = self.registry.find(block.id()).map_err(Gone::to_use)?;
        let Extent { pointer, length } = held.extent;
        let is_known = matches!(held.home, Home::Guest) && held.origin.pointer == pointer;
        let align = held.align;
        let abi = Arc::clone(self.abi.as_ref().ok_or(Error::NoAllocator)?);
        if is_known {
            abi.give(guest, pointer)?;
            // An error would mean that the guest was called back and freed it: it is not.
            let _ = self.registry.remove(block.into_id());
            return Ok((pointer, length));
        }
        let to = begin(&*abi, guest, length, align)?;
        copy(guest, pointer, to)?;
        abi.give(guest, to)?;
        Ok((to, length)) // and the block is dropped
    }

    /// Makes room for an argument that the callee only reads: in the arena, or else in a block that is freed when the
    /// scope ends.
    pub(crate) fn put(
        &mut self,
        guest: &mut dyn Calls,
        length: u32,
        align: Align,
        holder: Holder<'_>,
    ) -> Result<u32, Error> {
        if let Some(pointer) = self.put_in_arena(length, align) {
            return Ok(pointer);
        }
        let (id, extent) = self.hold(guest, length, align, holder)?;
        self.arena.overflow(id);
        self.totals.arena_overflows.add(1);
        Ok(extent.pointer)
    }

    /// Makes room for an argument in the arena, if it has some: that takes neither the guest nor the time.
    pub(crate) fn put_in_arena(&mut self, length: u32, align: Align) -> Option<u32> {
        let pointer = self.arena.put(length, align)?;
        self.totals.arena_high_water_bytes.raise(self.arena.used().into());
        Some(pointer)
    }

    /// Makes room for an argument that is to come from the guest's allocator; if it stays ours it is freed when the
    /// scope ends.
    pub(crate) fn pass(
        &mut self,
        guest: &mut dyn Calls,
        length: u32,
        align: Align,
        holder: Holder<'_>,
    ) -> Result<u32, Error> {
        let abi = Arc::clone(self.abi.as_ref().ok_or(Error::NoAllocator)?);
        if abi.passed() == Passed::Guest {
            return begin(&*abi, guest, length, align);
        }
        let owner = self.registry.admit(holder.owner)?;
        let (pointer, origin) = if abi.passed() == Passed::Pinned {
            let pointer = begin(&*abi, guest, length, align)?;
            (pointer, Extent::new(pointer, length.max(1)))
        } else {
            obtain(&*abi, guest, length, align)?
        };
        let id = self.register(
            Extent::new(pointer, length),
            origin,
            align,
            Home::Guest,
            (owner, holder),
        );
        self.arena.overflow(id);
        Ok(pointer)
    }

    /// Begins a scope.
    pub(crate) const fn scope(&self) -> Mark {
        self.arena.mark()
    }

    /// Ends a scope, and those in it: no guest is called, blocks are freed at the next boundary.
    pub(crate) fn end(&mut self, scope: Mark) {
        for block in self.arena.rewind(scope) {
            self.registry.doom(block);
        }
    }

    /// Returns where a block is, if it is held.
    pub(crate) fn find(&self, block: BlockId) -> Result<(u32, u32), Error> {
        let block = self.registry.find(block).map_err(Gone::to_use)?;
        Ok((block.extent.pointer, block.extent.length))
    }

    /// Returns the handle of a block whose ownership was given up.
    pub(crate) fn claim(&mut self, id: BlockId) -> Result<GuestBox, Error> {
        let block = self.registry.find(id).map_err(Gone::to_use)?;
        let extent = block.extent;
        Ok(self.registry.guest_box(id, extent))
    }

    /// Frees a block now.
    pub(crate) fn free(&mut self, guest: &mut dyn Calls, block: BlockId) -> Result<(), Error> {
        let block = self.registry.remove(block).map_err(Gone::to_free)?;
        self.release(guest, &block)
    }

    /// Says whether there is nothing to free, as far as is known: one relaxed load and two comparisons.
    pub(crate) fn is_quiet(&self) -> bool {
        self.registry.is_quiet()
    }

    /// Frees what was dropped, and garbage among a few blocks. With nothing to do it is one relaxed load and two
    /// comparisons.
    pub(crate) fn boundary(&mut self, guest: &mut dyn Calls) -> Result<(), Error> {
        if self.registry.is_quiet() {
            return Ok(());
        }
        self.registry.gather(LOOKS);
        self.release_doomed(guest)
    }

    /// Frees what was dropped, all garbage, and what is too old for its tag.
    pub(crate) fn idle(&mut self, guest: &mut dyn Calls, now: u64) -> Result<(), Error> {
        self.registry.gather_all(now);
        self.release_doomed(guest)
    }

    /// Does what an idle instance does, and has the guest collect its own garbage.
    pub(crate) fn collect(&mut self, guest: &mut dyn Calls, now: u64) -> Result<(), Error> {
        self.idle(guest, now)?;
        self.abi.as_ref().map_or(Ok(()), |abi| abi.collect(guest))
    }

    /// Reports what is held for so long, for an owner that is open.
    pub(crate) fn leaks(&self, now: u64, older_than: Duration) -> Vec<Leak> {
        self.registry.leaks(now, older_than)
    }

    /// Forgets all blocks, as the memory of the instance is put back; their handles turn stale.
    pub(crate) fn reset(&mut self) {
        let region = &mut self.region;
        self.registry.reset(|block| {
            if let (Home::Region(carved), Some(region)) = (block.home, &mut *region) {
                region.free(carved);
            }
        });
        if let Some(region) = region {
            region.report(&self.totals);
        }
        self.arena.reset();
    }

    fn abi(&self) -> Result<&dyn GuestAbi, Error> {
        self.abi.as_deref().ok_or(Error::NoAllocator)
    }

    fn hold(
        &mut self,
        guest: &mut dyn Calls,
        length: u32,
        align: Align,
        holder: Holder<'_>,
    ) -> Result<(BlockId, Extent), Error> {
        let owner = self.registry.admit(holder.owner)?;
        let cut = self
            .region
            .as_mut()
            .and_then(|region| region.alloc(length, align));
        let (pointer, origin, home) = if let Some((origin, carved)) = cut {
            self.report();
            (origin.pointer, origin, Home::Region(carved))
        } else {
            let abi = self.abi()?;
            if !abi.can_free() {
                return Err(Error::NoFree { abi: abi.name() });
            }
            let (pointer, origin) = obtain(abi, guest, length, align)?;
            (pointer, origin, Home::Guest)
        };
        let extent = Extent::new(pointer, length);
        Ok((
            self.register(extent, origin, align, home, (owner, holder)),
            extent,
        ))
    }

    fn register(
        &mut self,
        extent: Extent,
        origin: Extent,
        align: Align,
        home: Home,
        (owner, holder): (u32, Holder<'_>),
    ) -> BlockId {
        self.registry.insert(Block {
            generation: 0,
            extent,
            origin,
            align,
            home,
            tag: holder.tag,
            owner,
            since: holder.now,
        })
    }

    fn release_doomed(&mut self, guest: &mut dyn Calls) -> Result<(), Error> {
        while let Some(block) = self.registry.next_doomed() {
            self.release(guest, &block)?;
        }
        Ok(())
    }

    fn release(&mut self, guest: &mut dyn Calls, block: &Block) -> Result<(), Error> {
        match block.home {
            Home::Guest => {
                let Extent { pointer, length } = block.origin;
                let align = block.align;
                self.abi()?.free(
                    guest,
                    GuestBlock {
                        pointer,
                        size: length,
                        align,
                    },
                )
            }
            Home::Region(carved) => {
                if let Some(region) = &mut self.region {
                    region.free(carved);
                }
                self.report();
                Ok(())
            }
        }
    }

    fn report(&self) {
        if let Some(region) = &self.region {
            region.report(&self.totals);
        }
    }
}
