use crate::account::Account;
use crate::alloc::Tags;
use crate::deadline::{Deadline, Watch};
use crate::error::Error;
use crate::host::WasmHost;
use crate::imports::Imports;
use crate::memory::Slots;
use crate::module::{ArtifactCache, Compiler, ModuleLimits};
use crate::quota::Quota;
use crate::reset::Reset;
use crate::shared::Shared;
use crate::tally::Tally;
use cortex_core::{Clock, SystemClock};
use std::fmt;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Sets up a [`WasmHost`].
///
/// # Examples
///
/// ```
/// use cortex_wasm::{Deadline, Error, ModuleLimits, Quota, Reset, WasmHost};
///
/// let host = WasmHost::builder()
///     .quota(Quota::new().max_bytes(8 << 20))
///     .deadline(Deadline::Fuel(50_000_000))
///     .arena(16 << 10)
///     .limits(ModuleLimits::new().bytes(1 << 20))
///     .max_bytes(1 << 30)
///     .reset(Reset::Adaptive)
///     .build()?;
/// assert_eq!(host.live_bytes(), 0);
/// # Ok::<(), Error>(())
/// ```
#[must_use = "nothing is built before `build`"]
pub struct Builder {
    quota: Quota,
    deadline: Deadline,
    reset: Reset,
    imports: Imports,
    arena: u32,
    region: u32,
    max_bytes: u64,
    max_memories: usize,
    idle_bytes: usize,
    compiler: Compiler,
    clock: Arc<dyn Clock>,
}

impl Builder {
    /// How long a call may take unless told.
    const DEADLINE: Duration = Duration::from_secs(1);

    pub(crate) fn new() -> Self {
        Self {
            quota: Quota::new(),
            deadline: Deadline::Wall(Self::DEADLINE),
            reset: Reset::default(),
            imports: Imports::new(),
            arena: 64 << 10,
            region: 0,
            max_bytes: 4 << 30,
            max_memories: 1_000,
            idle_bytes: 64 << 20,
            compiler: Compiler::new(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Bounds what each instance may use: as [`Quota::new`] unless told.
    pub fn quota(mut self, quota: Quota) -> Self {
        self.quota = quota;
        self
    }

    /// Bounds each call of a guest: a second by the clock unless told.
    ///
    /// Whatever it is, calls can be cancelled, and end when nobody waits for them.
    pub fn deadline(mut self, deadline: Deadline) -> Self {
        self.deadline = deadline;
        self
    }

    /// Says how instances become as new: [`Reset::Adaptive`] unless told.
    pub fn reset(mut self, reset: Reset) -> Self {
        self.reset = reset;
        self
    }

    /// Provides functions that guests may import: none unless told.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_wasm::{Error, HostCx, HostError, Imports, WasmHost};
    ///
    /// let imports = Imports::new().function(
    ///     "env",
    ///     "double",
    ///     |_: &mut HostCx<'_>, a: u32| -> Result<u32, HostError> {
    ///         a.checked_mul(2).ok_or_else(|| HostError::new("too much"))
    ///     },
    /// );
    /// let host = WasmHost::builder().imports(imports).build()?;
    /// let wasm = wat::parse_str(
    ///     r#"(module
    ///         (import "env" "double" (func $double (param i32) (result i32)))
    ///         (func (export "quadruple") (param i32) (result i32) (call $double (call $double (local.get 0)))))"#,
    /// ).unwrap();
    /// let module = host.compile("quadruple", &wasm)?;
    /// let quadruple = module.func::<(u32,), u32>("quadruple")?;
    /// let mut guest = host.instantiate(&module)?;
    /// assert_eq!(guest.call(&quadruple, (10,))?, 40);
    /// let error = guest.call(&quadruple, (u32::MAX,)).unwrap_err();
    /// assert_eq!(error.to_string(), "call the host function `env.double`");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn imports(mut self, imports: Imports) -> Self {
        self.imports = imports;
        self
    }

    /// Has each instance take so many bytes of its guest's memory for the arguments of calls, once: 64 KiB unless told.
    pub fn arena(mut self, bytes: u32) -> Self {
        self.arena = bytes;
        self
    }

    /// Has each instance take so many bytes of its guest's memory, and cut blocks from them without calling the guest:
    /// none unless told.
    ///
    /// A guest without an allocator gets pages for that, and for the arena, at the end of its memory. So do not set it
    /// for guests that take all of their memory for theirs.
    pub fn region(mut self, bytes: u32) -> Self {
        self.region = bytes;
        self
    }

    /// Bounds the bytes of memory that all guests have together: 4 GiB unless told.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Bounds the memories that there are at once: 1,000 unless told, and never more than the kernel gives this
    /// process, each of 8 GiB of address space.
    pub fn max_memories(mut self, memories: usize) -> Self {
        self.max_memories = memories;
        self
    }

    /// Lets memories leave pages of so many bytes behind, all together, for those that come next: 64 MiB unless told.
    /// Every ten seconds in which guests run half of them are given back, and by [`WasmHost::decay`].
    pub fn idle_bytes(mut self, bytes: usize) -> Self {
        self.idle_bytes = bytes;
        self
    }

    /// Bounds the modules.
    pub fn limits(mut self, limits: ModuleLimits) -> Self {
        self.compiler = self.compiler.limits(limits);
        self
    }

    /// Keeps the code of modules in a directory, so that it is loaded the next time.
    pub fn artifacts(mut self, cache: ArtifactCache) -> Self {
        self.compiler = self.compiler.cache(cache);
        self
    }

    /// Compiles with so many threads: as many as there are processors unless told, and 4 at most.
    pub fn compile_threads(mut self, threads: NonZero<usize>) -> Self {
        self.compiler = self.compiler.threads(threads);
        self
    }

    /// Bounds the time that compiling a module takes: a minute unless told.
    pub fn compile_time(mut self, most: Duration) -> Self {
        self.compiler = self.compiler.time(most);
        self
    }

    /// Takes the time from another clock than that of the system.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Builds the host, and starts the thread that looks after deadlines.
    ///
    /// # Errors
    ///
    /// [`Error::Quota`] and [`Error::StackTooSmall`] if the quota cannot be kept, [`Error::Thread`] if no thread can be
    /// started.
    pub fn build(self) -> Result<WasmHost, Error> {
        let quota = self.quota.checked()?;
        let watch = Watch::start(Arc::clone(&self.clock)).map_err(|source| Error::Thread { source })?;
        let kept = self.idle_bytes.min(1 << 20);
        Ok(WasmHost {
            shared: Arc::new(Shared {
                quota,
                deadline: self.deadline,
                reset: self.reset,
                imports: self.imports,
                arena: self.arena,
                region: self.region,
                account: Account::root(self.max_bytes),
                slots: Slots::new(self.max_memories, self.idle_bytes, kept),
                watch,
                compiler: self.compiler.clock(Arc::clone(&self.clock)),
                tags: Arc::new(Tags::new()),
                tally: Arc::new(Tally::default()),
                decayed: AtomicU64::new(self.clock.nanos()),
                clock: self.clock,
            }),
        })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("quota", &self.quota)
            .field("deadline", &self.deadline)
            .field("reset", &self.reset)
            .field("arena", &self.arena)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}
