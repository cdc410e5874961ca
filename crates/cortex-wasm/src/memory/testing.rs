//! Guests for tests: real ones, compiled from text.

use super::{GuestTunables, LinearHandle, Made, Slots};
use crate::account::Account;
use crate::error::Error;
use crate::quota::Quota;
use std::env;
use std::process::Command;
use std::sync::Arc;
use wasmer::sys::{EngineBuilder, NativeEngineExt};
use wasmer::{Engine, Imports, Instance, InstantiationError, Module, RuntimeError, Store, Value};

/// What guests are made with.
pub(super) struct Bench {
    pub(super) quota: Quota,
    pub(super) account: Arc<Account>,
    pub(super) slots: Arc<Slots>,
}

/// A guest and its store.
pub(super) struct Guest {
    pub(super) store: Store,
    pub(super) instance: Instance,
    pub(super) made: Made,
}

/// Why there is no guest.
#[derive(Debug)]
pub(super) enum Failure {
    Ours(Error),
    Wasmer(Box<InstantiationError>),
}

impl Bench {
    pub(super) fn new() -> Self {
        let quota = Quota::new();
        Self {
            quota,
            account: Account::root(quota.max_bytes),
            slots: Slots::new(8, 8 << 20, 1 << 20),
        }
    }

    pub(super) fn with(quota: Quota) -> Self {
        Self {
            account: Account::root(quota.max_bytes),
            quota,
            ..Self::new()
        }
    }

    pub(super) fn guest(&self, text: &str) -> Guest {
        self.try_guest(text, Imports::new()).expect("a guest")
    }

    pub(super) fn try_guest(&self, text: &str, imports: Imports) -> Result<Guest, Failure> {
        self.import_guest(text, |_| imports)
    }

    pub(super) fn import_guest(
        &self,
        text: &str,
        imports: impl FnOnce(&mut Store) -> Imports,
    ) -> Result<Guest, Failure> {
        let mut engine: Engine = EngineBuilder::new(wasmer::sys::Cranelift::default())
            .engine()
            .into();
        let wasm = wat::parse_str(text).expect("text of a module");
        let module = Module::new(&engine, wasm).expect("a module");
        let tunables = GuestTunables::new(module.info(), &self.quota, &self.account, &self.slots);
        let tunables = tunables.map_err(Failure::Ours)?;
        engine.set_tunables(tunables.clone());
        let mut store = Store::new(engine);
        let imports = imports(&mut store);
        match Instance::new(&mut store, &module, &imports) {
            Ok(instance) => Ok(Guest {
                made: tunables.made(&mut store).expect("what was made"),
                store,
                instance,
            }),
            Err(error) => Err(match tunables.refusal() {
                Some(error) => Failure::Ours(error),
                None => Failure::Wasmer(Box::new(error)),
            }),
        }
    }

    /// Returns how many bytes are in use, and how many memories.
    pub(super) fn used(&self) -> (u64, usize) {
        (self.account.live(), self.slots.usage().used)
    }
}

impl Guest {
    pub(super) fn memory(&self) -> &LinearHandle {
        &self.made.memories[0]
    }

    /// Calls an export that takes and returns `i32`s.
    pub(super) fn call(&mut self, export: &str, args: &[i32]) -> Result<i32, RuntimeError> {
        let function = self
            .instance
            .exports
            .get_function(export)
            .expect("an export")
            .clone();
        let args: Vec<_> = args.iter().copied().map(Value::I32).collect();
        let results = function.call(&mut self.store, &args)?;
        Ok(results.first().and_then(Value::i32).unwrap_or(0))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.memory().all(&self.store)
    }
}

/// Runs a test in a process of its own, for what holds for all of a process. Returns whether this is that process: then
/// the test goes on.
pub(super) fn is_alone(test: &str) -> bool {
    const MARK: &str = "CORTEX_WASM_ALONE";
    if env::var_os(MARK).is_some() {
        return true;
    }
    let own = env::current_exe().expect("a path");
    let child = Command::new(own).args([test, "--exact"]).env(MARK, "1").output();
    let child = child.expect("a process");
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
    false
}
