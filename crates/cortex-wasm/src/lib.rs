#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod alloc;
mod error;

pub use self::alloc::{
    Align, AllocDealloc, AllocStats, AssemblyScript, BlockId, CabiRealloc, Calls, GuestAbi, GuestBlock,
    GuestBox, Leak, MallocFree, Owner, OwnerRef, Passed, Returned, Signature, Signatures, Tag, Tags, detect,
};
pub use self::error::Error;
