#![expect(unsafe_code, reason = "implements a trait of wasmer that has unsafe methods")]

use super::global::{GlobalHandle, Location};
use super::guest::GuestMemory;
use super::home::Home;
use super::linear::{Linear, LinearHandle};
use super::slot::PAGE;
use super::slots::Slots;
use crate::account::Account;
use crate::error::Error;
use crate::quota::{Quota, Resource};
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wasmer::sys::Tunables;
use wasmer::sys::vm::{
    LinearMemory, StoreObject, VMConfig, VMGlobal, VMGlobalDefinition, VMInstance, VMMemory,
    VMMemoryDefinition, VMTable, VMTableDefinition,
};
use wasmer::{
    AsStoreMut, GlobalType, MemoryError, MemoryStyle, MemoryType, ModuleInfo, TableStyle, TableType,
};

/// Makes what an instance consists of: its memories in slots, its tables no larger than they may be.
///
/// For one instance, in one store. What the instance imports is made first, and in the order of its imports. A clone
/// is the same: one goes into the engine of the store, the other one tells what was made.
#[derive(Clone)]
pub(crate) struct GuestTunables(Arc<Inner>);

struct Inner {
    account: Arc<Account>,
    slots: Arc<Slots>,
    config: VMConfig,
    /// How large each table may become: those that are imported, and those that are not.
    ceilings: (Box<[u32]>, Box<[u32]>),
    /// How many memories and globals the instance will have that are not imported.
    expected: (usize, usize),
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    memories: Vec<Arc<Linear>>,
    imported: Vec<Arc<Linear>>,
    globals: Vec<Location>,
    /// How many tables were asked for: to be imported, and others.
    tables: (usize, usize),
    refusal: Option<Error>,
}

/// What an instance consists of, in the order of its module, without what it imports.
#[derive(Debug)]
pub(crate) struct Made {
    /// Its memories.
    pub(crate) memories: Vec<LinearHandle>,
    /// The memories that were made to be imported.
    pub(crate) imported: Vec<LinearHandle>,
    /// Its globals, exported or not, and last those that a middleware added.
    pub(crate) globals: Vec<GlobalHandle>,
}

impl GuestTunables {
    /// Prepares for an instance of this module.
    ///
    /// # Errors
    ///
    /// [`Error::Quota`] if it could not be had within the quota, [`Error::SharedMemory`] if a memory is shared.
    pub(crate) fn new(
        module: &ModuleInfo,
        quota: &Quota,
        account: &Arc<Account>,
        slots: &Arc<Slots>,
    ) -> Result<Self, Error> {
        check_memories(module, quota)?;
        let tables: Vec<_> = module.tables.values().copied().collect();
        let ceilings = ceilings(&tables, quota)?;
        let (imported, own) = ceilings.split_at(module.num_imported_tables);
        Ok(Self(Arc::new(Inner {
            account: Arc::clone(account),
            slots: Arc::clone(slots),
            config: VMConfig {
                wasm_stack_size: Some(quota.stack_bytes),
            },
            ceilings: (imported.into(), own.into()),
            expected: (
                module.memories.len() - module.num_imported_memories,
                module.globals.len() - module.num_imported_globals,
            ),
            log: Mutex::default(),
        })))
    }

    /// Returns why nothing came of the instance, if it was for a quota or for want of memory: wasmer's error says it
    /// in words only.
    pub(crate) fn refusal(&self) -> Option<Error> {
        self.log().refusal.take()
    }

