#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod account;
mod alloc;
mod builder;
mod cancel;
mod deadline;
mod error;
mod func;
mod guest;
mod guests;
mod host;
mod imports;
mod instance;
mod local;
mod memory;
mod module;
mod quota;
mod reset;
mod runner;
mod scope;
mod shared;
mod shelf;
mod tally;
mod tenant;
mod trap;
mod wasi;

pub use self::alloc::{
    Align, AllocDealloc, AllocStats, AssemblyScript, BlockId, CabiRealloc, Calls, GuestAbi, GuestBlock,
    GuestBox, Leak, MallocFree, Owner, OwnerRef, Passed, Returned, Tag, Tags,
};
pub use self::builder::Builder;
pub use self::deadline::Deadline;
pub use self::error::Error;
pub use self::func::{Func, Params, Results};
pub use self::guests::{Guests, GuestsBuilder};
pub use self::host::WasmHost;
pub use self::imports::{
    AsyncHostFunction, HostCx, HostError, HostFunction, HostResult, HostUsage, Imports, Scalar, Unmet,
    UnmetReason,
};
pub use self::instance::Instance;
pub use self::local::LocalHost;
pub use self::memory::Pod;
pub use self::module::{
    Abi, ArtifactCache, ArtifactStats, CompileError, Module, ModuleLimits, Origin, ResetPlan, Why,
};
pub use self::quota::{Quota, Resource};
pub use self::reset::Reset;
pub use self::scope::{GuestSlice, Scope};
pub use self::tenant::Tenant;
pub use self::trap::{Frame, Trap, TrapCode};
pub use self::wasi::{OutputLine, Stream, Wasi};
