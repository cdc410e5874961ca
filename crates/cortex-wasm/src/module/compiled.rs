use std::fmt;
use std::sync::Arc;

use wasmer::Engine;

use super::{Abi, Facts, ResetPlan};

/// A compiled guest, ready to be instantiated any number of times.
///
/// A clone is the same module. The code is in memory until the last clone and the last instance are dropped; then all
/// of it goes: each module has an engine of its own, since an engine keeps the code of all its modules for as long as
/// it lives.
#[derive(Clone)]
pub struct Module {
    shared: Arc<Shared>,
}

struct Shared {
    name: Box<str>,
    facts: Facts,
    origin: Origin,
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

impl Module {
    pub(super) fn new(
        name: &str,
        facts: Facts,
        origin: Origin,
        compiled: wasmer::Module,
        engine: Engine,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                name: name.into(),
                facts,
                origin,
                compiled,
                engine,
            }),
        }
    }

    /// Returns what the host calls it.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns how the host can allocate in the heap of the guest.
    pub fn abi(&self) -> Abi {
        self.shared.facts.abi
    }

    /// Returns how an instance becomes as new, and if that takes a new one, why.
    pub fn reset_plan(&self) -> &ResetPlan {
        &self.shared.facts.reset_plan
    }

    /// Returns where its code came from.
    pub fn origin(&self) -> Origin {
        self.shared.origin
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
