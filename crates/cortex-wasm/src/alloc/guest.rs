//! Guests with real allocators, for the tests.

use super::abi::{AllocDealloc, AssemblyScript, CabiRealloc, Calls, GuestAbi, MallocFree};
use crate::Error;
use std::sync::{Arc, LazyLock};
use wasmer::{Function, Instance, Module, Store, Value, imports};

/// First fit over blocks with a header of 16 bytes: size, next free, whether in use, size that was asked for. It traps
/// where it is told to free what is not in use.
const CORE: &str = r#"
  (memory (export "memory") 1 16)
  (global $end (mut i32) (i32.const 1024))
  (global $free (mut i32) (i32.const 0))
  (global $live (mut i32) (i32.const 0))
  (func (export "live") (result i32) (global.get $live))
  (func $used (param $p i32) (result i32) (i32.load (i32.sub (local.get $p) (i32.const 8))))
  (func $asked (param $p i32) (result i32) (i32.load (i32.sub (local.get $p) (i32.const 4))))
  (func $took (param $p i32) (param $asked i32) (result i32)
    (i32.store (i32.sub (local.get $p) (i32.const 8)) (i32.const 1))
    (i32.store (i32.sub (local.get $p) (i32.const 4)) (local.get $asked))
    (global.set $live (i32.add (global.get $live) (i32.const 1)))
    (local.get $p))
  (func $take (param $asked i32) (param $align i32) (result i32)
    (local $n i32) (local $p i32) (local $before i32) (local $next i32)
    (local.set $n (i32.and (i32.add (local.get $asked) (i32.const 15)) (i32.const -16)))
    (local.set $p (global.get $free))
    (block $none (loop $search
      (br_if $none (i32.eqz (local.get $p)))
      (local.set $next (i32.load (i32.sub (local.get $p) (i32.const 12))))
      (if (i32.and
            (i32.ge_u (i32.load (i32.sub (local.get $p) (i32.const 16))) (local.get $n))
            (i32.eqz (i32.and (local.get $p) (i32.sub (local.get $align) (i32.const 1)))))
        (then
          (if (local.get $before)
            (then (i32.store (i32.sub (local.get $before) (i32.const 12)) (local.get $next)))
            (else (global.set $free (local.get $next))))
          (return (call $took (local.get $p) (local.get $asked)))))
      (local.set $before (local.get $p))
      (local.set $p (local.get $next))
      (br $search)))
    (local.set $p (i32.and
      (i32.add (i32.add (global.get $end) (i32.const 15)) (local.get $align))
      (i32.sub (i32.const 0) (local.get $align))))
    (if (i32.gt_u (i32.add (local.get $p) (local.get $n)) (i32.mul (memory.size) (i32.const 65536)))
      (then
        (if (i32.eq (i32.const -1) (memory.grow
              (i32.add (i32.const 1) (i32.div_u (local.get $n) (i32.const 65536)))))
          (then (return (i32.const 0))))))
    (i32.store (i32.sub (local.get $p) (i32.const 16)) (local.get $n))
    (global.set $end (i32.add (local.get $p) (local.get $n)))
    (call $took (local.get $p) (local.get $asked)))
  (func $give (param $p i32)
    (if (i32.ne (call $used (local.get $p)) (i32.const 1)) (then unreachable))
    (i32.store (i32.sub (local.get $p) (i32.const 8)) (i32.const 0))
    (i32.store (i32.sub (local.get $p) (i32.const 12)) (global.get $free))
    (global.set $free (local.get $p))
    (global.set $live (i32.sub (global.get $live) (i32.const 1))))
  (func (export "sum") (param $p i32) (param $n i32) (result i32)
    (local $sum i32)
    (block $done (loop $more
      (br_if $done (i32.eqz (local.get $n)))
      (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $p))))
      (local.set $p (i32.add (local.get $p) (i32.const 1)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br $more)))
    (local.get $sum))
"#;

