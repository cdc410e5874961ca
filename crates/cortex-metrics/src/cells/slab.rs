#![expect(
    unsafe_code,
    reason = "cells are found by pointer, without a bounds check, in a nanosecond"
)]

use std::{fmt, ptr, slice};

use super::arena::At;
use super::sync::{AtomicPtr, AtomicU64, AtomicUsize, Mutex, Ordering, lock};

/// The chunks of a slab, as a power of two. With the sizes below: 67 million cells, 8 KiB of table per thread.
pub(super) const CHUNKS: usize = if cfg!(cortex_loom) { 2 } else { 1024 };

/// The cells of the first chunk: a page.
const FIRST: usize = if cfg!(cortex_loom) { 2 } else { 512 };

/// After so many chunks they stop to double: 64 Ki cells, half a megabyte.
const DOUBLINGS: usize = 7;

/// As many cells as fill two cache lines, which processors fetch in pairs.
const PAD: usize = if cfg!(cortex_loom) { 0 } else { 16 };

/// The cells of one writer, or of all those that share.
///
/// A chunk is made when a cell in it is first written, so a thread has memory only for what it uses.
pub(super) struct Slab {
    /// Null, or the first of the chunk's cells, which are valid until `clear`.
    chunks: [AtomicPtr<AtomicU64>; CHUNKS],
    /// How many of them there are, for who wants to know without the lock.
    made: AtomicUsize,
    /// What was allocated, with the padding.
    owned: Mutex<Vec<(usize, *mut [AtomicU64])>>,
}

// SAFETY: the pointers own memory that is only shared as atomics; `owned` is behind a lock.
unsafe impl Send for Slab {}
// SAFETY: as above.
unsafe impl Sync for Slab {}

/// Returns how many cells a chunk has.
pub(super) const fn size(chunk: usize) -> usize {
    FIRST << if chunk < DOUBLINGS { chunk } else { DOUBLINGS }
}

impl Slab {
    #[cfg(not(cortex_loom))]
    pub(super) const fn new() -> Self {
        Self {
            chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS],
            made: AtomicUsize::new(0),
            owned: Mutex::new(Vec::new()),
        }
    }

    #[cfg(cortex_loom)]
    pub(super) fn new() -> Self {
        Self {
            chunks: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            made: AtomicUsize::new(0),
            owned: Mutex::new(Vec::new()),
        }
    }

    /// Returns the cells at a place if somebody wrote there.
    #[inline]
    pub(super) fn get(&self, at: &At) -> Option<&[AtomicU64]> {
        let chunk = self.chunk(at);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: the chunk has `size(at.chunk())` cells, and `Arena` only makes places inside (`At::new` checks). It
        // lives as long as `self` is borrowed: `drop` has it mutably, and who calls `clear` promises that nobody has a
        // reference into it. That holds because references are lent, by `thread` for as long as the thread has a lease,
        // and by `Readers` for as long as they hold the lock.
        Some(unsafe { slice::from_raw_parts(chunk.add(at.offset()), at.len()) })
    }

    /// Returns the first of the cells at a place if somebody wrote there.
    #[inline]
    pub(super) fn first(&self, at: &At) -> Option<&AtomicU64> {
        let chunk = self.chunk(at);
        if chunk.is_null() {
            return None;
        }
        // SAFETY: as in `get`; a place has at least one cell.
        Some(unsafe { &*chunk.add(at.offset()) })
    }

    /// Returns null or the chunk of a place.
    #[inline]
    fn chunk(&self, at: &At) -> *mut AtomicU64 {
        // SAFETY: `At::new` checks that there is such a chunk.
        let chunk = unsafe { self.chunks.get_unchecked(at.chunk()) };
        // Acquire: who finds a chunk that another thread made finds zeros in it.
        chunk.load(Ordering::Acquire)
    }

    /// Returns the cells at a place, for which memory is allocated if there is none.
    pub(super) fn get_or_make(&self, at: At) -> &[AtomicU64] {
        loop {
            if let Some(cells) = self.get(&at) {
                return cells;
            }
            self.make(at.chunk());
        }
    }

    #[cold]
    fn make(&self, chunk: usize) {
        let mut owned = lock(&self.owned);
        if !self.chunks[chunk].load(Ordering::Acquire).is_null() {
            return; // made by another of the writers that share this slab
        }
        let memory = Box::into_raw(zeros(size(chunk) + PAD));
        let first = memory.cast::<AtomicU64>();
        let skip = if PAD == 0 {
            0
        } else {
            first.align_offset(PAD * 8).min(PAD)
        };
        // SAFETY: `memory` has `PAD` cells more than the chunk and at most `PAD` of them are skipped.
        let first = unsafe { first.add(skip) };
        owned.push((chunk, memory));
        self.chunks[chunk].store(first, Ordering::Release);
        self.made.store(owned.len(), Ordering::Release);
    }

    /// Gives every cell that is not zero to `f`, and frees the memory.
    ///
    /// # Safety
    ///
    /// Nobody else may use the slab meanwhile: its slot is leased by the caller, who also holds the lock of the
    /// readers.
    pub(super) unsafe fn clear(&self, mut f: impl FnMut(usize, usize, u64)) {
        let mut owned = lock(&self.owned);
        for (chunk, memory) in owned.drain(..) {
            let first = self.chunks[chunk].swap(ptr::null_mut(), Ordering::AcqRel);
            // SAFETY: as in `get`; nobody frees it but this function.
            let cells = unsafe { slice::from_raw_parts(first, size(chunk)) };
            for (offset, cell) in cells.iter().enumerate() {
                match cell.load(Ordering::Relaxed) {
                    0 => {}
                    value => f(chunk, offset, value),
                }
            }
            // SAFETY: it came from `Box::into_raw`, and by the contract of this function nobody has a reference.
            drop(unsafe { Box::from_raw(memory) });
        }
        self.made.store(0, Ordering::Release);
    }

    /// Whether somebody wrote to it since it was made or cleared.
    pub(super) fn has_chunks(&self) -> bool {
        self.made.load(Ordering::Acquire) > 0
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: `&mut self`: nobody else has the slab.
        unsafe { self.clear(|_, _, _| {}) }
    }
}

impl fmt::Debug for Slab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab")
            .field("made", &self.made.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

/// Allocates cells that are zero, without touching large ones: the system hands out zeroed pages.
#[cfg(not(cortex_loom))]
fn zeros(len: usize) -> Box<[AtomicU64]> {
    let zeros = Box::into_raw(vec![0_u64; len].into_boxed_slice());
    // SAFETY: `AtomicU64` has the size of `u64` and, where it has 64 bits as here, its alignment.
    unsafe { Box::from_raw(zeros as *mut [AtomicU64]) }
}

#[cfg(cortex_loom)]
fn zeros(len: usize) -> Box<[AtomicU64]> {
    (0..len).map(|_| AtomicU64::new(0)).collect()
}

#[cfg(not(cortex_loom))]
const _: () = assert!(
    align_of::<u64>() == align_of::<AtomicU64>(),
    "64-bit targets only"
);