    /// Returns what was made, once the instance is in this store; nothing if it isn't, or a second time.
    ///
    /// An instance whose start function trapped is in its store too: what stopped it can be read, then the store is
    /// dropped.
    pub(crate) fn made(&self, store: &mut impl AsStoreMut) -> Option<Made> {
        let objects = store.objects_mut().as_sys();
        let contexts: Vec<Range<usize>> = VMInstance::list(objects)
            .iter()
            .map(|instance| {
                let start = instance.vmctx_ptr().addr();
                start..start + instance.vmoffsets().size_of_vmctx() as usize
            })
            .collect();
        let lives = |at: usize| contexts.iter().any(|context| context.contains(&at));
        let memories = VMMemory::list(objects);
        let is_here = |linear: &Linear| memories.iter().any(|it| it.vmmemory() == linear.definition());

        let mut log = self.log();
        let mut addresses = log.memories.iter().map(|it| it.definition().addr().get());
        let is_whole = (log.memories.len(), log.globals.len()) == self.0.expected
            && !contexts.is_empty()
            && addresses.all(lives)
            && log.globals.iter().all(|it| lives(it.definition.addr().get()))
            && log.memories.iter().chain(&log.imported).all(|it| is_here(it));
        if !is_whole {
            return None;
        }
        let log = std::mem::take(&mut *log);
        let home = Home::new(store);
        // SAFETY: the memories are in this store, and those that it didn't import are defined in an instance that is
        // in it too, which stays for as long as the store.
        let memory = |linear| unsafe { LinearHandle::new(linear, home.clone()) };
        // SAFETY: the globals are in an instance of this store.
        let global = |location| unsafe { GlobalHandle::new(location, home.clone()) };
        Some(Made {
            memories: log.memories.into_iter().map(memory).collect(),
            imported: log.imported.into_iter().map(memory).collect(),
            globals: log.globals.into_iter().map(global).collect(),
        })
    }

    /// Makes a memory.
    ///
    /// # Safety
    ///
    /// As for [`Linear::new`].
    unsafe fn memory(
        &self,
        ty: &MemoryType,
        definition: Option<NonNull<VMMemoryDefinition>>,
    ) -> Result<VMMemory, MemoryError> {
        let mut log = self.log();
        let made = if ty.shared {
            Err(Error::SharedMemory {
                index: u32::try_from(log.memories.len()).unwrap_or(u32::MAX),
            })
        } else {
            // SAFETY: as the caller promises.
            unsafe { Linear::new(*ty, definition, &self.0.account, &self.0.slots) }
        };
        match made {
            Ok(linear) => {
                let list = match definition {
                    Some(_) => &mut log.memories,
                    None => &mut log.imported,
                };
                list.push(Arc::clone(&linear));
                Ok(VMMemory(Box::new(GuestMemory(linear))))
            }
            Err(error) => Err(MemoryError::Generic(log.refuse(error))),
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for GuestTunables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GuestTunables").field(&*self.log()).finish()
    }
}

impl Log {
    fn refuse(&mut self, error: Error) -> String {
        let text = error.to_string();
        self.refusal = Some(error);
        text
    }
}

impl Tunables for GuestTunables {
    fn memory_style(&self, _memory: &MemoryType) -> MemoryStyle {
        MemoryStyle::Static
    }

    fn table_style(&self, _table: &TableType) -> TableStyle {
        TableStyle::CallerChecksSignature
    }

    fn create_host_memory(&self, ty: &MemoryType, _style: &MemoryStyle) -> Result<VMMemory, MemoryError> {
        // SAFETY: there is no definition that could become invalid.
        unsafe { self.memory(ty, None) }
    }

    unsafe fn create_vm_memory(
        &self,
        ty: &MemoryType,
        _style: &MemoryStyle,
        vm_definition_location: NonNull<VMMemoryDefinition>,
    ) -> Result<VMMemory, MemoryError> {
        // SAFETY: the definition is in the instance. While that is made only wasmer has the memory, and grows it with
        // the instance alone; `made` gives out handles once the instance is in the store.
        unsafe { self.memory(ty, Some(vm_definition_location)) }
    }

    fn create_host_table(&self, ty: &TableType, style: &TableStyle) -> Result<VMTable, String> {
        let mut log = self.log();
        let ty = clamped(ty, &self.0.ceilings.0, &mut log.tables.0);
        VMTable::new(&ty, style)
    }

    unsafe fn create_vm_table(
        &self,
        ty: &TableType,
        style: &TableStyle,
        vm_definition_location: NonNull<VMTableDefinition>,
    ) -> Result<VMTable, String> {
        let mut log = self.log();
        let ty = clamped(ty, &self.0.ceilings.1, &mut log.tables.1);
        // SAFETY: as the caller promises.
        unsafe { VMTable::from_definition(&ty, style, vm_definition_location) }
    }

    unsafe fn create_vm_global(
        &self,
        ty: GlobalType,
        vm_definition_location: NonNull<VMGlobalDefinition>,
    ) -> Result<VMGlobal, String> {
        self.log().globals.push(Location {
            definition: vm_definition_location,
            ty,
        });
        // SAFETY: as the caller promises.
        Ok(unsafe { VMGlobal::new_instance(ty, vm_definition_location) })
    }

