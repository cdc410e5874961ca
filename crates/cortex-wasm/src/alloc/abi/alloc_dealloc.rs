use super::calls::Calls;
use super::guest_abi::{GuestAbi, GuestBlock};
use crate::Error;
use crate::alloc::align::Align;

/// Rust plugins: `alloc(n[, align])` and `dealloc(p, n[, align])`, which is told the size again.
///
/// # Examples
///
/// ```
/// use cortex_wasm::{Align, AllocDealloc, GuestAbi};
///
/// let plain = AllocDealloc::new();
/// assert_eq!(plain.alignment(Align::of::<u64>()), Align::BYTE, "it was not asked for more");
/// let aligned = plain.aligned_alloc(true).aligned_dealloc(true);
/// assert_eq!(aligned.alignment(Align::of::<u64>()).bytes(), 8);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllocDealloc {
    aligned_alloc: bool,
    aligned_dealloc: bool,
}

impl AllocDealloc {
    /// Returns that of a guest whose functions take no alignment.
    pub const fn new() -> Self {
        Self {
            aligned_alloc: false,
            aligned_dealloc: false,
        }
    }

    /// Has `alloc` take an alignment, or not.
    #[must_use]
    pub const fn aligned_alloc(mut self, is_taken: bool) -> Self {
        self.aligned_alloc = is_taken;
        self
    }

    /// Has `dealloc` take an alignment, or not.
    #[must_use]
    pub const fn aligned_dealloc(mut self, is_taken: bool) -> Self {
        self.aligned_dealloc = is_taken;
        self
    }

    /// What is told of the alignment: to both functions the same. One that is not asked for it aligns to a byte, as far
    /// as we know.
    const fn told(self, align: Align) -> Align {
        if self.aligned_alloc { align } else { Align::BYTE }
    }
}

impl GuestAbi for AllocDealloc {
    fn name(&self) -> &'static str {
        "alloc/dealloc"
    }

    fn alignment(&self, asked: Align) -> Align {
        self.told(asked)
    }

    fn alloc(&self, guest: &mut dyn Calls, size: u32, align: Align) -> Result<u32, Error> {
        let arguments = [size, align.bytes()].map(u32::cast_signed);
        guest.pointer("alloc", &arguments[..=usize::from(self.aligned_alloc)])
    }

    fn free(&self, guest: &mut dyn Calls, block: GuestBlock) -> Result<(), Error> {
        let align = self.told(block.align);
        let arguments = [block.pointer, block.size, align.bytes()].map(u32::cast_signed);
        let told = if self.aligned_dealloc { 3 } else { 2 };
        guest.call("dealloc", &arguments[..told]).map(drop)
    }
}
