//! Whatever happened to an instance, a reset makes it just like a fresh one.

use crate::guests::{build, module, run};
use cortex_wasm::{Instance, WasmHost};
use proptest::prelude::*;
use std::cell::RefCell;

/// What can be changed here is changed by its functions: two memories, globals of several types that nobody exports.
const CHANGING: &str = r#"(module (memory (export "memory") 1 8) (memory $other 1 4)
    (data (i32.const 100) "some bytes to begin with")
    (global $a (mut i32) (i32.const 7)) (global $b (mut i64) (i64.const -9))
    (global $c (mut f64) (f64.const 1.5)) (global $v (mut v128) (v128.const i64x2 3 4))
    (func (export "store") (param i32 i32)
        (i32.store (i32.and (local.get 0) (i32.const 0xfff8)) (local.get 1))
        (i32.store $other (i32.and (local.get 0) (i32.const 0xfff8)) (local.get 1)))
    (func (export "globals") (param i32)
        (global.set $a (local.get 0))
        (global.set $b (i64.mul (global.get $b) (i64.extend_i32_s (local.get 0))))
        (global.set $c (f64.add (global.get $c) (f64.convert_i32_s (local.get 0))))
        (global.set $v (i64x2.splat (global.get $b))))
    (func (export "grow") (param i32)
        (drop (memory.grow (i32.and (local.get 0) (i32.const 3))))
        (drop (memory.grow $other (i32.and (local.get 0) (i32.const 1)))))
    (func (export "end") (param i32)
        (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (local.get 0)))
    (func (export "trap") (global.set $a (i32.const 99)) (unreachable))
    (func (export "look") (result i64)
        (local $h i64) (local $i i32)
        (local.set $h (i64.xor (i64.extend_i32_u (global.get $a)) (i64.rotl (global.get $b) (i64.const 7))))
        (local.set $h (i64.xor (local.get $h) (i64.reinterpret_f64 (global.get $c))))
        (local.set $h (i64.add (i64.mul (local.get $h) (i64.const 31)) (i64x2.extract_lane 0 (global.get $v))))
        (local.set $h (i64.add (i64.mul (local.get $h) (i64.const 31)) (i64x2.extract_lane 1 (global.get $v))))
        (local.set $h (i64.add (i64.mul (local.get $h) (i64.const 31)) (i64.extend_i32_u (memory.size $other))))
        (loop
            (local.set $h (i64.add (i64.mul (local.get $h) (i64.const 31))
                (i64.load $other (local.get $i))))
            (local.set $i (i32.add (local.get $i) (i32.const 8)))
            (br_if 0 (i32.lt_u (local.get $i) (i32.mul (memory.size $other) (i32.const 65536)))))
        (local.get $h)))"#;

#[derive(Clone, Debug)]
enum Step {
    Store(u32, u32),
    Write(u32, u64),
    Globals(u32),
    Grow(u32),
    End(u32),
    Trap,
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (any::<u32>(), any::<u32>()).prop_map(|(at, value)| Step::Store(at, value)),
        (0..65_528_u32, any::<u64>()).prop_map(|(at, value)| Step::Write(at, value)),
        any::<u32>().prop_map(Step::Globals),
        any::<u32>().prop_map(Step::Grow),
        any::<u32>().prop_map(Step::End),
        Just(Step::Trap),
        Just(Step::Reset),
    ];
    prop::collection::vec(step, 0..20)
}

fn take(guest: &mut Instance, step: &Step) {
    let one = |export| guest.module().func::<(u32,), ()>(export).expect("it is exported");
    if guest.is_poisoned() && !matches!(step, Step::Reset) {
        return;
    }
    match *step {
        Step::Store(at, value) => {
            let store = guest
                .module()
                .func::<(u32, u32), ()>("store")
                .expect("it is exported");
            guest.call(&store, (at, value)).expect("it stores");
        }
        Step::Write(at, value) => guest.write(at, value).expect("it is in the memory"),
        Step::Globals(value) => {
            let globals = one("globals");
            guest.call(&globals, (value,)).expect("it sets");
        }
        Step::Grow(pages) => {
            let grow = one("grow");
            guest.call(&grow, (pages,)).expect("it grows or not");
        }
        Step::End(value) => {
            let end = one("end");
            guest.call(&end, (value,)).expect("it stores");
        }
        Step::Trap => drop(run(guest, "trap").expect_err("it traps")),
        Step::Reset => guest.reset().expect("it is reset"),
    }
}

/// All that can be seen of an instance: its memory, and a hash of the other one and of the globals.
fn seen(guest: &mut Instance) -> (Vec<u8>, u64) {
    let length = u32::try_from(guest.memory_len()).expect("it is small");
    let memory = guest.bytes(0, length).expect("all of it").to_vec();
    let look = guest.module().func::<(), u64>("look").expect("it is exported");
    (memory, guest.call(&look, ()).expect("it looks"))
}

#[test]
fn a_reset_instance_is_like_a_fresh_one() {
    let host = build(WasmHost::builder().quota(cortex_wasm::Quota::new().max_memories(2)));
    let module = module(&host, CHANGING);
    let mut fresh = host.instantiate(&module).expect("it begins");
    let fresh = seen(&mut fresh);
    let guest = RefCell::new(host.instantiate(&module).expect("it begins"));
    let config = ProptestConfig::with_cases(64);
    proptest!(config, |(steps in steps())| {
        let guest = &mut *guest.borrow_mut();
        for step in &steps {
            take(guest, step);
        }
        guest.reset().expect("it is reset");
        prop_assert!(seen(guest) == fresh, "something is left of {steps:?}");
    });
}
