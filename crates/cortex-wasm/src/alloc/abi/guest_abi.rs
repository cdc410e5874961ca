use super::calls::Calls;
use crate::Error;
use crate::alloc::align::Align;
use std::fmt;

/// How the memory of a guest is taken and given back through what it exports.
///
/// Whatever pointer comes out of a guest is looked at by the caller: an adapter need not.
///
/// # Examples
///
/// The adapter of a guest whose exports have names of their own:
///
/// ```
/// use cortex_wasm::{Align, Calls, Error, GuestAbi, GuestBlock};
///
/// #[derive(Debug)]
/// struct Plugin;
///
/// impl GuestAbi for Plugin {
///     fn name(&self) -> &'static str {
///         "plugin"
///     }
///
///     fn alloc(&self, guest: &mut dyn Calls, size: u32, _: Align) -> Result<u32, Error> {
///         guest.pointer("plugin_alloc", &[size.cast_signed()])
///     }
///
///     fn free(&self, guest: &mut dyn Calls, block: GuestBlock) -> Result<(), Error> {
///         guest.call("plugin_free", &[block.pointer.cast_signed()]).map(drop)
///     }
/// }
///
/// struct Fixed;
///
/// impl Calls for Fixed {
///     fn call(&mut self, export: &'static str, _: &[i32]) -> Result<Option<i32>, Error> {
///         Ok((export == "plugin_alloc").then_some(1024))
///     }
///
///     fn memory_len(&self) -> u64 {
///         65_536
///     }
/// }
///
/// assert_eq!(Plugin.alloc(&mut Fixed, 16, Align::BYTE)?, 1024);
/// # Ok::<(), Error>(())
/// ```
pub trait GuestAbi: fmt::Debug + Send + Sync {
    /// Returns its name, for people.
    fn name(&self) -> &'static str;

    /// Says how blocks are aligned for which this alignment is asked. Where that is less, more is asked for and the
    /// rest is slack.
    fn alignment(&self, asked: Align) -> Align {
        let _ = asked;
        Align::BYTE
    }

    /// Takes a block of at least one byte from the guest's allocator; 0 says that there is none.
    ///
    /// # Errors
    ///
    /// The guest did not come back.
    fn alloc(&self, guest: &mut dyn Calls, size: u32, align: Align) -> Result<u32, Error>;

    /// Gives a block back.
    ///
    /// # Errors
    ///
    /// The guest did not come back; [`Error::NoFree`] if it takes nothing back.
    fn free(&self, guest: &mut dyn Calls, block: GuestBlock) -> Result<(), Error>;

    /// Says whether blocks can be given back.
    fn can_free(&self) -> bool {
        true
    }

    /// Says whose a block is once it was passed to an export that takes it through this ABI.
    fn passed(&self) -> Passed {
        Passed::Host
    }

    /// Says whose a block is that an export returned.
    fn returned(&self) -> Returned {
        Returned::Adoptable
    }

    /// Makes a returned block ours, before the guest is called again.
    ///
    /// # Errors
    ///
    /// The guest did not come back.
    fn adopt(&self, guest: &mut dyn Calls, pointer: u32) -> Result<(), Error> {
        let _ = (guest, pointer);
        Ok(())
    }

    /// Makes a block of ours the guest's, just before it is passed to the guest.
    ///
    /// # Errors
    ///
    /// The guest did not come back.
    fn give(&self, guest: &mut dyn Calls, pointer: u32) -> Result<(), Error> {
        let _ = (guest, pointer);
        Ok(())
    }

    /// Returns the export to be called with the results of a function, once what they point to was read.
    fn post_return(&self, function: &str) -> Option<String> {
        let _ = function;
        None
    }

    /// Has the guest collect its own garbage, if it has a collector.
    ///
    /// # Errors
    ///
    /// The guest did not come back.
    fn collect(&self, guest: &mut dyn Calls) -> Result<(), Error> {
        let _ = guest;
        Ok(())
    }
}

/// A block as the guest's allocator knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GuestBlock {
    /// Where it begins.
    pub pointer: u32,
    /// How many bytes were asked for.
    pub size: u32,
    /// With what alignment.
    pub align: Align,
}

/// Whose a block is once it was passed to an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Passed {
    /// The guest's, which frees it.
    Guest,
    /// Ours: freed when its scope ends.
    Host,
    /// Ours, and an object that the guest knows by where it begins: let go when its scope ends.
    Pinned,
}

/// Whose a block is that an export returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Returned {
    /// The guest's, until it is adopted.
    Adoptable,
    /// The guest's: read it, then call [`post_return`](GuestAbi::post_return).
    Lent,
}
