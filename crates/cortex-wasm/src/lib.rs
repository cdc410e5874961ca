#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod account;
mod alloc;
mod deadline;
mod error;
mod memory;
mod module;
mod quota;

pub use self::alloc::{
    Align, AllocDealloc, AllocStats, AssemblyScript, BlockId, CabiRealloc, Calls, GuestAbi, GuestBlock,
    GuestBox, Leak, MallocFree, Owner, OwnerRef, Passed, Returned, Tag, Tags,
};
pub use self::deadline::Deadline;
pub use self::error::Error;
pub use self::memory::Pod;
pub use self::module::{
    Abi, ArtifactCache, ArtifactStats, CompileError, Module, ModuleLimits, Origin, ResetPlan, Why,
};
pub use self::quota::{Quota, Resource};
