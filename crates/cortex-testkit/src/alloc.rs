#![expect(
    unsafe_code,
    reason = "a global allocator is an unsafe trait; every call goes on to the system's unchanged"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, counting: what is live in the process, and what each thread asked for.
///
/// A test binary installs it once; [`measure`](Self::measure) counts for its own thread only, so tests beside it do
/// not disturb it.
///
/// # Examples
///
/// ```standalone_crate
/// use cortex_testkit::CountingAllocator;
///
/// #[global_allocator]
/// static ALLOCATOR: CountingAllocator = CountingAllocator::new();
///
/// let mut buffer = Vec::with_capacity(64);
/// let (_, usage) = ALLOCATOR.measure(|| buffer.extend_from_slice(b"no allocation"));
/// assert_eq!(usage.allocations, 0);
///
/// let (kept, usage) = ALLOCATOR.measure(|| vec![0_u8; 1000]);
/// assert_eq!((usage.allocations, usage.retained()), (1, 1000));
/// # drop(kept);
/// ```
#[derive(Debug, Default)]
pub struct CountingAllocator {
    live: AtomicUsize,
}

/// What one thread asked of the allocator during a [measured](CountingAllocator::measure) call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Calls that gave out memory; a reallocation is one.
    pub allocations: u64,
    /// Bytes given out.
    pub allocated: u64,
    /// Bytes given back.
    pub freed: u64,
}

thread_local! {
    // Constant and without a destructor: reading it never allocates and works until the thread is gone.
    static THREAD: Cell<Usage> = const { Cell::new(Usage { allocations: 0, allocated: 0, freed: 0 }) };
}

impl CountingAllocator {
    /// Makes the allocator, for a `#[global_allocator]` static.
    pub const fn new() -> Self {
        Self {
            live: AtomicUsize::new(0),
        }
    }

    /// Returns the bytes that the whole process holds now.
    pub fn live_bytes(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Runs `work` and returns what it asked for on this thread.
    ///
    /// # Panics
    ///
    /// This is not the global allocator: the count would be zero whatever `work` does.
    pub fn measure<R>(&self, work: impl FnOnce() -> R) -> (R, Usage) {
        let probe = THREAD.get();
        drop(black_box(Box::new(1_u8)));
        assert_ne!(
            THREAD.get(),
            probe,
            "install the CountingAllocator with #[global_allocator]"
        );
        let before = THREAD.get();
        let result = work();
        (result, THREAD.get().since(before))
    }

    fn gave(&self, bytes: usize) {
        self.live.fetch_add(bytes, Ordering::Relaxed);
        let mut usage = THREAD.get();
        usage.allocations += 1;
        usage.allocated += bytes as u64;
        THREAD.set(usage);
    }

    fn took(&self, bytes: usize) {
        self.live.fetch_sub(bytes, Ordering::Relaxed);
        let mut usage = THREAD.get();
        usage.freed += bytes as u64;
        THREAD.set(usage);
    }
}

impl Usage {
    /// Returns the bytes given out and not given back; negative if more was freed than allocated.
    pub fn retained(&self) -> i64 {
        self.allocated.cast_signed() - self.freed.cast_signed()
    }

    fn since(self, earlier: Self) -> Self {
        Self {
            allocations: self.allocations - earlier.allocations,
            allocated: self.allocated - earlier.allocated,
            freed: self.freed - earlier.freed,
        }
    }
}

// SAFETY: every call goes to `System` with the caller's arguments and its answer goes back unchanged; counting touches
// an atomic and a constant thread-local, and so neither allocates nor unwinds. Tested in `tests/it`.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout` is the one `System` asks for.
        let memory = unsafe { System.alloc(layout) };
        if !memory.is_null() {
            self.gave(layout.size());
        }
        memory
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        let memory = unsafe { System.alloc_zeroed(layout) };
        if !memory.is_null() {
            self.gave(layout.size());
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` came from `System` through this allocator, with this layout.
        unsafe { System.dealloc(memory, layout) };
        self.took(layout.size());
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as in `dealloc`, and the caller's promise about `new_size` is the one `System` asks for.
        let moved = unsafe { System.realloc(memory, layout, new_size) };
        if !moved.is_null() {
            self.gave(new_size);
            self.took(layout.size());
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "#[global_allocator]")]
    fn refuses_to_count_when_it_is_not_installed() {
        CountingAllocator::new().measure(|| ());
    }

    #[test]
    fn retained_may_be_negative() {
        let usage = Usage {
            allocations: 1,
            allocated: 8,
            freed: 24,
        };
        assert_eq!(usage.retained(), -16);
    }
}
