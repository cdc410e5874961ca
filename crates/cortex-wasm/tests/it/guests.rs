//! Guests for tests: real ones, compiled from text.

use cortex_wasm::{Builder, Deadline, Error, Instance, Module, WasmHost};
use std::time::Duration;

pub(crate) fn host() -> WasmHost {
    build(WasmHost::builder())
}

/// So long a guest may run that runs for ever: whatever does not has enough, even if the machine is busy.
pub(crate) const SHORT: Duration = Duration::from_millis(250);

/// Builds a host whose guests have little time.
pub(crate) fn hasty() -> WasmHost {
    build(WasmHost::builder().deadline(Deadline::Wall(SHORT)))
}

pub(crate) fn build(builder: Builder) -> WasmHost {
    builder.build().expect("the host is built")
}

pub(crate) fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text is a module")
}

pub(crate) fn module(host: &WasmHost, text: &str) -> Module {
    host.compile("guest", &wasm(text)).expect("the module compiles")
}

pub(crate) fn guest(host: &WasmHost, text: &str) -> Instance {
    host.instantiate(&module(host, text)).expect("the guest begins")
}

/// Calls a function that takes and returns nothing.
pub(crate) fn run(guest: &mut Instance, export: &str) -> Result<(), Error> {
    let func = guest.module().func::<(), ()>(export)?;
    guest.call(&func, ())
}

/// Calls a function that returns a number.
pub(crate) fn get(guest: &mut Instance, export: &str) -> Result<u32, Error> {
    let func = guest.module().func::<(), u32>(export)?;
    guest.call(&func, ())
}

/// An allocator as simple as can be: it never takes back, and counts what it gave and what was freed.
pub(crate) const MALLOC: &str = r#"
    (global $top (mut i32) (i32.const 1024))
    (global $given (mut i32) (i32.const 0))
    (global $freed (mut i32) (i32.const 0))
    (func $malloc (export "malloc") (param i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
        (global.set $top (i32.add (local.get $at) (local.get 0)))
        (if (i32.gt_u (global.get $top) (i32.mul (memory.size) (i32.const 65536)))
            (then (if (i32.eq (memory.grow (i32.const 4)) (i32.const -1)) (then (return (i32.const 0))))))
        (global.set $given (i32.add (global.get $given) (i32.const 1)))
        (local.get $at))
    (func (export "free") (param i32)
        (global.set $freed (i32.add (global.get $freed) (i32.const 1))))
    (func (export "given") (result i32) (global.get $given))
    (func (export "freed") (result i32) (global.get $freed))"#;

/// A guest with that allocator, which adds up bytes.
pub(crate) fn summing() -> String {
    format!(
        r#"(module (memory (export "memory") 4) {MALLOC}
        (func (export "sum") (param $at i32) (param $n i32) (result i32)
            (local $sum i32)
            (block $done (loop $next
                (br_if $done (i32.eqz (local.get $n)))
                (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $at))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                (br $next)))
            (local.get $sum))
        (func (export "block") (result i32) (call $malloc (i32.const 100)))
        (func (export "trap") (unreachable)))"#
    )
}