/// A C program; `keep` returns a block that is the caller's.
pub(super) const MALLOC_FREE: &str = r#"
  (func $malloc (export "malloc") (param i32) (result i32) (call $take (local.get 0) (i32.const 16)))
  (func (export "free") (param i32) (call $give (local.get 0)))
  (func (export "keep") (param i32) (result i32) (call $malloc (local.get 0)))
"#;

/// A plugin in Rust: its blocks are aligned to nothing, and the size has to be right.
pub(super) const ALLOC_DEALLOC: &str = r#"
  (func (export "alloc") (param i32) (result i32)
    (i32.add (call $take (i32.add (local.get 0) (i32.const 16)) (i32.const 16)) (i32.const 1)))
  (func (export "dealloc") (param i32 i32)
    (if (i32.ne (i32.add (local.get 1) (i32.const 16)) (call $asked (i32.sub (local.get 0) (i32.const 1))))
      (then unreachable))
    (call $give (i32.sub (local.get 0) (i32.const 1))))
"#;

/// The same, told the alignment.
pub(super) const ALLOC_DEALLOC_ALIGNED: &str = r#"
  (func (export "alloc") (param i32 i32) (result i32) (call $take (local.get 0) (local.get 1)))
  (func (export "dealloc") (param i32 i32 i32)
    (if (i32.ne (local.get 1) (call $asked (local.get 0))) (then unreachable))
    (if (i32.and (local.get 0) (i32.sub (local.get 2) (i32.const 1))) (then unreachable))
    (call $give (local.get 0)))
"#;

