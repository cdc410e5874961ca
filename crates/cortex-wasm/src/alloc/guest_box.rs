use super::extent::Extent;
use super::frees::Page;
use std::fmt;
use std::sync::Arc;

/// Names a block of an instance; it may outlive the block, and then it is told.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlockId {
    instance: u64,
    generation: u64,
    slot: u32,
}

impl BlockId {
    pub(super) const fn new(instance: u64, slot: u32, generation: u64) -> Self {
        Self {
            instance,
            generation,
            slot,
        }
    }

    pub(super) const fn instance(self) -> u64 {
        self.instance
    }

    pub(super) const fn generation(self) -> u64 {
        self.generation
    }

    pub(super) const fn slot(self) -> u32 {
        self.slot
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlockId({}:{}:{})", self.instance, self.slot, self.generation)
    }
}

/// A block of a guest's memory that the host owns.
///
/// Dropped, on whatever thread and even while the guest runs, it is only noted: the thread of the instance frees the
/// block before it enters the guest again. After a reset of the instance the block is gone, each use of it says so, and
/// the drop does nothing.
#[must_use = "a block that is dropped is freed"]
pub struct GuestBox {
    id: BlockId,
    extent: Extent,
    /// Whom to tell; none once it was given away.
    page: Option<Arc<Page>>,
}

impl GuestBox {
    pub(super) const fn new(id: BlockId, extent: Extent, page: Arc<Page>) -> Self {
        Self {
            id,
            extent,
            page: Some(page),
        }
    }

    /// Returns where it begins in the guest's memory.
    pub const fn ptr(&self) -> u32 {
        self.extent.pointer
    }

    /// Returns its length in bytes.
    pub const fn len(&self) -> u32 {
        self.extent.length
    }

    /// Says whether it has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.extent.length == 0
    }

    /// Returns its name.
    pub const fn id(&self) -> BlockId {
        self.id
    }

    /// Gives up the ownership, and returns the name: the block stays until it is claimed by that, or its owner is
    /// closed.
    pub fn into_id(mut self) -> BlockId {
        self.page = None;
        self.id
    }
}

impl Drop for GuestBox {
    fn drop(&mut self) {
        if let Some(page) = &self.page {
            page.free(self.id.slot, self.id.generation);
        }
    }
}

impl fmt::Debug for GuestBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuestBox")
            .field("id", &self.id)
            .field("ptr", &self.ptr())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
