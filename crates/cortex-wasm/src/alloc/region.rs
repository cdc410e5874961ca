use super::align::Align;
use super::extent::Extent;
use super::totals::Totals;
use offset_allocator::{Allocation, Allocator};

/// The bytes of a unit: every block begins at a multiple of it, and is rounded up to it.
const UNIT: Align = match Align::new(16) {
    Some(unit) => unit,
    None => Align::BYTE,
};

/// A block of a guest that the host cuts up: no guest code runs for it, and what it knows is out of the reach of the
/// guest.
pub(super) struct Region {
    extent: Extent,
    /// Where the first unit is.
    base: u32,
    units: u32,
    allocator: Allocator,
}

/// A piece of a region, which gives it back.
#[derive(Clone, Copy)]
pub(super) struct Carved(Allocation);

impl Region {
    /// Takes a stretch of memory for so many blocks at most. It costs 32 bytes of the host for each unit, or twice for
    /// each block.
    ///
    /// None if it has no room for a unit.
    pub(super) fn new(extent: Extent, most: u32) -> Option<Self> {
        let base = UNIT.up(extent.pointer.into());
        let units = extent.end().checked_sub(base)? / u64::from(UNIT.bytes());
        let (base, units) = (u32::try_from(base).ok()?, u32::try_from(units).ok()?);
        if units == 0 {
            return None;
        }
        // Between blocks, and around them, is what is free; one node is never used, and one is to be left.
        let nodes = most.saturating_mul(2).saturating_add(1).min(units) + 2;
        Some(Self {
            extent,
            base,
            units,
            allocator: Allocator::with_max_allocs(units, nodes),
        })
    }

    pub(super) const fn extent(&self) -> Extent {
        self.extent
    }

    /// Cuts off a block, if there is a piece that is sure to have it.
    pub(super) fn alloc(&mut self, length: u32, align: Align) -> Option<(Extent, Carved)> {
        let slack = align.bytes().saturating_sub(UNIT.bytes());
        let length = u64::from(length.max(1));
        let units = UNIT.up(length + u64::from(slack)) / u64::from(UNIT.bytes());
        let carved = self.allocator.allocate(u32::try_from(units).ok()?)?;
        let pointer = align.up(u64::from(self.base) + u64::from(carved.offset) * u64::from(UNIT.bytes()));
        let extent = u32::try_from(pointer).ok().zip(u32::try_from(length).ok());
        let Some((pointer, length)) = extent else {
            self.allocator.free(carved);
            return None;
        };
        Some((Extent::new(pointer, length), Carved(carved)))
    }

    pub(super) fn free(&mut self, carved: Carved) {
        self.allocator.free(carved.0);
    }

    pub(super) fn report(&self, totals: &Totals) {
        let report = self.allocator.storage_report();
        let bytes = |units: u32| u64::from(units) * u64::from(UNIT.bytes());
        totals.region_bytes.set(bytes(self.units));
        totals.region_free_bytes.set(bytes(report.total_free_space));
        totals.region_largest_bytes.set(bytes(report.largest_free_region));
        totals
            .region_ideal_bytes
            .set(bytes(floor(report.total_free_space)));
    }
}

