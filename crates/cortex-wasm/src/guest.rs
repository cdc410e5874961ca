use crate::account::Account;
use crate::alloc::Calls;
use crate::cancel::Service;
use crate::error::Error;
use crate::func::{Func, Params, Results};
use crate::memory::{GlobalHandle, GuestTunables, LinearHandle};
use crate::module::Module;
use crate::runner::Runner;
use crate::shared::Shared;
use crate::trap::Trap;
use std::any::Any;
use std::sync::Arc;
use wasmer::sys::NativeEngineExt;
use wasmer::{Instance, InstantiationError, LinkError, Store, Value};

/// The function that a reactor of WASI has called once, before all others.
const INITIALIZE: &str = "_initialize";

/// A guest in its store: what wasmer has made, and how it is called.
pub(crate) struct Guest {
    /// Those functions that were called before, by their indices in the module.
    functions: Vec<Option<Box<dyn Any>>>,
    instance: Instance,
    pub(crate) memories: Vec<LinearHandle>,
    /// Those of the guest: the ones that were added aren't among them.
    pub(crate) globals: Vec<GlobalHandle>,
    pub(crate) runner: Runner,
}

impl Guest {
    /// Makes one, and runs its start function and `_initialize`.
    pub(crate) fn new(
        shared: &Shared,
        module: &Module,
        account: &Arc<Account>,
        service: &Service,
    ) -> Result<Self, Error> {
        let checks = module.metering().checks;
        let linked = shared.imports.link(module.compiled())?;
        let tunables = GuestTunables::new(module.compiled().info(), &shared.quota, account, &shared.slots)?;
        let mut engine = module.engine().clone();
        engine.set_tunables(tunables.clone());
        let mut store = Store::new(engine);
        let (imports, linkage) = linked.make(&mut store, &shared.quota);
        let made = Instance::new_by_index(&mut store, module.compiled(), &imports);
        let instance = made.map_err(|error| match tunables.refusal() {
            Some(refusal) => refusal,
            None => refused(error),
        })?;
        let mut made = tunables
            .made(&mut store)
            .expect("invariant: the instance is in the store");
        let mut runner = Runner::new(
            store,
            &mut made,
            checks,
            &shared.watch,
            shared.deadline,
            Arc::clone(&shared.clock),
            Arc::clone(&shared.tally),
        );
        let mut memories = made.imported;
        memories.extend(made.memories);
        if let Some(linkage) = linkage {
            runner.bind(linkage, memories.first());
        }
        let mut guest = Self {
            functions: Vec::new(),
            instance,
            memories,
            globals: made.globals,
            runner,
        };
        guest.runner.serve(service.clone());
        shared.tally.instantiated.add();
        if let Some(start) = &module.metering().start {
            guest.call_export(start, &[])?;
        }
        let initialize = module.facts().function(INITIALIZE);
        if initialize.is_some_and(|it| it.params().is_empty() && it.results().is_empty()) {
            guest.call_export(INITIALIZE, &[])?;
        }
        Ok(guest)
    }

    /// Calls a function of its module.
    pub(crate) fn call<P: Params, R: Results>(
        &mut self,
        func: &Func<P, R>,
        arguments: P,
    ) -> Result<R, Error> {
        let index = func.named().index;
        if !matches!(self.functions.get(index), Some(Some(_))) {
            self.find(func)?;
        }
        let Some(Some(found)) = self.functions.get(index) else {
            return Err(Error::no_export(func.name()));
        };
        let result = self
            .runner
            .enter(|store| Func::call(&**found, store, arguments).transpose())?;
        result.ok_or_else(|| Error::no_export(func.name()))
    }

    #[cold]
    fn find<P: Params, R: Results>(&mut self, func: &Func<P, R>) -> Result<(), Error> {
        let index = func.named().index;
        let found = func.find(&self.instance, self.runner.store());
        let found = found.ok_or_else(|| Error::no_export(func.name()))?;
        if self.functions.len() <= index {
            self.functions.resize_with(index + 1, || None);
        }
        self.functions[index] = Some(found);
        Ok(())
    }

    /// Calls an export of any name, which takes `i32`s.
    pub(crate) fn call_export(&mut self, export: &str, arguments: &[i32]) -> Result<Option<i32>, Error> {
        let function = self.instance.exports.get_function(export);
        let function = function.map_err(|_| Error::no_export(export))?.clone();
        let arguments: Vec<_> = arguments.iter().copied().map(Value::I32).collect();
        let results = self.runner.enter(|store| function.call(store, &arguments))?;
        Ok(results.first().and_then(Value::i32))
    }

    /// Says whether there is such an export.
    pub(crate) fn has(&self, export: &str) -> bool {
        self.instance.exports.contains(export)
    }

    /// Returns the memory that pointers are of.
    pub(crate) fn memory(&self) -> Option<&LinearHandle> {
        self.memories.first()
    }
}

impl Calls for Guest {
    fn call(&mut self, export: &'static str, arguments: &[i32]) -> Result<Option<i32>, Error> {
        self.call_export(export, arguments)
    }

    fn memory_len(&self) -> u64 {
        self.memory().map_or(0, |memory| memory.len(self.runner.store()))
    }
}

/// Says why wasmer made no instance.
fn refused(error: InstantiationError) -> Error {
    match error {
        InstantiationError::Start(error) | InstantiationError::Link(LinkError::Trap(error)) => {
            Error::Trap(Box::new(Trap::new(&error)))
        }
        error => Error::Instantiate {
            reason: crate::module::printable(&error.to_string()),
        },
    }
}
