//! What all these tests begin with.

pub(super) use super::super::abi::{CabiRealloc, Calls, GuestAbi};
pub(super) use super::super::guest::{
    ALLOC_DEALLOC, ALLOC_DEALLOC_ALIGNED, ASSEMBLY_SCRIPT, CABI_REALLOC, Guest, HOSTILE, MALLOC_FREE, abi,
    compile,
};
pub(super) use super::super::heap::{Heap, Holder};
pub(super) use super::super::{Align, AssemblyScript, GuestBox, Owner, OwnerRef, Tag, Tags};
pub(super) use crate::Error;
pub(super) use std::sync::Arc;
pub(super) use std::time::Duration;

/// In nanoseconds.
pub(super) const SECOND: u64 = 1_000_000_000;

pub(super) fn align(bytes: u32) -> Align {
    Align::new(bytes).expect("a power of two")
}

/// Holds for an owner, from the beginning.
pub(super) fn holder(owner: &OwnerRef) -> Holder<'_> {
    Holder {
        tag: Tag::SCOPE,
        owner,
        now: 0,
    }
}

/// A guest, and what the host holds in it.
pub(super) struct Scene {
    pub(super) guest: Guest,
    pub(super) heap: Heap,
    pub(super) owner: Option<Owner>,
    pub(super) reference: OwnerRef,
    pub(super) tags: Arc<Tags>,
}

impl Scene {
    pub(super) fn new(functions: &str) -> Self {
        Self::with_limit(functions, 1000)
    }

    pub(super) fn with_limit(functions: &str, limit: u32) -> Self {
        let guest = Guest::new(&compile(functions));
        let tags = Arc::new(Tags::new());
        let owner = Owner::new();
        Self {
            heap: Heap::new(abi(functions), limit, Arc::clone(&tags)),
            guest,
            reference: owner.reference(),
            owner: Some(owner),
            tags,
        }
    }

    pub(super) fn own(&mut self, length: u32, align: Align) -> Result<GuestBox, Error> {
        self.heap
            .own(&mut self.guest, length, align, holder(&self.reference))
    }

    pub(super) fn boundary(&mut self) {
        self.heap.boundary(&mut self.guest).expect("it frees");
    }

    pub(super) fn place(&mut self, arena: u32, region: u32) {
        let sixteen = align(16);
        if arena > 0 {
            let place = self
                .heap
                .reserve(&mut self.guest, arena, sixteen)
                .expect("it has room");
            self.heap.place_arena(place);
        }
        if region > 0 {
            let place = self
                .heap
                .reserve(&mut self.guest, region, sixteen)
                .expect("it has room");
            self.heap.place_region(place);
        }
    }
}
