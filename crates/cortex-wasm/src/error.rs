use std::fmt;

/// What went wrong with a guest.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A block cannot be aligned so, as the guest is to know it by where it begins.
    Alignment {
        /// What was asked for.
        asked: u32,
        /// What the ABI of the guest keeps.
        kept: u32,
    },
    /// A block that was to be taken over has bytes of one that is held already.
    AlreadyHeld {
        /// Where it begins.
        pointer: u32,
    },
    /// A block was freed that is freed already.
    DoubleFree,
    /// The guest's allocator has no block of this size.
    GuestOutOfMemory {
        /// How many bytes it was asked for.
        asked: u64,
    },
    /// The guest's allocator returned a block that is not aligned as its ABI has it.
    Misaligned {
        /// Where the block begins.
        pointer: u32,
        /// What that is to be a multiple of.
        align: u32,
    },
    /// The guest exports no allocator that is known, and has no region that has room.
    NoAllocator,
    /// The ABI of the guest takes no blocks back, and the guest has no region that has room.
    NoFree {
        /// What the ABI is called.
        abi: &'static str,
    },
    /// An export that is to return a pointer returned nothing.
    NoResult {
        /// What it is called.
        export: &'static str,
    },
    /// A block that was to be taken over is at 0.
    NullPointer,
    /// A pointer and a length lie outside of the guest's memory.
    OutOfBounds {
        /// Where the bytes begin.
        pointer: u32,
        /// How many there are.
        length: u64,
        /// How long the memory is.
        memory: u64,
    },
    /// The owner for whom a block was to be held is closed.
    OwnerClosed,
    /// There is a limit, and it is reached.
    Quota {
        /// Of what.
        what: &'static str,
        /// How much there may be.
        limit: u64,
        /// How much there would be.
        asked: u64,
    },
    /// A block is from before the instance was reset.
    Stale,
    /// There are as many tags as there may be.
    TooManyTags {
        /// How many.
        limit: usize,
    },
    /// A block was used that is freed already.
    UseAfterFree,
    /// A block is of another instance.
    WrongInstance,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alignment { asked, kept } => {
                write!(f, "align a block to {asked}: the ABI of the guest keeps {kept}")
            }
            Self::AlreadyHeld { pointer } => {
                write!(
                    f,
                    "take over the block at {pointer}: it has bytes of one that is held"
                )
            }
            Self::DoubleFree => f.write_str("free a block: it is freed already"),
            Self::GuestOutOfMemory { asked } => {
                write!(f, "take {asked} bytes from the guest: it has no such block")
            }
            Self::Misaligned { pointer, align } => {
                write!(
                    f,
                    "use the block at {pointer} that the guest took: it is not aligned to {align}"
                )
            }
            Self::NoAllocator => f.write_str(
                "take memory from the guest: it exports no allocator that is known, and no region has room",
            ),
            Self::NoFree { abi } => {
                write!(
                    f,
                    "own memory of the guest: its ABI, {abi}, takes none back, and no region has room"
                )
            }
            Self::NoResult { export } => write!(f, "take memory from the guest: `{export}` returned nothing"),
            Self::NullPointer => f.write_str("take over a block: it is at 0"),
            Self::OutOfBounds {
                pointer,
                length,
                memory,
            } => write!(f, "use {length} bytes at {pointer} of a memory of {memory}"),
            Self::OwnerClosed => f.write_str("hold a block: its owner is closed"),
            Self::Quota { what, limit, asked } => write!(f, "use {asked} {what} where {limit} are allowed"),
            Self::Stale => f.write_str("use a block: the instance was reset since"),
            Self::TooManyTags { limit } => write!(f, "make a tag: there are {limit} others"),
            Self::UseAfterFree => f.write_str("use a block: it is freed"),
            Self::WrongInstance => f.write_str("use a block: it is of another instance"),
        }
    }
}

impl std::error::Error for Error {}