/// Returns the size that a free piece counts as: its four leading bits.
const fn floor(units: u32) -> u32 {
    let kept = 32 - 4;
    let zeros = units.leading_zeros();
    if zeros >= kept {
        return units;
    }
    units & (u32::MAX << (kept - zeros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn region(pointer: u32, length: u32, most: u32) -> Region {
        Region::new(Extent::new(pointer, length), most).expect("it has room")
    }

    fn stats(region: &Region) -> super::super::totals::AllocStats {
        let totals = Totals::default();
        region.report(&totals);
        totals.stats()
    }

    #[test]
    fn every_unit_can_be_a_block() {
        for units in [1, 2, 3, 7, 64, 100] {
            let mut region = region(16, units * 16, u32::MAX);
            let blocks: Vec<_> = (0..units)
                .map(|_| region.alloc(16, Align::BYTE).expect("a unit is left"))
                .collect();
            assert!(region.alloc(1, Align::BYTE).is_none());
            assert_eq!(stats(&region).region_free_bytes, 0);
            for (_, carved) in blocks {
                region.free(carved);
            }
            assert_eq!(stats(&region).region_free_bytes, u64::from(units) * 16);
        }
    }

    #[test]
    fn as_many_blocks_fit_as_were_said_however_they_lie() {
        let mut region = region(0, 1 << 20, 100);
        let blocks: Vec<_> = (0..100).map(|_| region.alloc(16, Align::BYTE).unwrap()).collect();
        // Every second one makes room between two others.
        for (_, carved) in blocks.iter().step_by(2) {
            region.free(*carved);
        }
        for _ in 0..50 {
            region.alloc(32, Align::BYTE).expect("the ends have room");
        }
    }

    #[test]
    fn what_is_too_short_is_no_region() {
        assert!(Region::new(Extent::new(16, 15), 8).is_none());
        assert!(
            Region::new(Extent::new(17, 16), 8).is_none(),
            "its only unit would begin before it"
        );
        assert!(Region::new(Extent::new(u32::MAX, u32::MAX), 8).is_none());
        assert!(Region::new(Extent::new(17, 31), 8).is_some());
    }

    #[test]
    fn fragmentation_is_told_and_goes_away() {
        let mut region = region(0, 16 * 1000, 1000);
        assert!(
            stats(&region).region_fragmentation().abs() < 1e-9,
            "an odd size is not fragmented"
        );
        let blocks: Vec<_> = (0..1000)
            .map(|_| region.alloc(16, Align::BYTE).unwrap())
            .collect();
        for (_, carved) in blocks.iter().step_by(2) {
            region.free(*carved);
        }
        assert!(stats(&region).region_fragmentation() > 0.99);
        assert!(region.alloc(32, Align::BYTE).is_none());
        for (_, carved) in blocks.iter().skip(1).step_by(2) {
            region.free(*carved);
        }
        assert!(stats(&region).region_fragmentation().abs() < 1e-9);
    }

    #[test]
    fn what_a_piece_counts_as_is_what_can_be_had_of_it() {
        for units in (1..4000).chain([1 << 20, (1 << 28) - 1]) {
            let mut allocator: Allocator = Allocator::with_max_allocs(units, 8);
            assert_eq!(allocator.storage_report().largest_free_region, floor(units));
            assert!(allocator.allocate(floor(units)).is_some());
        }
    }

    proptest! {
        /// Blocks are in the region, aligned, and apart; once all are given back it is whole, and blocks are where they
        /// were.
        #[test]
        fn blocks_are_apart(
            pointer in 0_u32..100,
            steps in prop::collection::vec((any::<bool>(), 0_u32..600, 0_u32..8), 1..120),
        ) {
            let mut region = region(pointer, 16 << 10, 64);
            let fresh = region.alloc(100, Align::BYTE).unwrap();
            region.free(fresh.1);
            let mut live: Vec<(Extent, Carved)> = Vec::new();
            for (takes, length, exponent) in steps {
                if !takes && !live.is_empty() {
                    let (_, carved) = live.swap_remove(length as usize % live.len());
                    region.free(carved);
                } else if live.len() < 64
                    && let Some((extent, carved)) = region.alloc(length, Align::new(1 << exponent).unwrap())
                {
                    prop_assert_eq!(extent.pointer % (1 << exponent).max(16), 0);
                    prop_assert_eq!(extent.length, length.max(1));
                    prop_assert!(extent.pointer >= pointer && extent.end() <= u64::from(pointer) + (16 << 10));
                    prop_assert!(live.iter().all(|(other, _)| !other.overlaps(extent)));
                    live.push((extent, carved));
                }
            }
            for (_, carved) in live {
                region.free(carved);
            }
            let again = region.alloc(100, Align::BYTE).unwrap();
            prop_assert_eq!(again.0, fresh.0);
            region.free(again.1);
            prop_assert!(stats(&region).region_fragmentation().abs() < 1e-9);
        }
    }
}
