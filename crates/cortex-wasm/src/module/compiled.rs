use std::fmt;
use std::sync::Arc;

use wasmer::Engine;

use super::{Abi, Facts, ResetPlan};
use crate::Error;
use crate::alloc::GuestAbi;
use crate::deadline::Checks;
use crate::func::{Func, Params, Results};
use crate::module::common::Common;

/// A compiled guest, ready to be instantiated any number of times.
///
/// A clone is the same module. The code is in memory until the last clone and the last instance are dropped; then all
/// of it goes: each module has an engine of its own, since an engine keeps the code of all its modules for as long as
/// it lives.
#[derive(Clone)]
pub struct Module {
    shared: Arc<Shared>,
    /// What was said of how it allocates.
    adapter: Option<Arc<dyn GuestAbi>>,
}

struct Shared {
    name: Box<str>,
    facts: Facts,
    origin: Origin,
    metering: Metering,
    common: Common,
    /// Holds addresses of code that the engine owns, and does not keep the engine: so it is dropped first, and never
    /// handed out alone.
    compiled: wasmer::Module,
    engine: Engine,
}

/// Where the code of a module came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// From the cache of artifacts.
    Artifact,
    /// From the compiler.
    Compiler,
    /// From the compiler, after what the cache had was rejected.
    RejectedArtifact,
}

/// How the code keeps deadlines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metering {
    /// What it looks at.
    pub(crate) checks: Checks,
    /// The export that was the start function.
    pub(crate) start: Option<String>,
}

impl Module {
    pub(super) fn new(
        name: &str,
        facts: Facts,
        origin: Origin,
        metering: Metering,
        compiled: wasmer::Module,
        engine: Engine,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                name: name.into(),
                facts,
                origin,
                metering,
                common: Common::default(),
                compiled,
                engine,
            }),
            adapter: None,
        }
    }

    /// Returns what the host calls it.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns how the host can allocate in the heap of the guest, by what it exports.
    pub fn abi(&self) -> Abi {
        self.shared.facts.abi
    }

    /// Says how the host allocates in the heap of the guest, whatever its exports look like: for names of its own, or
    /// an ABI with settings.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_wasm::{AssemblyScript, Error, WasmHost};
    ///
    /// let host = WasmHost::builder().build()?;
    /// let wasm = wat::parse_str(r#"(module (memory 1))"#).unwrap();
    /// let strings = AssemblyScript::new().class(AssemblyScript::STRING);
    /// let module = host.compile("texts", &wasm)?.with_abi(strings);
    /// // It exports nothing of the kind, as is found when the arena is taken.
    /// assert!(matches!(host.instantiate(&module), Err(Error::NoExport { export }) if &*export == "__new"));
    /// # Ok::<(), Error>(())
    /// ```
    #[must_use]
    pub fn with_abi(mut self, abi: impl GuestAbi + 'static) -> Self {
        self.adapter = Some(Arc::new(abi));
        self
    }

    /// Returns what allocates in the heap of the guest.
    pub(crate) fn adapter(&self) -> Option<Arc<dyn GuestAbi>> {
        self.adapter.clone().or_else(|| self.abi().adapter())
    }

    /// Returns how an instance becomes as new, and if that takes a new one, why.
    pub fn reset_plan(&self) -> &ResetPlan {
        &self.shared.facts.reset_plan
    }

    /// Returns where its code came from.
    pub fn origin(&self) -> Origin {
        self.shared.origin
    }

    /// Finds an exported function, and checks its signature: once, here, and not at each call.
    ///
    /// Parameters are a tuple, the result is a number, a tuple or `()`; signed or unsigned is as you like, for the
    /// guest doesn't tell.
    ///
    /// # Errors
    ///
    /// [`Error::NoExport`] if there is no function of that name, [`Error::Signature`] if it is another one.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_wasm::{Error, WasmHost};
    ///
    /// let host = WasmHost::builder().build()?;
    /// let wasm = wat::parse_str(r#"(module (func (export "one") (result i32) i32.const 1))"#).unwrap();
    /// let module = host.compile("one", &wasm)?;
    /// let one = module.func::<(), u32>("one")?;
    /// assert_eq!(one.name(), "one");
    /// assert!(matches!(module.func::<(), u64>("one"), Err(Error::Signature { .. })));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn func<P: Params, R: Results>(&self, export: &str) -> Result<Func<P, R>, Error> {
        let signature = self.shared.facts.function(export);
        let signature = signature.ok_or_else(|| Error::no_export(export))?;
        Func::new(export, signature, &self.shared.common)
    }

    /// Tells whether both are the same one, and not only alike.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let is_adapted_alike = match (&self.adapter, &other.adapter) {
            (None, None) => true,
            (Some(own), Some(other)) => Arc::ptr_eq(own, other),
            _ => false,
        };
        is_adapted_alike && Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Returns what all instances of it have in common.
    pub(crate) fn common(&self) -> &Common {
        &self.shared.common
    }

    pub(crate) fn metering(&self) -> &Metering {
        &self.shared.metering
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.shared.facts
    }

    /// Returns what to instantiate, in a store that has a clone of the engine and in no other one. A clone of this does
    /// not keep the code.
    pub(crate) fn compiled(&self) -> &wasmer::Module {
        &self.shared.compiled
    }

    /// Returns the engine that owns the code; a clone has tunables of its own and keeps the code.
    pub(crate) fn engine(&self) -> &Engine {
        &self.shared.engine
    }
}

impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Module")
            .field("name", &self.name())
            .field("abi", &self.abi())
            .field("reset_plan", self.reset_plan())
            .field("origin", &self.origin())
            .finish_non_exhaustive()
    }
}
