use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of one instance: written by its thread alone, read by any.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(super) live: Count,
    pub(super) live_bytes: Count,
    pub(super) high_water: Count,
    pub(super) high_water_bytes: Count,
    pub(super) allocated: Count,
    pub(super) refused: Count,
    pub(super) swept: Count,
    pub(super) expired: Count,
    pub(super) arena_bytes: Count,
    pub(super) arena_high_water_bytes: Count,
    pub(super) arena_overflows: Count,
    pub(super) region_bytes: Count,
    pub(super) region_free_bytes: Count,
    pub(super) region_largest_bytes: Count,
    /// How much of the free bytes of the region could be one block, were they one piece.
    pub(super) region_ideal_bytes: Count,
}

/// A number with one writer: to add is a load and a store, which no other thread slows down.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: u64) {
        self.set(self.get() + more);
    }

    pub(super) fn subtract(&self, less: u64) {
        self.set(self.get() - less);
    }

    pub(super) fn raise(&self, to: u64) {
        if self.get() < to {
            self.set(to);
        }
    }

    pub(super) fn set(&self, to: u64) {
        self.0.store(to, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How the blocks stand that the host holds in guests.
///
/// # Examples
///
/// ```
/// use cortex_wasm::AllocStats;
///
/// let none = AllocStats::default();
/// assert_eq!(none.plus(none), none);
/// assert_eq!(none.region_fragmentation(), 0.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AllocStats {
    /// Blocks that are held.
    pub live: u64,
    /// Their bytes.
    pub live_bytes: u64,
    /// The most blocks that were held at once.
    pub high_water: u64,
    /// The most bytes that were held at once.
    pub high_water_bytes: u64,
    /// Blocks that were taken so far.
    pub allocated: u64,
    /// Blocks that were refused by the quota.
    pub refused: u64,
    /// Blocks that were freed because their owner was closed.
    pub swept: u64,
    /// Blocks that were freed because of their age.
    pub expired: u64,
    /// The size of the arena.
    pub arena_bytes: u64,
    /// The most bytes of the arena that were in use at once.
    pub arena_high_water_bytes: u64,
    /// What did not fit the arena, and took a block.
    pub arena_overflows: u64,
    /// The size of the region.
    pub region_bytes: u64,
    /// What is free of it.
    pub region_free_bytes: u64,
    /// The largest block that is sure to fit it.
    pub region_largest_bytes: u64,
    region_ideal_bytes: u64,
}

impl AllocStats {
    /// Returns how much of the free bytes of the region is in pieces: 0 if they are one piece, near 1 if no piece is of
    /// use.
    ///
    /// Added up over instances it is their mean, weighted by what is free.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a ratio: more than 52 bits of it are of no use"
    )]
    pub fn region_fragmentation(&self) -> f64 {
        if self.region_ideal_bytes == 0 {
            return 0.0;
        }
        1.0 - self.region_largest_bytes as f64 / self.region_ideal_bytes as f64
    }

    /// Adds those of another instance; high water adds up to what both together were never above.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            live: self.live + other.live,
            live_bytes: self.live_bytes + other.live_bytes,
            high_water: self.high_water + other.high_water,
            high_water_bytes: self.high_water_bytes + other.high_water_bytes,
            allocated: self.allocated + other.allocated,
            refused: self.refused + other.refused,
            swept: self.swept + other.swept,
            expired: self.expired + other.expired,
            arena_bytes: self.arena_bytes + other.arena_bytes,
            arena_high_water_bytes: self.arena_high_water_bytes + other.arena_high_water_bytes,
            arena_overflows: self.arena_overflows + other.arena_overflows,
            region_bytes: self.region_bytes + other.region_bytes,
            region_free_bytes: self.region_free_bytes + other.region_free_bytes,
            region_largest_bytes: self.region_largest_bytes + other.region_largest_bytes,
            region_ideal_bytes: self.region_ideal_bytes + other.region_ideal_bytes,
        }
    }
}

impl Totals {
    pub(crate) fn stats(&self) -> AllocStats {
        AllocStats {
            live: self.live.get(),
            live_bytes: self.live_bytes.get(),
            high_water: self.high_water.get(),
            high_water_bytes: self.high_water_bytes.get(),
            allocated: self.allocated.get(),
            refused: self.refused.get(),
            swept: self.swept.get(),
            expired: self.expired.get(),
            arena_bytes: self.arena_bytes.get(),
            arena_high_water_bytes: self.arena_high_water_bytes.get(),
            arena_overflows: self.arena_overflows.get(),
            region_bytes: self.region_bytes.get(),
            region_free_bytes: self.region_free_bytes.get(),
            region_largest_bytes: self.region_largest_bytes.get(),
            region_ideal_bytes: self.region_ideal_bytes.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragmentation_adds_up() {
        let halves = AllocStats {
            region_largest_bytes: 512,
            region_ideal_bytes: 1024,
            ..AllocStats::default()
        };
        let whole = AllocStats {
            region_largest_bytes: 1024,
            ..halves
        };
        assert!((halves.region_fragmentation() - 0.5).abs() < 1e-9);
        assert!(whole.region_fragmentation().abs() < 1e-9);
        assert!((halves.plus(whole).region_fragmentation() - 0.25).abs() < 1e-9);
        assert!(
            AllocStats::default().region_fragmentation().abs() < 1e-9,
            "no region"
        );
    }
}
