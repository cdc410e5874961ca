//! Instances that become as new: nothing is left of whoever had them before.

use crate::guests::{build, get, guest, host, module, run, summing};
use cortex_wasm::{Error, Reset, ResetPlan, TrapCode, WasmHost};

/// Keeps what it is told where a host can't see it, and where it can.
const SECRETIVE: &str = r#"(module (memory (export "memory") 1 16) (data (i32.const 8) "begin")
    (global $hidden (mut i64) (i64.const 5))
    (func (export "keep") (param i64)
        (global.set $hidden (local.get 0))
        (i64.store (i32.const 4096) (local.get 0))
        (i64.store (i32.const 8) (local.get 0))
        (drop (memory.grow (i32.const 3)))
        (i64.store (i32.const 200000) (local.get 0)))
    (func (export "hidden") (result i64) (global.get $hidden))
    (func (export "beyond") (result i64) (i64.load (i32.const 200000)))
    (func (export "grow") (drop (memory.grow (i32.const 3)))))"#;

#[test]
fn a_reset_leaves_no_secret() {
    let host = host();
    let mut guest = guest(&host, SECRETIVE);
    let keep = guest.module().func::<(u64,), ()>("keep").unwrap();
    let hidden = guest.module().func::<(), u64>("hidden").unwrap();
    let beyond = guest.module().func::<(), u64>("beyond").unwrap();
    let fresh = guest.bytes(0, 65_536).unwrap().to_vec();
    for _ in 0..200 {
        guest.call(&keep, (u64::from_le_bytes(*b"a secret"),)).unwrap();
        assert_eq!(guest.memory_len(), 4 << 16);
        guest.reset().unwrap();

        assert_eq!(guest.memory_len(), 1 << 16);
        assert_eq!(guest.bytes(0, 65_536).unwrap(), fresh);
        assert_eq!(guest.call(&hidden, ()).unwrap(), 5);
        assert!(matches!(guest.bytes(200_000, 8), Err(Error::OutOfBounds { .. })));
        let error = guest.call(&beyond, ()).unwrap_err();
        assert!(matches!(error, Error::Trap(trap) if trap.code() == TrapCode::OutOfBoundsMemory));
        guest.reset().unwrap();
        run(&mut guest, "grow").unwrap();
        assert!(
            guest
                .bytes(1 << 16, 3 << 16)
                .unwrap()
                .iter()
                .all(|&byte| byte == 0)
        );
        guest.reset().unwrap();
    }
}

#[test]
fn what_start_has_done_is_part_of_what_is_new() {
    let host = host();
    let text = r#"(module (memory (export "memory") 1) (global $n (mut i32) (i32.const 0))
        (func $start (global.set $n (i32.const 3)) (i32.store (i32.const 0) (i32.const 9)))
        (func (export "_initialize") (global.set $n (i32.add (global.get $n) (i32.const 4))))
        (func (export "n") (result i32) (global.get $n))
        (func (export "spoil") (global.set $n (i32.const 0)) (i32.store (i32.const 0) (i32.const 0)))
        (start $start))"#;
    let mut guest = guest(&host, text);
    for _ in 0..100 {
        assert_eq!(
            (get(&mut guest, "n").unwrap(), guest.read::<u32>(0).unwrap()),
            (7, 9)
        );
        run(&mut guest, "spoil").unwrap();
        assert_eq!(get(&mut guest, "n").unwrap(), 0);
        guest.reset().unwrap();
    }
}

#[test]
fn a_module_that_changes_its_table_gets_another_instance() {
    let host = host();
    let text = r#"(module (table 2 funcref) (elem (i32.const 0) $one) (elem declare func $two)
        (func $one (result i32) (i32.const 1))
        (func $two (result i32) (i32.const 2))
        (func (export "ask") (result i32) (call_indirect (result i32) (i32.const 0)))
        (func (export "swap") (table.set (i32.const 0) (ref.func $two))))"#;
    let mut guest = guest(&host, text);
    assert!(matches!(guest.module().reset_plan(), ResetPlan::Reinstantiate(_)));
    for _ in 0..3 {
        assert_eq!(get(&mut guest, "ask").unwrap(), 1);
        run(&mut guest, "swap").unwrap();
        assert_eq!(get(&mut guest, "ask").unwrap(), 2);
        guest.reset().unwrap();
    }
}

