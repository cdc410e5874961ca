use std::fmt;

use super::arena::{At, Shape};
use super::thread::{self, Cells, POOL};
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

    /// Returns where its cells are, for who wants to write to the first of them without a look at the block.
    ///
    /// Once the block is dropped, they are somebody else's.
    pub(crate) fn at(&self) -> At {
        self.at
    }

    /// Adds to a whole number, wrapping around.
    #[inline]
    pub(crate) fn add(&self, index: usize, n: u64) {
        if !thread::with_own(|slab| slab.get(&self.at), |cells| cells.add(index, n)) {
            self.at.check(index);
            add_slowly(&self.at, index, n);
        }
    }

    /// Adds to a float.
    #[inline]
    pub(crate) fn add_float(&self, index: usize, n: f64) {
        if !thread::with_own(|slab| slab.get(&self.at), |cells| cells.add_float(index, n)) {
            self.at.check(index);
            add_float_slowly(&self.at, index, n);
        }
    }

    /// Adds one to a count, then a value to the sum, which is the last number: whoever reads that sum first will read
    /// the count, too.
    #[inline]
    pub(crate) fn record(&self, count: usize, value: f64) {
        let record = |cells: Cells<'_>| cells.record(count, value);
        if !thread::with_own(|slab| slab.get(&self.at), record) {
            self.at.check(count);
            record_slowly(&self.at, count, value);
        }
    }

    /// Returns a float: the sum of all threads.
    pub(crate) fn float(&self, walk: &Walk<'_>, index: usize) -> f64 {
        walk.float(self.at, index)
    }

    /// Returns a whole number: the sum of all threads.
    pub(crate) fn integer(&self, walk: &Walk<'_>, index: usize) -> u64 {
        walk.integer(self.at, index)
    }

    /// Adds the first whole numbers to those that are there.
    pub(crate) fn integers(&self, walk: &Walk<'_>, sums: &mut [u64]) {
        walk.integers(self.at, sums);
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "a reference is what the slow ways take"
)]
impl At {
    /// Panics if there is no such number, as the short way does: a function of C's convention must not.
    #[inline]
    fn check(&self, index: usize) {
        assert!(
            index < self.len(),
            "invariant: a metric knows how many numbers it has"
        );
    }

    /// Adds to the first number, which is whole, wrapping around.
    #[inline]
    pub(crate) fn add(&self, n: u64) {
        if !thread::with_own(|slab| slab.first(self), |cell| cell.add(n)) {
            add_slowly(self, 0, n);
        }
    }

    /// Adds to the first number, which is a float.
    #[inline]
    pub(crate) fn add_float(&self, n: f64) {
        if !thread::with_own(|slab| slab.first(self), |cell| cell.add_float(n)) {
            add_float_slowly(self, 0, n);
        }
    }
}

// What follows is done when a thread is new, and in chunks that are new to it; or always, if it cannot have a slab. A
// caller that counts in a loop may keep what it likes in registers, because a function of C's convention does not
// unwind, and because the place is a reference: by value it would be put together from its parts on the short way, too.
// A panic that leaves such a function aborts the process, so the index was checked before.

#[cold]
#[inline(never)]
extern "C" fn add_slowly(at: &At, index: usize, n: u64) {
    thread::with_any(*at, |cells| cells.add(index, n));
}

#[cold]
#[inline(never)]
extern "C" fn add_float_slowly(at: &At, index: usize, n: f64) {
    thread::with_any(*at, |cells| cells.add_float(index, n));
}

#[cold]
#[inline(never)]
extern "C" fn record_slowly(at: &At, count: usize, value: f64) {
    thread::with_any(*at, |cells| cells.record(count, value));
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