    fn vmconfig(&self) -> &VMConfig {
        &self.0.config
    }
}

fn check_memories(module: &ModuleInfo, quota: &Quota) -> Result<(), Error> {
    let memories = &module.memories;
    within(Resource::Memories, quota.max_memories, memories.len() as u64)?;
    if let Some(shared) = memories.values().position(|memory| memory.shared) {
        return Err(Error::SharedMemory {
            index: u32::try_from(shared).unwrap_or(u32::MAX),
        });
    }
    let pages: u64 = memories.values().map(|memory| u64::from(memory.minimum.0)).sum();
    within(Resource::Bytes, quota.max_bytes, pages * PAGE as u64)
}

/// Deals out what tables may have beyond what they begin with, evenly to those that can grow.
fn ceilings(tables: &[TableType], quota: &Quota) -> Result<Vec<u32>, Error> {
    within(Resource::Tables, quota.max_tables, tables.len() as u64)?;
    let least: u64 = tables.iter().map(|table| u64::from(table.minimum)).sum();
    within(Resource::TableElements, quota.max_table_elements, least)?;
    let spare = u64::from(quota.max_table_elements) - least;
    let growing = tables.iter().filter(|table| table.maximum != Some(table.minimum));
    let part = spare / (growing.count() as u64).max(1);
    let ceiling = |table: &TableType| {
        let ceiling = u32::try_from(u64::from(table.minimum) + part).unwrap_or(u32::MAX);
        table.maximum.map_or(ceiling, |most| most.min(ceiling))
    };
    Ok(tables.iter().map(ceiling).collect())
}

/// Lowers the maximum of the table that comes next to its ceiling; one that the module doesn't have gets no element.
fn clamped(table: &TableType, ceilings: &[u32], next: &mut usize) -> TableType {
    let ceiling = ceilings.get(*next).copied().unwrap_or(0);
    *next += 1;
    TableType {
        maximum: Some(table.maximum.map_or(ceiling, |most| most.min(ceiling))),
        ..*table
    }
}

fn within(what: Resource, limit: impl Into<u64>, asked: u64) -> Result<(), Error> {
    let limit = limit.into();
    if asked > limit {
        return Err(Error::Quota { what, limit, asked });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::testing::{Bench, Failure};
    use wasmer::sys::{Cranelift, EngineBuilder, NativeEngineExt};
    use wasmer::{Engine, Imports, Instance, Memory, Module, Store, Table, Type, Value, imports};

    fn refused(bench: &Bench, text: &str) -> Error {
        match bench.try_guest(text, Imports::new()).err().expect("a failure") {
            Failure::Ours(error) => error,
            Failure::Wasmer(error) => panic!("{error}"),
        }
    }

    fn parts(bench: &Bench, text: &str) -> (GuestTunables, Store, Module) {
        let mut engine: Engine = EngineBuilder::new(Cranelift::default()).engine().into();
        let wasm = wat::parse_str(text).expect("text of a module");
        let module = Module::new(&engine, wasm).expect("a module");
        let tunables = GuestTunables::new(module.info(), &bench.quota, &bench.account, &bench.slots);
        let tunables = tunables.expect("a module within its quota");
        engine.set_tunables(tunables.clone());
        (tunables, Store::new(engine), module)
    }

    fn table(minimum: u32, maximum: Option<u32>) -> TableType {
        TableType::new(Type::FuncRef, minimum, maximum)
    }

    #[test]
    fn a_module_that_needs_more_than_its_quota_is_refused_before_anything_is_made() {
        let quota = Quota::new()
            .max_bytes(3 << 16)
            .max_memories(2)
            .max_tables(1)
            .max_table_elements(10);
        let bench = Bench::with(quota);
        for (text, says) in [
            (
                "(module (memory 4))",
                "use 262144 bytes of memory where 196608 are allowed",
            ),
            (
                "(module (memory 2) (memory 2))",
                "use 262144 bytes of memory where 196608 are allowed",
            ),
            (
                "(module (memory 1) (memory 1) (memory 1))",
                "use 3 memories where 2 are allowed",
            ),
            (
                "(module (table 1 funcref) (table 1 funcref))",
                "use 2 tables where 1 are allowed",
            ),
            (
                "(module (table 11 funcref))",
                "use 11 table elements where 10 are allowed",
            ),
            (
                "(module (memory 1) (memory 1 2 shared))",
                "run a module whose memory 1 is shared: it could not be reset",
            ),
        ] {
            assert_eq!(refused(&bench, text).to_string(), says);
            assert_eq!(bench.used(), (0, 0));
        }
    }

    #[test]
    fn a_tenant_without_bytes_left_is_told_so_and_what_was_made_is_given_back() {
        let mut bench = Bench::with(Quota::new().max_memories(2));
        let tenant = Account::root(5 << 16);
        bench.account = tenant.child(u64::MAX);
        let first = bench.guest("(module (memory 2))");
        bench.account = tenant.child(u64::MAX);
        let error = refused(&bench, "(module (memory 2) (memory 2))");
        assert_eq!(
            error.to_string(),
            "use 393216 bytes of memory where 327680 are allowed"
        );
        assert_eq!((tenant.live(), tenant.refused()), (2 << 16, 1));
        drop(first);
        assert_eq!((tenant.live(), bench.slots.usage().used), (0, 0));
    }

    #[test]
    fn the_spare_is_dealt_evenly_to_the_tables_that_grow() {
        let quota = Quota::new().max_tables(4).max_table_elements(100);
        let dealt = |tables: &[TableType]| ceilings(tables, &quota).unwrap();
        assert_eq!(dealt(&[]), [0; 0]);
        assert_eq!(dealt(&[table(10, None)]), [100]);
        assert_eq!(
            dealt(&[table(10, Some(10)), table(5, None), table(5, Some(20))]),
            [10, 45, 20]
        );
        assert_eq!(dealt(&[table(100, None), table(0, None)]), [100, 0]);
        let sum = |tables: &[TableType]| dealt(tables).iter().sum::<u32>();
        assert_eq!(sum(&[table(1, None), table(2, None), table(0, None)]), 99);
    }

    #[test]
    fn a_table_grows_up_to_its_ceiling() {
        let bench = Bench::with(Quota::new().max_table_elements(30));
        let mut guest = bench.guest(
            r#"(module
                (table $fixed 4 4 funcref)
                (table $grows 6 externref)
                (func (export "grow") (param i32) (result i32)
                    (table.grow $grows (ref.null extern) (local.get 0)))
                (func (export "fixed") (result i32) (table.grow $fixed (ref.null func) (i32.const 1))))"#,
        );
        assert_eq!(guest.call("grow", &[21]).unwrap(), -1);
        assert_eq!(guest.call("grow", &[20]).unwrap(), 6);
        assert_eq!(guest.call("grow", &[1]).unwrap(), -1);
        assert_eq!(guest.call("fixed", &[]).unwrap(), -1);
    }

    #[test]
    fn a_stack_is_as_deep_as_asked() {
        const DEEP: &str = r#"(module (func $deep (export "deep") (param i32) (result i32)
            (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
                (else (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1))))))))"#;
        let mut large = Bench::with(Quota::new().stack_bytes(16 << 20)).guest(DEEP);
        assert_eq!(large.call("deep", &[100_000]).unwrap(), 100_000);
        let error = large.call("deep", &[10_000_000]).unwrap_err();
        assert!(error.to_string().contains("stack"), "{error}");
    }

    #[test]
    fn what_was_made_is_told_in_the_order_of_the_module() {
        let bench = Bench::with(Quota::new().max_memories(3));
        let text = r#"(module
            (import "host" "memory" (memory 1 9))
            (import "host" "global" (global i32))
            (memory 2) (memory 3)
            (global (mut i64) (i64.const -7)) (global i32 (i32.const 1)) (global (export "g") (mut f64) (f64.const 0))
            (func (export "grow") (result i32) (memory.grow 0 (i32.const 2))))"#;
        let guest = bench.import_guest(text, |store| {
            let memory = Memory::new(store, MemoryType::new(1, Some(9), false)).expect("a memory");
            let global = wasmer::Global::new(store, Value::I32(3));
            imports! { "host" => { "memory" => memory, "global" => global } }
        });
        let mut guest = guest.unwrap();
        let made = &guest.made;
        let lengths =
            |of: &[LinearHandle]| of.iter().map(|it| it.len(&guest.store) >> 16).collect::<Vec<_>>();
        assert_eq!(
            (lengths(&made.memories), lengths(&made.imported)),
            (vec![2, 3], vec![1])
        );
        let types: Vec<_> = made.globals.iter().map(|it| it.ty().ty).collect();
        assert_eq!(types, [Type::I64, Type::I32, Type::F64]);
        assert_eq!(made.globals[0].value(&guest.store), Some(-7));
        assert_eq!(bench.used(), (6 << 16, 3));

        assert_eq!(guest.call("grow", &[]).unwrap(), 1);
        assert_eq!(guest.made.imported[0].len(&guest.store), 3 << 16);
        assert_eq!(bench.account.live(), 8 << 16);
        drop(guest);
        assert_eq!(bench.used(), (0, 0));
    }

    #[test]
    fn what_the_host_makes_to_be_imported_is_within_the_quota_too() {
        let bench = Bench::with(Quota::new().max_table_elements(12));
        let text = r#"(module
            (import "host" "table" (table $imported 5 funcref))
            (table $own 3 funcref)
            (func (export "imported") (param i32) (result i32) (table.grow $imported (ref.null func) (local.get 0)))
            (func (export "own") (param i32) (result i32) (table.grow $own (ref.null func) (local.get 0))))"#;
        let guest = bench.import_guest(text, |store| {
            let error = Memory::new(store, MemoryType::new(1, Some(2), true)).expect_err("it is shared");
            assert!(error.to_string().contains("shared"), "{error}");
            for (least, most) in [(65_537, None), (3, Some(2)), (70_000, Some(80_000))] {
                let error = Memory::new(store, MemoryType::new(least, most, false)).expect_err("too long");
                assert!(error.to_string().contains("bytes of memory where"), "{error}");
            }
            let null = Value::FuncRef(None);
            let table = Table::new(store, table(5, None), null.clone()).expect("a table");
            Table::new(store, self::table(1, None), null).expect_err("the module imports one only");
            imports! { "host" => { "table" => table } }
        });
        let mut guest = guest.unwrap();
        for (export, before) in [("imported", 5), ("own", 3)] {
            assert_eq!(
                guest.call(export, &[3]).unwrap(),
                -1,
                "the spare is 4, two for each"
            );
            assert_eq!(guest.call(export, &[2]).unwrap(), before);
        }
    }

    #[test]
    fn what_is_in_no_store_or_in_another_one_is_not_given_out() {
        let bench = Bench::new();
        let text = "(module (memory 1) (global (mut i32) (i32.const 0)))";
        let (tunables, mut store, module) = parts(&bench, text);
        let mut other = Store::new(store.engine().clone());
        assert!(tunables.made(&mut store).is_none(), "before there is anything");
        Instance::new(&mut store, &module, &Imports::new()).unwrap();
        assert!(tunables.made(&mut other).is_none(), "in another store");
        assert!(tunables.made(&mut store).is_some());
        assert!(tunables.made(&mut store).is_none(), "only once");
        Instance::new(&mut store, &module, &Imports::new()).unwrap();
        Instance::new(&mut store, &module, &Imports::new()).unwrap();
        assert!(tunables.made(&mut store).is_none(), "of one instance only");

        let (tunables, mut store, module) = parts(&bench, "(module)");
        assert!(
            tunables.made(&mut store).is_none(),
            "nothing is needed, and there is no instance"
        );
        Instance::new(&mut store, &module, &Imports::new()).unwrap();
        let mut other = Store::new(store.engine().clone());
        Memory::new(&mut other, MemoryType::new(1, None, false)).unwrap();
        assert!(
            tunables.made(&mut store).is_none(),
            "one memory is in another store"
        );
    }

    #[test]
    fn an_instance_whose_start_failed_is_in_the_store_and_gone_with_it() {
        let bench = Bench::new();
        let (tunables, mut store, module) = parts(
            &bench,
            r"(module (memory 2) (global $g (mut i64) (i64.const 1))
                (func $start (global.set $g (i64.const -5)) unreachable) (start $start))",
        );
        Instance::new(&mut store, &module, &Imports::new()).unwrap_err();
        let made = tunables.made(&mut store).unwrap();
        assert_eq!(made.globals[0].value(&store), Some(-5));
        assert!(made.globals[0].set_value(&mut store, 9));
        assert_eq!(made.globals[0].value(&store), Some(9));
        assert_eq!(bench.used(), (2 << 16, 1));
        drop((store, made, tunables));
        assert_eq!(bench.used(), (0, 0));
    }
}
