use crate::quota::Resource;
use std::fmt;
use std::io;
use std::str::Utf8Error;

/// What went wrong with a guest.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// There is no address space for one more memory.
    AddressSpace {
        /// How many bytes a memory reserves.
        bytes: u64,
        /// Why not.
        source: io::Error,
    },
    /// The text of a guest isn't UTF-8.
    NotText {
        /// Where it begins.
        pointer: u32,
        /// How many bytes it has.
        length: u32,
        /// What is wrong with it.
        source: Utf8Error,
    },
    /// A pointer and a length lie outside of the guest's memory.
    OutOfBounds {
        /// Where the bytes begin.
        pointer: u32,
        /// How many there are.
        length: u64,
        /// How long the memory is.
        memory: u64,
    },
    /// The kernel refused to change the pages of a memory.
    Paging {
        /// Why.
        source: io::Error,
    },
    /// There is a limit, and it is reached.
    Quota {
        /// Of what.
        what: Resource,
        /// How much there may be.
        limit: u64,
        /// How much there would be.
        asked: u64,
    },
    /// A memory of the module is to be shared by threads, so that it couldn't be reset.
    SharedMemory {
        /// Which one.
        index: u32,
    },
    /// The stack of guests would be too small for them.
    StackTooSmall {
        /// How many bytes it would have.
        bytes: usize,
        /// How many it has at least.
        least: usize,
    },
}

impl Error {
    pub(crate) fn paging(error: impl Into<io::Error>) -> Self {
        Self::Paging { source: error.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressSpace { bytes, .. } => {
                write!(f, "reserve {bytes} bytes of address space for a memory")
            }
            Self::NotText { pointer, length, .. } => {
                write!(f, "read {length} bytes at {pointer} as text")
            }
            Self::OutOfBounds {
                pointer,
                length,
                memory,
            } => write!(f, "use {length} bytes at {pointer} of a memory of {memory}"),
            Self::Paging { .. } => f.write_str("change the pages of a memory"),
            Self::Quota { what, limit, asked } => {
                write!(f, "use {asked} {what} where {limit} are allowed")
            }
            Self::SharedMemory { index } => {
                write!(
                    f,
                    "run a module whose memory {index} is shared: it could not be reset"
                )
            }
            Self::StackTooSmall { bytes, least } => {
                write!(f, "run guests on a stack of {bytes} bytes: {least} are the least")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::AddressSpace { source, .. } | Self::Paging { source } => Some(source),
            Self::NotText { source, .. } => Some(source),
            _ => None,
        }
    }
}
