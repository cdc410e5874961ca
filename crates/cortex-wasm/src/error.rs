use crate::CompileError;
use crate::Deadline;
use crate::imports::{self, Unmet};
use crate::module::printable;
use crate::quota::Resource;
use crate::trap::Trap;
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
    /// Something of the host's can't be an argument or a variable of a guest.
    Argument {
        /// What.
        text: Box<str>,
        /// Why not.
        reason: &'static str,
    },
    /// Nobody waited for the guest any more.
    Cancelled,
    /// Bytes did not become a module.
    Compile(CompileError),
    /// A block was freed that is freed already.
    DoubleFree,
    /// The guest has ended itself, by `proc_exit`.
    Exited {
        /// With this code; nought says that all went well.
        code: u32,
    },
    /// The guest's allocator has no block of this size.
    GuestOutOfMemory {
        /// How many bytes it was asked for.
        asked: u64,
    },
    /// A host function failed.
    Host {
        /// Which one, as `env.now`.
        import: Box<str>,
        /// How.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A host function, or the closure that a guest was run for, panicked.
    HostPanic {
        /// What it said.
        message: Box<str>,
    },
    /// The engine made no instance.
    Instantiate {
        /// Why not.
        reason: Box<str>,
    },
    /// A module imports what nobody provides.
    Link {
        /// What.
        unmet: Box<[Unmet]>,
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
    /// The host keeps no value of a type that a host function uses.
    NoData {
        /// The type.
        of: &'static str,
    },
    /// The module exports no such function.
    NoExport {
        /// What it should be called.
        export: Box<str>,
    },
    /// The ABI of the guest takes no blocks back, and the guest has no region that has room.
    NoFree {
        /// What the ABI is called.
        abi: &'static str,
    },
    /// The guest has no memory that a host function could use.
    NoMemory,
    /// An export that is to return a pointer returned nothing.
    NoResult {
        /// What it is called.
        export: &'static str,
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
    /// The kernel refused to change the pages of a memory.
    Paging {
        /// Why.
        source: io::Error,
    },
    /// A call of the instance broke off, and it was not reset since.
    Poisoned,
    /// The pool of guests could not be built.
    Pool {
        /// Why.
        reason: Box<str>,
    },
    /// The pool of guests is shut down.
    PoolClosed,
    /// The queue of the pool of guests is full.
    PoolExhausted,
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
    /// An exported function has another signature.
    Signature {
        /// What it is called.
        export: Box<str>,
        /// What was asked for.
        expected: Box<str>,
        /// What it has.
        found: Box<str>,
    },
    /// The stack of guests would be too small for them.
    StackTooSmall {
        /// How many bytes it would have.
        bytes: usize,
        /// How many it has at least.
        least: usize,
    },
    /// A block is from before the instance was reset.
    Stale,
    /// The operating system starts no thread.
    Thread {
        /// Why not.
        source: io::Error,
    },
    /// A call was not over when its deadline was.
    Timeout {
        /// What it was given.
        deadline: Deadline,
    },
    /// There are as many tags as there may be.
    TooManyTags {
        /// How many.
        limit: usize,
    },
    /// The guest's code broke off.
    Trap(Box<Trap>),
    /// A module's code cannot be made to keep a deadline.
    Unmeterable {
        /// Where in the module, in bytes.
        offset: u64,
        /// What is in the way.
        reason: String,
    },
    /// A block was used that is freed already.
    UseAfterFree,
    /// A block is of another instance.
    WrongInstance,
    /// A function is of another module.
    WrongModule,
}

impl Error {
    pub(crate) fn no_export(export: &str) -> Self {
        Self::NoExport {
            export: printable(export),
        }
    }

    pub(crate) fn paging(error: impl Into<io::Error>) -> Self {
        Self::Paging { source: error.into() }
    }

    pub(crate) fn host_panic(import: &str, message: &str) -> Self {
        Self::HostPanic {
            message: printable(&format!("in `{import}`: {message}")),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressSpace { bytes, .. } => {
                write!(f, "reserve {bytes} bytes of address space for a memory")
            }
            Self::Alignment { asked, kept } => {
                write!(f, "align a block to {asked}: the ABI of the guest keeps {kept}")
            }
            Self::AlreadyHeld { pointer } => {
                write!(
                    f,
                    "take over the block at {pointer}: it has bytes of one that is held"
                )
            }
            Self::Argument { text, reason } => {
                write!(f, "hand {text:?} to the guest: {reason}")
            }
            Self::Cancelled => f.write_str("finish a call that was cancelled"),
            Self::Compile(error) => error.fmt(f),
            Self::DoubleFree => f.write_str("free a block: it is freed already"),
            Self::Exited { code } => write!(f, "finish: the guest has exited with {code}"),
            Self::GuestOutOfMemory { asked } => {
                write!(f, "take {asked} bytes from the guest: it has no such block")
            }
            Self::Host { import, .. } => write!(f, "call the host function `{import}`"),
            Self::HostPanic { message } => {
                write!(f, "run the host's part of a guest: it panicked: {message}")
            }
            Self::Instantiate { reason } => write!(f, "instantiate the module: {reason}"),
            Self::Link { unmet } => imports::show(unmet, f),
            Self::Misaligned { pointer, align } => {
                write!(
                    f,
                    "use the block at {pointer} that the guest took: it is not aligned to {align}"
                )
            }
            Self::NoAllocator => f.write_str(
                "take memory from the guest: it exports no allocator that is known, and no region has room",
            ),
            Self::NoData { of } => write!(f, "use a `{of}`: none is kept for the guest"),
            Self::NoExport { export } => write!(f, "call `{export}`: the module exports no such function"),
            Self::NoFree { abi } => {
                write!(
                    f,
                    "own memory of the guest: its ABI, {abi}, takes none back, and no region has room"
                )
            }
            Self::NoMemory => f.write_str("use the memory of the guest: it has none"),
            Self::NoResult { export } => write!(f, "take memory from the guest: `{export}` returned nothing"),
            Self::NotText { pointer, length, .. } => {
                write!(f, "read {length} bytes at {pointer} as text")
            }
            Self::NullPointer => f.write_str("take over a block: it is at 0"),
            Self::OutOfBounds {
                pointer,
                length,
                memory,
            } => write!(f, "use {length} bytes at {pointer} of a memory of {memory}"),
            Self::OwnerClosed => f.write_str("hold a block: its owner is closed"),
            Self::Paging { .. } => f.write_str("change the pages of a memory"),
            Self::Poisoned => f.write_str("use a guest of which a call broke off, before it is reset"),
            Self::Pool { reason } => f.write_str(reason),
            Self::PoolClosed => f.write_str("run a guest: its pool is shut down"),
            Self::PoolExhausted => f.write_str("run a guest: the queue of its pool is full"),
            Self::Quota { what, limit, asked } => {
                write!(f, "use {asked} {what} where {limit} are allowed")
            }
            Self::SharedMemory { index } => {
                write!(
                    f,
                    "run a module whose memory {index} is shared: it could not be reset"
                )
            }
            Self::Signature {
                export,
                expected,
                found,
            } => {
                write!(f, "call `{export}` as {expected}: it is {found}")
            }
            Self::StackTooSmall { bytes, least } => {
                write!(f, "run guests on a stack of {bytes} bytes: {least} are the least")
            }
            Self::Stale => f.write_str("use a block: the instance was reset since"),
            Self::Thread { .. } => f.write_str("start a thread"),
            Self::Timeout { deadline } => write!(f, "finish within {deadline}"),
            Self::TooManyTags { limit } => write!(f, "make a tag: there are {limit} others"),
            Self::Trap(trap) => write!(f, "run the guest: {trap}"),
            Self::Unmeterable { offset, reason } => {
                write!(f, "give the code at byte {offset} a deadline: {reason}")
            }
            Self::UseAfterFree => f.write_str("use a block: it is freed"),
            Self::WrongInstance => f.write_str("use a block: it is of another instance"),
            Self::WrongModule => f.write_str("call a function: it is of another module"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::AddressSpace { source, .. } | Self::Paging { source } | Self::Thread { source } => {
                Some(source)
            }
            Self::Host { source, .. } => Some(&**source),
            Self::NotText { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<CompileError> for Error {
    fn from(error: CompileError) -> Self {
        Self::Compile(error)
    }
}
