//! What functions of WASI return, by the numbers of preview1.

pub(super) const SUCCESS: u32 = 0;
/// There is no such file.
pub(super) const BADF: u32 = 8;
/// An argument is none that there is.
pub(super) const INVAL: u32 = 28;
/// The host has failed.
pub(super) const IO: u32 = 29;
/// There is no such function here.
pub(super) const NOSYS: u32 = 52;
/// It is a stream, which has no places to go to.
pub(super) const SPIPE: u32 = 70;