/// A component: `reverse` frees its argument and returns a pair of pointer and length, which `cabi_post_reverse` frees.
pub(super) const CABI_REALLOC: &str = r#"
  (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (if (local.get 0) (then unreachable))
    (call $take (local.get 3) (local.get 2)))
  (func (export "reverse") (param $p i32) (param $n i32) (result i32)
    (local $to i32) (local $at i32) (local $area i32)
    (local.set $to (call $take (local.get $n) (i32.const 1)))
    (block $done (loop $more
      (br_if $done (i32.eq (local.get $at) (local.get $n)))
      (i32.store8
        (i32.add (local.get $to) (local.get $at))
        (i32.load8_u (i32.sub (i32.sub (i32.add (local.get $p) (local.get $n)) (local.get $at)) (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $more)))
    (call $give (local.get $p))
    (local.set $area (call $take (i32.const 8) (i32.const 4)))
    (i32.store (local.get $area) (local.get $to))
    (i32.store offset=4 (local.get $area) (local.get $n))
    (local.get $area))
  (func (export "cabi_post_reverse") (param i32)
    (call $give (i32.load (local.get 0)))
    (call $give (local.get 0)))
"#;

/// `AssemblyScript`: in use is 1 or, pinned, 2, and what is not pinned is collected. `make` returns an object.
pub(super) const ASSEMBLY_SCRIPT: &str = r#"
  (global $class (export "class") (mut i32) (i32.const -1))
  (func $new (export "__new") (param i32 i32) (result i32)
    (global.set $class (local.get 1))
    (call $take (local.get 0) (i32.const 16)))
  (func (export "__pin") (param i32) (result i32)
    (if (i32.ne (call $used (local.get 0)) (i32.const 1)) (then unreachable))
    (i32.store (i32.sub (local.get 0) (i32.const 8)) (i32.const 2))
    (local.get 0))
  (func (export "__unpin") (param i32)
    (if (i32.ne (call $used (local.get 0)) (i32.const 2)) (then unreachable))
    (i32.store (i32.sub (local.get 0) (i32.const 8)) (i32.const 1)))
  (func (export "__collect")
    (local $p i32)
    (local.set $p (i32.const 1040))
    (block $done (loop $more
      (br_if $done (i32.gt_u (local.get $p) (global.get $end)))
      (if (i32.eq (call $used (local.get $p)) (i32.const 1)) (then (call $give (local.get $p))))
      (local.set $p (i32.add (i32.add (local.get $p) (i32.const 16))
        (i32.load (i32.sub (local.get $p) (i32.const 16)))))
      (br $more))))
  (func (export "make") (param i32) (result i32) (call $new (local.get 0) (i32.const 1)))
"#;

/// An allocator that returns what `say` was told, and traps when it is to free 666.
pub(super) const HOSTILE: &str = r#"
  (global $answer (mut i32) (i32.const 0))
  (func (export "say") (param i32) (global.set $answer (local.get 0)))
  (func (export "malloc") (param i32) (result i32) (global.get $answer))
  (func (export "free") (param i32) (if (i32.eq (local.get 0) (i32.const 672)) (then unreachable)))
"#;

/// Returns the ABI of one of these.
pub(super) fn abi(functions: &str) -> Option<Arc<dyn GuestAbi>> {
    Some(match functions {
        ALLOC_DEALLOC => Arc::new(AllocDealloc::new()),
        ALLOC_DEALLOC_ALIGNED => Arc::new(AllocDealloc::new().aligned_alloc(true).aligned_dealloc(true)),
        ASSEMBLY_SCRIPT => Arc::new(AssemblyScript::new()),
        CABI_REALLOC => Arc::new(CabiRealloc),
        HOSTILE | MALLOC_FREE => Arc::new(MallocFree),
        _ => return None,
    })
}

static MODULES: LazyLock<wasmer::Engine> = LazyLock::new(wasmer::Engine::default);

/// Compiles a guest: the core with these functions.
pub(super) fn compile(functions: &str) -> Module {
    let bytes = wat::parse_str(format!("(module {CORE} {functions})")).expect("it is WebAssembly");
    Module::new(&*MODULES, bytes).expect("it compiles")
}

pub(super) struct Guest {
    store: Store,
    instance: Instance,
    pub(super) calls: usize,
}

impl Guest {
    pub(super) fn new(module: &Module) -> Self {
        let mut store = Store::new(MODULES.clone());
        let instance = Instance::new(&mut store, module, &imports! {}).expect("it starts");
        Self {
            store,
            instance,
            calls: 0,
        }
    }

    /// Counts the blocks that the guest's allocator has given out.
    pub(super) fn live(&mut self) -> i32 {
        self.call("live", &[]).expect("it returns").expect("a number")
    }

    pub(super) fn write(&self, pointer: u32, bytes: &[u8]) {
        let memory = self.instance.exports.get_memory("memory").expect("it has one");
        let view = memory.view(&self.store);
        view.write(pointer.into(), bytes).expect("in bounds");
    }

    pub(super) fn read(&self, pointer: u32, length: u32) -> Vec<u8> {
        let memory = self.instance.exports.get_memory("memory").expect("it has one");
        let mut bytes = vec![0; length as usize];
        memory
            .view(&self.store)
            .read(pointer.into(), &mut bytes)
            .expect("in bounds");
        bytes
    }

    pub(super) fn global(&mut self, name: &str) -> i32 {
        let global = self.instance.exports.get_global(name).expect("it has one");
        global.get(&mut self.store).unwrap_i32()
    }
}

impl Calls for Guest {
    fn call(&mut self, export: &'static str, arguments: &[i32]) -> Result<Option<i32>, Error> {
        self.calls += 1;
        let function: &Function = self.instance.exports.get_function(export).expect("it has that");
        let arguments: Vec<_> = arguments.iter().copied().map(Value::I32).collect();
        match function.call(&mut self.store, &arguments) {
            Ok(results) => Ok(results.first().map(Value::unwrap_i32)),
            Err(_) => Err(Error::NoResult { export }), // it trapped
        }
    }

    fn memory_len(&self) -> u64 {
        let memory = self.instance.exports.get_memory("memory").expect("it has one");
        memory.view(&self.store).data_size()
    }
}
