use crate::Deadline;
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
    /// A call was not over when its deadline was.
    Timeout {
        /// What it was given.
        deadline: Deadline,
    },
    /// A module's code cannot be made to keep a deadline.
    Unmeterable {
        /// Where in the module, in bytes.
        offset: u64,
        /// What is in the way.
        reason: String,
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
            Self::Timeout { deadline } => write!(f, "finish within {deadline}"),
            Self::Unmeterable { offset, reason } => {
                write!(f, "give the code at byte {offset} a deadline: {reason}")
            }
        }
    }
}

impl std::error::Error for Error {}
