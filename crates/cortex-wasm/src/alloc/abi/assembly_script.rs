use super::calls::Calls;
use super::guest_abi::{GuestAbi, GuestBlock, Passed};
use crate::Error;
use crate::alloc::align::Align;

/// `AssemblyScript` with its exported runtime: objects are made by `__new(n, class)`, live while pinned, and are
/// collected by `__collect()`.
///
/// # Examples
///
/// ```
/// use cortex_wasm::{AssemblyScript, GuestAbi, Passed};
///
/// let strings = AssemblyScript::new().class(AssemblyScript::STRING);
/// assert_eq!(strings.passed(), Passed::Pinned);
/// assert_ne!(strings, AssemblyScript::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssemblyScript {
    class: u32,
}

impl AssemblyScript {
    /// The class of an `ArrayBuffer`.
    pub const ARRAY_BUFFER: u32 = 1;
    /// The class of a `String`, which is in UTF-16.
    pub const STRING: u32 = 2;
    /// What its objects are aligned to.
    const KEPT: u32 = 16;

    /// Returns that of a guest which is passed objects of [`ARRAY_BUFFER`](Self::ARRAY_BUFFER).
    pub const fn new() -> Self {
        Self {
            class: Self::ARRAY_BUFFER,
        }
    }

    /// Makes objects of another class.
    #[must_use]
    pub const fn class(mut self, class: u32) -> Self {
        self.class = class;
        self
    }
}

impl Default for AssemblyScript {
    fn default() -> Self {
        Self::new()
    }
}

impl GuestAbi for AssemblyScript {
    fn name(&self) -> &'static str {
        "AssemblyScript"
    }

    fn alignment(&self, asked: Align) -> Align {
        Align::new(Self::KEPT).map_or(Align::BYTE, |kept| kept.min(asked))
    }

    fn alloc(&self, guest: &mut dyn Calls, size: u32, _: Align) -> Result<u32, Error> {
        let pointer = guest.pointer("__new", &[size, self.class].map(u32::cast_signed))?;
        if pointer != 0 {
            self.adopt(guest, pointer)?;
        }
        Ok(pointer)
    }

    fn free(&self, guest: &mut dyn Calls, block: GuestBlock) -> Result<(), Error> {
        self.give(guest, block.pointer)
    }

    fn passed(&self) -> Passed {
        Passed::Pinned
    }

    fn adopt(&self, guest: &mut dyn Calls, pointer: u32) -> Result<(), Error> {
        guest.call("__pin", &[pointer.cast_signed()]).map(drop)
    }

    fn give(&self, guest: &mut dyn Calls, pointer: u32) -> Result<(), Error> {
        guest.call("__unpin", &[pointer.cast_signed()]).map(drop)
    }

    fn collect(&self, guest: &mut dyn Calls) -> Result<(), Error> {
        guest.call("__collect", &[]).map(drop)
    }
}
