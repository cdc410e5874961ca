//! The globals that the host and the guest both write.
#![expect(
    unsafe_code,
    reason = "a guest's global is memory of its store; it is written from here while the guest runs"
)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicI64, Ordering};
use wasmer::sys::vm::VMGlobalDefinition;

/// Something that several threads read and write.
pub(crate) trait Word: Clone + Send {
    fn get(&self) -> i64;

    fn set(&self, value: i64);

    /// As [`get`](Self::get): what was written before the value is seen as well.
    fn acquire(&self) -> i64;

    /// As [`set`](Self::set): who sees the value sees what was written before it.
    fn release(&self, value: i64);
}

/// A global of 64 bits in a guest, where it stands in memory.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    at: NonNull<i64>,
}

// SAFETY: the pointer is used for atomic loads and stores only, and `new` asks for the memory to be there as long as
// the cell.
unsafe impl Send for Cell {}
impl Cell {
    /// Takes a global of type `i64`.
    ///
    /// # Safety
    ///
    /// The global's store must outlive this and all clones, and while they are used nothing but compiled code and
    /// cells may read or write the global.
    pub(crate) unsafe fn new(global: NonNull<VMGlobalDefinition>) -> Self {
        Self { at: global.cast() }
    }

    fn atomic(&self) -> &AtomicI64 {
        // SAFETY: `new` was promised that the memory is there; a global's storage has 16 bytes and is aligned to
        // them. Compiled code reads and writes it with single aligned instructions, which is what relaxed loads and
        // stores are.
        unsafe { AtomicI64::from_ptr(self.at.as_ptr()) }
    }
}

impl Word for Cell {
    fn get(&self) -> i64 {
        self.atomic().load(Ordering::Relaxed)
    }

    fn set(&self, value: i64) {
        self.atomic().store(value, Ordering::Relaxed);
    }

    fn acquire(&self) -> i64 {
        self.atomic().load(Ordering::Acquire)
    }

    fn release(&self, value: i64) {
        self.atomic().store(value, Ordering::Release);
    }
}
