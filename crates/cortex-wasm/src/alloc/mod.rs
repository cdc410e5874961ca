//! What the host takes of a guest's memory: blocks that have owners, are freed when it is safe, and are found when they
//! are forgotten.

mod abi;
mod align;
mod arena;
mod extent;
mod frees;
mod guest_box;
mod heap;
mod leak;
mod owner;
mod owners;
mod region;
mod registry;
mod sync;
mod tags;
mod totals;

#[cfg(all(test, not(cortex_loom)))]
mod guest;
#[cfg(all(test, cortex_loom))]
mod model;
#[cfg(all(test, not(cortex_loom)))]
mod tests;

pub use self::abi::{
    AllocDealloc, AssemblyScript, CabiRealloc, Calls, GuestAbi, GuestBlock, MallocFree, Passed, Returned,
};
pub use self::align::Align;
pub(crate) use self::arena::Mark;
pub use self::guest_box::{BlockId, GuestBox};
pub(crate) use self::heap::{Heap, Holder};
pub use self::leak::Leak;
pub use self::owner::{Owner, OwnerRef};
pub use self::tags::{Tag, Tags};
pub use self::totals::AllocStats;
