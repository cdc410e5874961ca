use crate::cancel::Service;
use crate::error::Error;
use crate::instance::Instance;
use crate::module::Module;
use crate::shared::Shared;
use crate::shelf::Shelf;
use crate::tenant::Tenant;
use std::sync::Arc;

/// Runs guests on the thread where it is, and keeps their instances for the next ones; made by
/// [`WasmHost::local`](crate::WasmHost::local).
///
/// # Examples
///
/// ```
/// use cortex_wasm::{Error, WasmHost};
///
/// let host = WasmHost::builder().build()?;
/// let wasm = wat::parse_str(
///     r#"(module (global $calls (mut i32) (i32.const 0))
///         (func (export "next") (result i32)
///             (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
///             (global.get $calls)))"#,
/// ).unwrap();
/// let module = host.compile("counter", &wasm)?;
/// let next = module.func::<(), u32>("next")?;
/// let tenant = host.tenant(16 << 20);
///
/// let mut local = host.local();
/// for _ in 0..3 {
///     // The same instance, and each time as new.
///     assert_eq!(local.run(&module, &tenant, |guest| guest.call(&next, ()))??, 1);
/// }
/// assert_eq!(local.idle(), 1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct LocalHost {
    shelf: Shelf,
}

impl LocalHost {
    /// So many instances wait unless told, and of one module.
    const IDLE: (usize, usize) = (16, 1);

    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shelf: Shelf::new(shared, Self::IDLE.0, Self::IDLE.1),
        }
    }

    /// Runs a closure with an instance that is as new, for a tenant.
    ///
    /// # Errors
    ///
    /// As [`WasmHost::instantiate_for`](crate::WasmHost::instantiate_for); what the closure returns is beside that.
    pub fn run<R>(
        &mut self,
        module: &Module,
        tenant: &Tenant,
        run: impl FnOnce(&mut Instance) -> R,
    ) -> Result<R, Error> {
        self.shelf.lease(module, tenant, Service::default(), run)
    }

    /// Returns how many instances wait.
    pub fn idle(&self) -> usize {
        self.shelf.len()
    }

    /// Lets the instances go that wait.
    pub fn clear(&mut self) {
        self.shelf.clear();
    }
}
