use super::arena::At;
use super::pool::Readers;
use super::sync::Ordering;
use super::thread::POOL;

/// The right to sum cells; everybody else who wants to waits, so it is held for short.
///
/// No code of a user may run meanwhile: it could want to read a metric, too.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    readers: Readers<'a>,
}

/// Waits for the right to sum cells.
pub(crate) fn walk() -> Walk<'static> {
    let readers = POOL.read();
    Walk { readers }
}

/// Frees the memory of threads that are gone; what they counted stays.
pub(crate) fn reclaim() {
    POOL.reclaim();
}

impl Walk<'_> {
    /// Returns the first number, which is whole: the sum of all threads.
    pub(crate) fn first(&self, at: At) -> u64 {
        let cells = self.readers.slabs().filter_map(|slab| slab.first(&at));
        cells.fold(0, |sum, cell| sum.wrapping_add(cell.load(Ordering::Relaxed)))
    }

    pub(super) fn float(&self, at: At, index: usize) -> f64 {
        let cells = self.readers.slabs().filter_map(|slab| slab.get(&at));
        // Acquire: see `Block::record`.
        cells
            .map(|cells| f64::from_bits(cells[index].load(Ordering::Acquire)))
            .sum::<f64>()
            + 0.0
    }

    pub(super) fn integer(&self, at: At, index: usize) -> u64 {
        let cells = self.readers.slabs().filter_map(|slab| slab.get(&at));
        cells.fold(0, |sum, cells| {
            sum.wrapping_add(cells[index].load(Ordering::Relaxed))
        })
    }

    pub(super) fn integers(&self, at: At, sums: &mut [u64]) {
        for cells in self.readers.slabs().filter_map(|slab| slab.get(&at)) {
            for (sum, cell) in sums.iter_mut().zip(cells) {
                *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
            }
        }
    }
}