#[test]
fn large_images_lie_below_all_instances() {
    let host = host();
    let text = r#"(module (memory (export "memory") 64) (data (i32.const 0) "first") (data (i32.const 4000000) "last")
        (func (export "spoil")
            (memory.fill (i32.const 0) (i32.const 255) (i32.const 4194304))))"#;
    let module = module(&host, text);
    let mut guests: Vec<_> = (0..3).map(|_| host.instantiate(&module).unwrap()).collect();
    for _ in 0..20 {
        run(&mut guests[0], "spoil").unwrap();
        assert_eq!(guests[1].bytes(0, 5).unwrap(), b"first");
        guests[0].reset().unwrap();
        for guest in &guests {
            let all = guest.bytes(0, 64 << 16).unwrap();
            assert_eq!(
                (&all[..5], &all[4_000_000..4_000_004]),
                (&b"first"[..], &b"last"[..])
            );
            assert_eq!(all.iter().filter(|&&byte| byte != 0).count(), 9);
        }
    }
}

#[test]
fn memories_beside_the_first_one_are_reset_too() {
    let host = build(WasmHost::builder().quota(cortex_wasm::Quota::new().max_memories(2)));
    let text = r#"(module (memory 1) (memory $other 1)
        (func (export "spoil") (i32.store $other (i32.const 100) (i32.const 7)))
        (func (export "look") (result i32) (i32.load $other (i32.const 100))))"#;
    let mut guest = guest(&host, text);
    for _ in 0..100 {
        assert_eq!(get(&mut guest, "look").unwrap(), 0);
        run(&mut guest, "spoil").unwrap();
        guest.reset().unwrap();
    }
}

#[test]
fn handles_from_before_are_stale_and_their_drop_does_nothing() {
    let host = host();
    let mut guest = guest(&host, &summing());
    let tag = host.tags().intern("block").unwrap();
    let before = guest.alloc_owned(64, tag).unwrap();
    let id = before.id();
    guest.reset().unwrap();
    assert!(matches!(guest.block(id), Err(Error::Stale)));
    assert!(matches!(guest.free(id), Err(Error::Stale)));
    let after = guest.alloc_owned(64, tag).unwrap();
    assert_eq!(after.ptr(), before.ptr(), "the same memory");
    drop(before);
    guest.collect().unwrap();
    assert_eq!(get(&mut guest, "freed").unwrap(), 0);
    guest.block_mut(after.id()).unwrap().fill(1);
    assert_eq!(guest.alloc_stats().live, 1);
}

#[test]
fn never_means_that_what_is_left_is_found() {
    let host = build(WasmHost::builder().reset(Reset::Never));
    let module = module(&host, SECRETIVE);
    let keep = module.func::<(u64,), ()>("keep").unwrap();
    let hidden = module.func::<(), u64>("hidden").unwrap();
    let tenant = host.tenant(1 << 30);
    let mut local = host.local();
    let ask = |local: &mut cortex_wasm::LocalHost| {
        local
            .run(&module, &tenant, |guest| guest.call(&hidden, ()))
            .unwrap()
            .unwrap()
    };
    assert_eq!(ask(&mut local), 5);
    local
        .run(&module, &tenant, |guest| guest.call(&keep, (9,)))
        .unwrap()
        .unwrap();
    assert_eq!(ask(&mut local), 9);
}

#[test]
fn fuel_is_not_restored_with_the_globals() {
    let host = build(WasmHost::builder().deadline(cortex_wasm::Deadline::Fuel(10_000)));
    let text = r#"(module (global $n (mut i32) (i32.const 0))
        (func (export "work") (local i32) (local.set 0 (i32.const 500))
            (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
        (func (export "spin") (loop (br 0))))"#;
    let mut guest = guest(&host, text);
    for _ in 0..10 {
        assert!(matches!(run(&mut guest, "spin"), Err(Error::Timeout { .. })));
        guest.reset().unwrap();
        run(&mut guest, "work").unwrap();
        guest.reset().unwrap();
    }
}
