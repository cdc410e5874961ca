use super::align::Align;
use super::extent::Extent;
use super::guest_box::BlockId;

/// The block of a guest where the arguments of a call are put, one after the other.
#[derive(Debug, Default)]
pub(super) struct Arena {
    extent: Extent,
    /// How much is in use.
    cursor: u32,
    /// What did not fit, the newest last.
    overflow: Vec<BlockId>,
}

/// Where a scope began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what is put into the arena stays there until its scope ends"]
pub(crate) struct Mark {
    cursor: u32,
    overflow: usize,
}

impl Arena {
    pub(super) const fn new(extent: Extent) -> Self {
        Self {
            extent,
            cursor: 0,
            overflow: Vec::new(),
        }
    }

    pub(super) const fn extent(&self) -> Extent {
        self.extent
    }

    pub(super) const fn used(&self) -> u32 {
        self.cursor
    }

    /// Puts something behind the last, if there is room.
    pub(super) fn put(&mut self, length: u32, align: Align) -> Option<u32> {
        let pointer = align.up(u64::from(self.extent.pointer) + u64::from(self.cursor));
        let end = pointer + u64::from(length);
        if end > self.extent.end() {
            return None;
        }
        self.cursor = u32::try_from(end - u64::from(self.extent.pointer)).ok()?;
        u32::try_from(pointer).ok()
    }

    /// Notes a block that ends with the scope.
    pub(super) fn overflow(&mut self, block: BlockId) {
        self.overflow.push(block);
    }

    pub(super) const fn mark(&self) -> Mark {
        Mark {
            cursor: self.cursor,
            overflow: self.overflow.len(),
        }
    }

    /// Ends a scope, and those that began in it; returns the blocks that end with it.
    pub(super) fn rewind(&mut self, mark: Mark) -> impl Iterator<Item = BlockId> {
        self.cursor = self.cursor.min(mark.cursor);
        let kept = mark.overflow.min(self.overflow.len());
        self.overflow.drain(kept..)
    }

    pub(super) fn reset(&mut self) {
        self.cursor = 0;
        self.overflow.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EIGHT: Align = match Align::new(8) {
        Some(align) => align,
        None => Align::BYTE,
    };

    #[test]
    fn what_is_put_is_aligned_and_one_after_the_other() {
        let mut arena = Arena::new(Extent::new(100, 40));
        assert_eq!(arena.put(3, Align::BYTE), Some(100));
        assert_eq!(arena.put(8, EIGHT), Some(104));
        assert_eq!(
            arena.put(0, Align::BYTE),
            Some(112),
            "an empty one has a place, too"
        );
        assert_eq!(arena.put(28, Align::BYTE), Some(112));
        assert_eq!(arena.put(1, Align::BYTE), None);
        assert_eq!(arena.put(0, Align::BYTE), Some(140));
    }

    #[test]
    fn an_end_past_all_pointers_does_not_fit() {
        let mut arena = Arena::new(Extent::new(u32::MAX - 9, 9));
        assert_eq!(arena.put(u32::MAX, Align::BYTE), None);
        assert_eq!(arena.put(1, Align::new(1 << 31).unwrap()), None);
        assert_eq!(arena.put(9, Align::BYTE), Some(u32::MAX - 9));
        assert_eq!(Arena::default().put(1, Align::BYTE), None);
    }

    #[test]
    fn scopes_nest_and_an_outer_one_ends_the_inner() {
        let block = |slot| BlockId::new(1, slot, 1);
        let mut arena = Arena::new(Extent::new(0, 64));
        arena.put(8, Align::BYTE);
        let outer = arena.mark();
        arena.put(8, Align::BYTE);
        arena.overflow(block(1));
        let inner = arena.mark();
        arena.put(8, Align::BYTE);
        arena.overflow(block(2));
        assert_eq!(arena.rewind(inner).collect::<Vec<_>>(), [block(2)]);
        assert_eq!(arena.used(), 16);
        let forgotten = arena.mark();
        arena.put(8, Align::BYTE);
        arena.overflow(block(3));
        assert_eq!(arena.rewind(outer).collect::<Vec<_>>(), [block(1), block(3)]);
        assert_eq!(arena.rewind(forgotten).count(), 0);
        assert_eq!(arena.used(), 8, "that one was over already");
    }
}
