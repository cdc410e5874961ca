//! How guests hand out their memory.

mod alloc_dealloc;
mod assembly_script;
mod cabi_realloc;
mod calls;
mod guest_abi;
mod malloc_free;
mod obtain;

pub use self::alloc_dealloc::AllocDealloc;
pub use self::assembly_script::AssemblyScript;
pub use self::cabi_realloc::CabiRealloc;
pub use self::calls::Calls;
pub use self::guest_abi::{GuestAbi, GuestBlock, Passed, Returned};
pub use self::malloc_free::MallocFree;
pub(super) use self::obtain::{begin, obtain, within};
