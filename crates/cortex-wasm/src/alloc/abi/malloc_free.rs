use super::calls::Calls;
use super::guest_abi::{GuestAbi, GuestBlock};
use crate::Error;
use crate::alloc::align::Align;

/// C: `malloc(n)` and `free(p)`.
///
/// # Examples
///
/// ```
/// use cortex_wasm::{Align, GuestAbi, MallocFree, Passed};
///
/// assert_eq!(MallocFree.passed(), Passed::Host);
/// assert_eq!(MallocFree.alignment(Align::of::<u32>()).bytes(), 4);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MallocFree;

impl MallocFree {
    /// What small allocators of C align to; others align to 16, which then is but slack.
    const KEPT: u32 = 8;
}

impl GuestAbi for MallocFree {
    fn name(&self) -> &'static str {
        "malloc/free"
    }

    fn alignment(&self, asked: Align) -> Align {
        Align::new(Self::KEPT).map_or(Align::BYTE, |kept| kept.min(asked))
    }

    fn alloc(&self, guest: &mut dyn Calls, size: u32, _: Align) -> Result<u32, Error> {
        guest.pointer("malloc", &[size.cast_signed()])
    }

    fn free(&self, guest: &mut dyn Calls, block: GuestBlock) -> Result<(), Error> {
        guest.call("free", &[block.pointer.cast_signed()]).map(drop)
    }
}
