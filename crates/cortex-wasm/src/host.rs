use crate::account::Account;
use crate::alloc::Tags;
use crate::builder::Builder;
use crate::cancel::Service;
use crate::error::Error;
use crate::guests::GuestsBuilder;
use crate::instance::Instance;
use crate::local::LocalHost;
use crate::module::{Instrumentation, Module};
use crate::shared::Shared;
use crate::tenant::Tenant;
use std::fmt;
use std::sync::Arc;

/// Runs guests: compiles their modules, makes their instances, and holds all of them to what they may use.
///
/// A clone is the same host.
///
/// # Examples
///
/// ```
/// use cortex_wasm::{Deadline, Error, Quota, WasmHost};
/// use std::time::Duration;
///
/// let host = WasmHost::builder()
///     .quota(Quota::new().max_bytes(16 << 20))
///     .deadline(Deadline::Wall(Duration::from_millis(100)))
///     .build()?;
///
/// let wasm = wat::parse_str(
///     r#"(module
///         (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
///         (func (export "spin") (loop (br 0))))"#,
/// ).unwrap();
/// let module = host.compile("sums", &wasm)?;
/// let add = module.func::<(u32, u32), u32>("add")?;
/// let spin = module.func::<(), ()>("spin")?;
///
/// let mut guest = host.instantiate(&module)?;
/// assert_eq!(guest.call(&add, (40, 2))?, 42);
/// assert!(matches!(guest.call(&spin, ()), Err(Error::Timeout { .. })));
/// guest.reset()?;
/// assert_eq!(guest.call(&add, (40, 2))?, 42);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone)]
pub struct WasmHost {
    pub(crate) shared: Arc<Shared>,
}

impl WasmHost {
    /// Begins to set one up; what isn't set is safe for somebody else's code.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Compiles a module, or loads it from the [artifact cache](Builder::artifacts), and calls it `name` in what is
    /// told of it.
    ///
    /// This takes the processor for a while, and one module is compiled at a time: call it where that may be.
    ///
    /// # Errors
    ///
    /// [`Error::Compile`] if the bytes are no module that may be, [`Error::Unmeterable`] if its code can be held to no
    /// deadline.
    pub fn compile(&self, name: &str, wasm: &[u8]) -> Result<Module, Error> {
        let instrumentation = Instrumentation {
            checks: self.shared.checks(),
            ..Instrumentation::default()
        };
        self.shared.compiler.compile(name, wasm, instrumentation)
    }

    /// Makes an instance, on this thread, where it stays; its memory is charged to the host alone.
    ///
    /// Its start function and `_initialize` run, each under the deadline.
    ///
    /// # Errors
    ///
    /// [`Error::Link`] if something is missing that the module imports, [`Error::Quota`] and [`Error::AddressSpace`] if
    /// it needs more than there may be, [`Error::Trap`] and [`Error::Timeout`] of what runs, and
    /// [`Error::GuestOutOfMemory`] if its allocator has no room for the arena.
    pub fn instantiate(&self, module: &Module) -> Result<Instance, Error> {
        Instance::new(&self.shared, module, &self.shared.account, Service::default())
    }

    /// As [`instantiate`](Self::instantiate), charged to a tenant.
    ///
    /// # Errors
    ///
    /// As there, the tenant's quota among them.
    pub fn instantiate_for(&self, module: &Module, tenant: &Tenant) -> Result<Instance, Error> {
        Instance::new(&self.shared, module, &tenant.account, Service::default())
    }

    /// Adds a tenant, whose guests together have so many bytes of memory at most.
    pub fn tenant(&self, max_bytes: u64) -> Tenant {
        Tenant {
            account: Account::child(&self.shared.account, max_bytes),
        }
    }

    /// Keeps instances for guests that run on this thread.
    pub fn local(&self) -> LocalHost {
        LocalHost::new(&self.shared)
    }

    /// Begins to set up threads on which guests run.
    pub fn guests(&self) -> GuestsBuilder {
        GuestsBuilder::new(&self.shared)
    }

    /// Returns what blocks are called that the host holds in guests.
    pub fn tags(&self) -> &Tags {
        &self.shared.tags
    }

    /// Returns how many bytes of memory all guests have.
    pub fn live_bytes(&self) -> u64 {
        self.shared.account.live()
    }

    /// Returns how many memories there are now.
    pub fn live_memories(&self) -> usize {
        self.shared.slots.usage().used
    }

    /// Gives back half of the pages that memories have left behind. Called now and then, this is how what a burst has
    /// taken fades away.
    pub fn decay(&self) {
        self.shared.slots.decay();
    }
}

impl fmt::Debug for WasmHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("WasmHost").field(&self.shared).finish()
    }
}
