use std::fmt;

use crate::CompileError;

/// What went wrong with a guest.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Bytes did not become a module.
    Compile(CompileError),
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
            Self::Compile(error) => error.fmt(f),
            Self::OutOfBounds {
                pointer,
                length,
                memory,
            } => write!(f, "use {length} bytes at {pointer} of a memory of {memory}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<CompileError> for Error {
    fn from(error: CompileError) -> Self {
        Self::Compile(error)
    }
}
