//! Guests that are held to a deadline, as the host will hold them.
#![expect(unsafe_code, reason = "finds the globals of a guest as the host will")]

use crate::deadline::checks::{Checked, Checks, instrument};
use crate::deadline::limit::Deadline;
use crate::deadline::meter::{Ended, Meter};
use crate::deadline::watch::Watch;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex};
use wasmer::sys::vm::{
    MemoryError, MemoryStyle, TableStyle, TrapCode, VMGlobal, VMGlobalDefinition, VMMemory,
    VMMemoryDefinition, VMTable, VMTableDefinition,
};
use wasmer::sys::{BaseTunables, Cranelift, EngineBuilder, Features, NativeEngineExt, Tunables};
use wasmer::{
    Engine, GlobalType, Imports, Instance, MemoryType, Module, RuntimeError, Store, TableType, Value,
};

pub(super) const FUEL: Checks = Checks {
    fuel: true,
    stop: false,
};
pub(super) const STOP: Checks = Checks {
    fuel: false,
    stop: true,
};
pub(super) const BOTH: Checks = Checks {
    fuel: true,
    stop: true,
};

/// Notes where the globals are, and does all else as always.
#[derive(Clone, Default)]
struct Recording {
    globals: Arc<Mutex<Vec<AtomicPtr<VMGlobalDefinition>>>>,
}

impl Tunables for Recording {
    fn memory_style(&self, ty: &MemoryType) -> MemoryStyle {
        BaseTunables::new().memory_style(ty)
    }

    fn table_style(&self, ty: &TableType) -> TableStyle {
        BaseTunables::new().table_style(ty)
    }

    fn create_host_memory(&self, ty: &MemoryType, style: &MemoryStyle) -> Result<VMMemory, MemoryError> {
        BaseTunables::new().create_host_memory(ty, style)
    }

    unsafe fn create_vm_memory(
        &self,
        ty: &MemoryType,
        style: &MemoryStyle,
        at: NonNull<VMMemoryDefinition>,
    ) -> Result<VMMemory, MemoryError> {
        // SAFETY: the caller's promise is passed on.
        unsafe { BaseTunables::new().create_vm_memory(ty, style, at) }
    }

    fn create_host_table(&self, ty: &TableType, style: &TableStyle) -> Result<VMTable, String> {
        BaseTunables::new().create_host_table(ty, style)
    }

    unsafe fn create_vm_table(
        &self,
        ty: &TableType,
        style: &TableStyle,
        at: NonNull<VMTableDefinition>,
    ) -> Result<VMTable, String> {
        // SAFETY: the caller's promise is passed on.
        unsafe { BaseTunables::new().create_vm_table(ty, style, at) }
    }

    unsafe fn create_vm_global(
        &self,
        ty: GlobalType,
        at: NonNull<VMGlobalDefinition>,
    ) -> Result<VMGlobal, String> {
        let mut globals = self.globals.lock().expect("nobody panics here");
        globals.push(AtomicPtr::new(at.as_ptr()));
        // SAFETY: the caller's promise is passed on.
        unsafe { BaseTunables::new().create_vm_global(ty, at) }
    }
}

pub(super) struct Guest {
    pub(super) meter: Meter,
    pub(super) checked: Checked<'static>,
    pub(super) instance: Instance,
    pub(super) store: Store,
}

pub(super) fn bytes(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).expect("the text is a module")
}

pub(super) fn engine() -> Engine {
    let mut features = Features::default();
    features.threads(false);
    EngineBuilder::new(Cranelift::default())
        .set_features(Some(features))
        .engine()
        .into()
}

pub(super) fn compile(engine: &Engine, checked: &Checked<'_>) -> Module {
    Module::new(engine, &checked.wasm).expect("what is written is a module")
}

impl Guest {
    pub(super) fn new(wat: &str, checks: Checks, watch: &Watch) -> Self {
        Self::with(wat, checks, watch, |_| Imports::new())
    }

    pub(super) fn with(
        wat: &str,
        checks: Checks,
        watch: &Watch,
        imports: impl FnOnce(&mut Store) -> Imports,
    ) -> Self {
        let wasm = bytes(wat);
        let checked = instrument(&wasm, checks).expect("it can keep a deadline");
        let checked = Checked {
            wasm: checked.wasm.into_owned().into(),
            ..checked
        };
        let mut engine = engine();
        let module = compile(&engine, &checked);
        let recording = Recording::default();
        engine.set_tunables(recording.clone());
        let mut store = Store::new(engine);
        let imports = imports(&mut store);
        let instance = Instance::new(&mut store, &module, &imports).expect("it is instantiated");
        let globals = recording.globals.lock().expect("nobody panics here");
        let globals: Vec<NonNull<VMGlobalDefinition>> = globals
            .iter()
            .map(|at| NonNull::new(at.load(Ordering::Relaxed)).expect("a global is somewhere"))
            .collect();
        let local = |index: u32| usize::try_from(index - checked.imported_globals).expect("they are few");
        let added = &globals[local(checked.globals.start)..local(checked.globals.end)];
        // SAFETY: these are the last globals, and the meter is dropped before the store.
        let meter = unsafe { Meter::new(added, checks, watch) };
        Self {
            meter,
            checked,
            instance,
            store,
        }
    }

    pub(super) fn call(
        &mut self,
        name: &str,
        arguments: &[Value],
        deadline: Deadline,
    ) -> (Result<Box<[Value]>, RuntimeError>, Ended) {
        let function = self
            .instance
            .exports
            .get_function(name)
            .expect("it is exported")
            .clone();
        self.meter.begin(deadline, None);
        let result = function.call(&mut self.store, arguments);
        (result, self.meter.end())
    }

    pub(super) fn memory(&self, name: &str) -> Vec<u8> {
        let memory = self.instance.exports.get_memory(name).expect("it is exported");
        memory.view(&self.store).copy_to_vec().expect("it is all there")
    }

    pub(super) fn global(&mut self, name: &str) -> u64 {
        let global = self
            .instance
            .exports
            .get_global(name)
            .expect("it is exported")
            .clone();
        global.get(&mut self.store).unwrap_i64().cast_unsigned()
    }

    /// Runs out of time, and says how much it has used.
    pub(super) fn times_out(&mut self, name: &str, arguments: &[Value], deadline: Deadline) -> Ended {
        let (result, ended) = self.call(name, arguments, deadline);
        let trap = result.expect_err("it runs for ever").to_trap();
        assert_eq!(trap, Some(TrapCode::UnreachableCodeReached));
        assert!(ended.is_over, "{ended:?}");
        ended
    }
}

pub(super) fn unwatched() -> Watch {
    Watch::unwatched()
}
