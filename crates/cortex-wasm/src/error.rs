use std::fmt;

/// What went wrong with a guest.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A pointer and a length lie outside of the guest's memory.
    OutOfBounds {
        /// Where the bytes begin.
        pointer: u32,
        /// How many there are.
        length: u64,
        /// How long the memory is.
        memory: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfBounds {
                pointer,
                length,
                memory,
            } => write!(f, "use {length} bytes at {pointer} of a memory of {memory}"),
        }
    }
}

impl std::error::Error for Error {}
