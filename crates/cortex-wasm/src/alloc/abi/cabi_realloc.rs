use super::calls::Calls;
use super::guest_abi::{GuestAbi, GuestBlock, Passed, Returned};
use crate::Error;
use crate::alloc::align::Align;

/// The canonical ABI of the component model: `cabi_realloc(0, 0, align, n)`, and `cabi_post_<f>` after a function `f`
/// that returns memory.
///
/// What is passed in belongs to the guest from then on; nothing can be given back, so nothing can be owned but in a
/// region.
///
/// # Examples
///
/// ```
/// use cortex_wasm::{CabiRealloc, GuestAbi, Passed};
///
/// assert!(!CabiRealloc.can_free());
/// assert_eq!(CabiRealloc.passed(), Passed::Guest);
/// assert_eq!(CabiRealloc.post_return("greet").as_deref(), Some("cabi_post_greet"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CabiRealloc;

impl GuestAbi for CabiRealloc {
    fn name(&self) -> &'static str {
        "cabi_realloc"
    }

    fn alignment(&self, asked: Align) -> Align {
        asked
    }

    fn alloc(&self, guest: &mut dyn Calls, size: u32, align: Align) -> Result<u32, Error> {
        let arguments = [0, 0, align.bytes(), size].map(u32::cast_signed);
        guest.pointer("cabi_realloc", &arguments)
    }

    fn free(&self, _: &mut dyn Calls, _: GuestBlock) -> Result<(), Error> {
        Err(Error::NoFree { abi: self.name() })
    }

    fn can_free(&self) -> bool {
        false
    }

    fn passed(&self) -> Passed {
        Passed::Guest
    }

    fn returned(&self) -> Returned {
        Returned::Lent
    }

    fn post_return(&self, function: &str) -> Option<String> {
        Some(format!("cabi_post_{function}"))
    }
}
