//! Guests that import functions, as the host makes them.
#![expect(
    unsafe_code,
    reason = "keeps a meter together with the store whose globals it uses"
)]

use crate::account::Account;
use crate::deadline::{Checks, Meter, Watch, instrument};
use crate::error::Error;
use crate::imports::{HostUsage, Imports, Linkage};
use crate::memory::{GlobalHandle, GuestTunables, LinearHandle, Slots};
use crate::{Deadline, Quota};
use cortex_core::SystemClock;
use wasmer::sys::{Cranelift, EngineBuilder, NativeEngineExt};
use wasmer::{Engine, Instance, Module, RuntimeError, Store, Value};

pub(crate) struct Guest {
    /// Is dropped before the store.
    meter: Meter,
    linkage: Linkage,
    memory: Option<LinearHandle>,
    instance: Instance,
    store: Store,
    pub(crate) deadline: Deadline,
    /// The next call is stopped as soon as it has begun.
    pub(crate) stop_next: bool,
}

impl Guest {
    pub(crate) fn new(text: &str, imports: &Imports) -> Self {
        Self::with(text, imports, Quota::new())
    }

    pub(crate) fn with(text: &str, imports: &Imports, quota: Quota) -> Self {
        Self::link(text, imports, quota).expect("a guest")
    }

    pub(crate) fn link(text: &str, imports: &Imports, quota: Quota) -> Result<Self, Error> {
        let checks = Checks {
            fuel: true,
            stop: true,
        };
        let wasm = wat::parse_str(text).expect("text of a module");
        let checked = instrument(&wasm, checks)?;
        let mut engine: Engine = EngineBuilder::new(Cranelift::default()).engine().into();
        let module = Module::new(&engine, &checked.wasm).expect("a module");
        let linked = imports.link(&module)?;
        let slots = Slots::new(8, 8 << 20, 1 << 20);
        let tunables = GuestTunables::new(module.info(), &quota, &Account::root(quota.max_bytes), &slots)?;
        engine.set_tunables(tunables.clone());
        let mut store = Store::new(engine);
        let (externs, linkage) = linked.make(&mut store, &quota);
        let linkage = linkage.expect("it imports something");
        let instance = Instance::new_by_index(&mut store, &module, &externs).expect("an instance");
        let made = tunables.made(&mut store).expect("what was made");
        let added = &made.globals[made.globals.len() - 5..];
        let added: Vec<_> = added.iter().map(GlobalHandle::address).collect();
        let watch = Watch::start(SystemClock).expect("a thread");
        // SAFETY: these are the globals that were added, and the meter is dropped before the store.
        let meter = unsafe { Meter::new(&added, checks, &watch) };
        linkage.bind(&mut store, made.memories.first().cloned(), Some(meter.gauge()));
        Ok(Self {
            memory: made.memories.into_iter().next(),
            linkage,
            meter,
            instance,
            store,
            deadline: Deadline::None,
            stop_next: false,
        })
    }

    /// Calls an export, and tells why it failed.
    pub(crate) fn call(&mut self, export: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
        self.try_call(export, arguments).map_err(|error| {
            let error = error.expect("it ended");
            error.downcast().expect("a host function ended it")
        })
    }

    /// As [`call`](Self::call); an error that is none is one of its end.
    pub(crate) fn try_call(
        &mut self,
        export: &str,
        arguments: &[Value],
    ) -> Result<Option<Value>, Result<RuntimeError, Error>> {
        let function = self
            .instance
            .exports
            .get_function(export)
            .expect("an export")
            .clone();
        self.linkage.begin(&mut self.store, self.deadline);
        self.meter.begin(self.deadline, None);
        if self.stop_next {
            self.meter.stopper().expect("it is watched").stop();
        }
        let result = function.call(&mut self.store, arguments);
        self.meter.end();
        self.linkage.end(&mut self.store).map_err(Err)?;
        Ok(result.map_err(Ok)?.first().cloned())
    }

    pub(crate) fn reset(&mut self) {
        self.linkage.reset(&mut self.store);
    }

    pub(crate) fn data<T: 'static>(&mut self) -> Option<&mut T> {
        self.linkage.data(&mut self.store)
    }

    pub(crate) fn usage(&self) -> HostUsage {
        self.linkage.usage(&self.store)
    }

    pub(crate) fn memory(&self) -> &[u8] {
        self.memory.as_ref().expect("a memory").all(&self.store)
    }
}
