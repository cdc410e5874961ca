#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod alloc;
mod error;

pub use self::alloc::{
    Align, AllocDealloc, AllocStats, AssemblyScript, BlockId, CabiRealloc, Calls, GuestAbi, GuestBlock,
    GuestBox, Leak, MallocFree, Owner, OwnerRef, Passed, Returned, Tag, Tags,
};
pub use self::error::Error;
