use ::brotli::Allocator;
use ::brotli::enc::StandardAlloc;

/// Memory that is never refused: what is not the ring buffer, context maps of 16 KiB at most, and what the decoder
/// adds to the ring buffer.
const ALWAYS: usize = 32 << 10;

/// Gives the brotli decoder its memory for bytes, but for a ring buffer that only a body over the limit can need.
///
/// The decoder takes it as soon as a meta-block says how long it is: the power of two that holds that and all before,
/// up to the window. It then fills it, in one call if there is nothing to wait for, before it writes anything out.
pub(super) struct BoundedAlloc {
    most: usize,
    refused: bool,
}

impl BoundedAlloc {
    /// Makes one for bodies that may decode to so many bytes.
    pub(super) fn new(max_decoded: u64) -> Self {
        let ring = max_decoded
            .checked_next_power_of_two()
            .and_then(|ring| usize::try_from(ring).ok());
        Self {
            most: ring.unwrap_or(usize::MAX).saturating_add(ALWAYS),
            refused: false,
        }
    }

    pub(super) const fn has_refused(&self) -> bool {
        self.refused
    }
}

impl Allocator<u8> for BoundedAlloc {
    type AllocatedMemory = <StandardAlloc as Allocator<u8>>::AllocatedMemory;

    fn alloc_cell(&mut self, length: usize) -> Self::AllocatedMemory {
        if length > self.most {
            self.refused = true;
            return Self::AllocatedMemory::default(); // the decoder fails
        }
        StandardAlloc::default().alloc_cell(length)
    }

    fn free_cell(&mut self, _: Self::AllocatedMemory) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::brotli::SliceWrapper;

    #[test]
    fn what_the_limit_can_need_is_given_and_the_next_ring_is_not() {
        for (max_decoded, ring) in [
            (1, 16 << 10),
            (40_000, 64 << 10),
            (1 << 20, 1 << 20),
            ((1 << 20) + 1, 2 << 20),
        ] {
            let mut alloc = BoundedAlloc::new(max_decoded);
            let given = ring + 600; // the decoder adds a little
            assert_eq!(alloc.alloc_cell(given).slice().len(), given, "{max_decoded}");
            assert!(!alloc.has_refused());
            assert!(alloc.alloc_cell(4 * ring).slice().is_empty(), "{max_decoded}");
            assert!(alloc.has_refused());
        }
        for max_decoded in [0, u64::MAX, 1 << 63] {
            let mut alloc = BoundedAlloc::new(max_decoded);
            assert_eq!(alloc.alloc_cell(1000).slice().len(), 1000);
        }
    }
}
