use std::fmt;

use super::arena::{At, Shape};
use super::thread::{self, POOL};
use super::walk::Walk;

/// The cells of one metric: they are its own until it is dropped.
///
/// Writes go to the slab of the thread and cost a nanosecond or two; they may be used from any thread at any time, also
/// while the thread ends, but not from a signal handler or a global allocator.
pub(crate) struct Block {
    at: At,
    shape: Shape,
}

impl Block {
    /// Takes cells that are zero.
    pub(crate) fn new(shape: Shape) -> Self {
        let at = POOL.take(shape);
        Self { at, shape }
    }

    /// Adds to a whole number, wrapping around.
    #[inline]
    pub(crate) fn add(&self, index: usize, n: u64) {
        thread::with(self.at, |cells| cells.add(index, n));
    }

    /// Adds to a float.
    #[inline]
    pub(crate) fn add_float(&self, index: usize, n: f64) {
        thread::with(self.at, |cells| cells.add_float(index, n));
    }

    /// Adds one to a count, then a value to a sum: whoever reads that sum first will read the count, too.
    #[inline]
    pub(crate) fn record(&self, count: usize, sum: usize, value: f64) {
        thread::with(self.at, |cells| {
            cells.add(count, 1);
            cells.add_float(sum, value);
        });
    }

    /// Returns a whole number: the sum of all threads.
    pub(crate) fn integer(&self, walk: &Walk<'_>, index: usize) -> u64 {
        walk.integer(self.at, index)
    }

    /// Returns a float: the sum of all threads.
    pub(crate) fn float(&self, walk: &Walk<'_>, index: usize) -> f64 {
        walk.float(self.at, index)
    }

    /// Adds the first whole numbers to those that are there.
    pub(crate) fn integers(&self, walk: &Walk<'_>, sums: &mut [u64]) {
        walk.integers(self.at, sums);
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        POOL.give_back(self.shape, self.at);
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.at.fmt(f)
    }
}
