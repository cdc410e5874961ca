use super::abi::{CabiRealloc, Calls, GuestAbi};
use super::guest::{
    ALLOC_DEALLOC, ALLOC_DEALLOC_ALIGNED, ASSEMBLY_SCRIPT, CABI_REALLOC, Guest, HOSTILE, MALLOC_FREE, abi,
    compile,
};
use super::heap::{Heap, Holder};
use super::{Align, AssemblyScript, GuestBox, Owner, OwnerRef, Tag, Tags};
use crate::Error;
use std::sync::Arc;
use std::time::Duration;

/// In nanoseconds.
const SECOND: u64 = 1_000_000_000;

fn align(bytes: u32) -> Align {
    Align::new(bytes).expect("a power of two")
}

/// Holds for an owner, from the beginning.
fn holder(owner: &OwnerRef) -> Holder<'_> {
    Holder {
        tag: Tag::SCOPE,
        owner,
        now: 0,
    }
}

/// A guest, and what the host holds in it.
struct Scene {
    guest: Guest,
    heap: Heap,
    owner: Option<Owner>,
    reference: OwnerRef,
    tags: Arc<Tags>,
}

impl Scene {
    fn new(functions: &str) -> Self {
        Self::with_limit(functions, 1000)
    }

    fn with_limit(functions: &str, limit: u32) -> Self {
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

    fn own(&mut self, length: u32, align: Align) -> Result<GuestBox, Error> {
        self.heap
            .own(&mut self.guest, length, align, holder(&self.reference))
    }

    fn boundary(&mut self) {
        self.heap.boundary(&mut self.guest).expect("it frees");
    }

    fn place(&mut self, arena: u32, region: u32) {
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

mod abis;
mod errors;
mod garbage;
mod random;
mod scopes;
