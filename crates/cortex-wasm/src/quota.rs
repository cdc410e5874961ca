use crate::error::Error;
use std::fmt;

/// How much an instance may use.
///
/// The limits are over all memories and tables of an instance together, so that a module doesn't come around them with
/// a second memory. A guest that asks for more than `max_bytes` is told so by `memory.grow`, which returns -1; a module
/// that needs more than a limit to begin with is refused.
///
/// # Examples
///
/// ```
/// use cortex_wasm::Quota;
///
/// let quota = Quota::new().max_bytes(16 << 20).max_tables(1);
/// assert_eq!(Quota::default(), Quota::new());
/// assert_ne!(Quota::default(), quota);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Quota {
    pub(crate) max_bytes: u64,
    pub(crate) max_memories: u32,
    pub(crate) max_tables: u32,
    pub(crate) max_table_elements: u32,
    pub(crate) max_live_allocs: u32,
    pub(crate) max_host_calls: u64,
    pub(crate) max_output_bytes: u64,
    pub(crate) stack_bytes: usize,
}

impl Quota {
    /// The least that [`stack_bytes`](Self::stack_bytes) may be: 64 KiB.
    pub const MIN_STACK_BYTES: usize = 64 << 10;
    /// The most that [`stack_bytes`](Self::stack_bytes) may be: 64 MiB.
    pub const MAX_STACK_BYTES: usize = 64 << 20;

    /// Returns limits that suit somebody else's code: 64 MiB in one memory, 4 tables of 65,536 elements together,
    /// 4,096 allocations of the host, a stack of 1 MiB; in each call 1,000,000 calls of host functions and 1 MiB that
    /// they send.
    pub const fn new() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_memories: 1,
            max_tables: 4,
            max_table_elements: 1 << 16,
            max_live_allocs: 4096,
            max_host_calls: 1_000_000,
            max_output_bytes: 1 << 20,
            stack_bytes: 1 << 20,
        }
    }

    /// Sets how many bytes all memories of an instance may have together.
    pub const fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets how many memories an instance may have; each takes 8 GiB of address space, whatever its length.
    pub const fn max_memories(mut self, memories: u32) -> Self {
        self.max_memories = memories;
        self
    }

    /// Sets how many tables an instance may have.
    pub const fn max_tables(mut self, tables: u32) -> Self {
        self.max_tables = tables;
        self
    }

    /// Sets how many elements all tables of an instance may have together.
    ///
    /// What the tables don't need to begin with is dealt evenly to those that can grow.
    pub const fn max_table_elements(mut self, elements: u32) -> Self {
        self.max_table_elements = elements;
        self
    }

    /// Sets how many blocks of a guest's memory the host may hold at once.
    pub const fn max_live_allocs(mut self, blocks: u32) -> Self {
        self.max_live_allocs = blocks;
        self
    }

    /// Sets how many host functions a guest may call while one call of it runs, all told; it fails when it calls more.
    pub const fn max_host_calls(mut self, calls: u64) -> Self {
        self.max_host_calls = calls;
        self
    }

    /// Sets how many bytes host functions may send on behalf of a guest while one call of it runs: what it prints, and
    /// what they count by [`HostCx::output`](crate::HostCx::output).
    pub const fn max_output_bytes(mut self, bytes: u64) -> Self {
        self.max_output_bytes = bytes;
        self
    }

    /// Sets how many bytes of stack guest code is given at least; it traps when it needs more.
    ///
    /// Threads reuse their stacks, so code may get one that another instance wanted larger.
    pub const fn stack_bytes(mut self, bytes: usize) -> Self {
        self.stack_bytes = bytes;
        self
    }

    /// Returns it if all of it can be kept.
    ///
    /// # Errors
    ///
    /// [`Error::Quota`] if the stack is larger than may be, [`Error::StackTooSmall`] if it is smaller.
    pub(crate) const fn checked(self) -> Result<Self, Error> {
        if self.stack_bytes < Self::MIN_STACK_BYTES {
            return Err(Error::StackTooSmall {
                bytes: self.stack_bytes,
                least: Self::MIN_STACK_BYTES,
            });
        }
        if self.stack_bytes > Self::MAX_STACK_BYTES {
            return Err(Error::Quota {
                what: Resource::StackBytes,
                limit: Self::MAX_STACK_BYTES as u64,
                asked: self.stack_bytes as u64,
            });
        }
        Ok(self)
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self::new()
    }
}

/// What there is a limit of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// Bytes of linear memory.
    Bytes,
    /// Host functions that a guest calls.
    HostCalls,
    /// Blocks of a guest's memory that the host holds.
    LiveAllocs,
    /// Memories of an instance.
    Memories,
    /// Bytes that host functions send.
    OutputBytes,
    /// Memories of all instances: each has 8 GiB of address space.
    Slots,
    /// Bytes of stack.
    StackBytes,
    /// Elements of the tables of an instance.
    TableElements,
    /// Tables of an instance.
    Tables,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes of memory",
            Self::HostCalls => "calls of host functions",
            Self::LiveAllocs => "live allocations",
            Self::Memories => "memories",
            Self::OutputBytes => "bytes of output",
            Self::Slots => "memories of all instances",
            Self::StackBytes => "bytes of stack",
            Self::TableElements => "table elements",
            Self::Tables => "tables",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_kept_is_refused_and_says_what_may_be() {
        assert_eq!(Quota::default().checked().unwrap(), Quota::default());
        let least = Quota::new().stack_bytes(Quota::MIN_STACK_BYTES);
        assert_eq!(least.checked().unwrap(), least);
        let error = Quota::new().stack_bytes(8 << 10).checked().unwrap_err();
        assert_eq!(
            error.to_string(),
            "run guests on a stack of 8192 bytes: 65536 are the least"
        );
        let error = Quota::new().stack_bytes(1 << 30).checked().unwrap_err();
        assert_eq!(
            error.to_string(),
            "use 1073741824 bytes of stack where 67108864 are allowed"
        );
    }
}
