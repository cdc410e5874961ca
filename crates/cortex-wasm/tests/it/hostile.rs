//! Guests that mean harm, or are broken: each is told by an error that names the cause, and the others go on.

use crate::guests::{SHORT, build, get, guest, hasty, host, module, run, wasm};
use cortex_wasm::{CompileError, Deadline, Error, Instance, Quota, Resource, TrapCode, WasmHost};
use std::time::Duration;

/// A guest that has nothing to do with the others.
fn witness(host: &WasmHost) -> Instance {
    let text = r#"(module (memory (export "memory") 1) (data (i32.const 0) "whole")
        (func (export "one") (result i32) (i32.load8_u (i32.const 0))))"#;
    guest(host, text)
}

/// Checks that another guest is as it was, and runs.
fn unharmed(witness: &mut Instance) {
    assert_eq!(witness.bytes(0, 5).expect("it has a memory"), b"whole");
    assert_eq!(get(witness, "one").expect("it runs"), u32::from(b'w'));
}

fn trap(error: Error) -> TrapCode {
    match error {
        Error::Trap(trap) => trap.code(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_module_is_told_apart() {
    let host = host();
    let compile = |bytes: &[u8]| match host.compile("guest", bytes) {
        Err(Error::Compile(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(compile(b"#!/bin/sh"), CompileError::NotWasm);
    assert_eq!(compile(b""), CompileError::NotWasm);
    let whole = wasm(r#"(module (func (export "f") (result i32) (i32.const 1)))"#);
    for length in 4..whole.len() {
        match host.compile("guest", &whole[..length]) {
            Err(Error::Compile(CompileError::Truncated { length: told })) => assert_eq!(told, length as u64),
            // Sections that are missing at the end make another module.
            Err(Error::Compile(CompileError::Invalid { .. })) | Ok(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let mut broken = whole.clone();
    let last = broken.len() - 2;
    broken[last] = 0xff;
    assert!(matches!(
        compile(&broken),
        CompileError::Invalid { .. } | CompileError::FeatureDisabled { .. }
    ));
    let threads = wasm("(module (memory 1 1 shared))");
    assert!(matches!(
        compile(&threads),
        CompileError::FeatureDisabled {
            feature: "threads",
            ..
        }
    ));
}

#[test]
fn what_is_missing_is_named() {
    let host = host();
    let text = r#"(module (import "env" "read" (func)) (import "env" "table" (table 1 funcref)))"#;
    let error = host.instantiate(&module(&host, text)).unwrap_err();
    let Error::Link { unmet } = &error else {
        panic!("{error:?}")
    };
    let names: Vec<_> = unmet.iter().map(|it| (it.module(), it.name())).collect();
    assert_eq!(names, [("env", "read"), ("env", "table")]);
    assert_eq!(
        error.to_string(),
        "link the module: nobody provides `env.read`, `env.table` is a table, and only functions are provided"
    );
    let module = module(&host, r#"(module (func (export "f") (param i32)))"#);
    assert!(matches!(module.func::<(), ()>("g"), Err(Error::NoExport { export }) if &*export == "g"));
    let error = module.func::<(u64,), u32>("f").unwrap_err();
    assert!(matches!(&error, Error::Signature { export, .. } if &**export == "f"));
    assert!(module.func::<(i32,), ()>("f").is_ok());
}

#[test]
fn a_function_of_another_module_is_refused() {
    let host = host();
    let text = r#"(module (func (export "f") (result i32) (i32.const 1)))"#;
    let (one, other) = (module(&host, text), module(&host, text));
    let mut guest = host.instantiate(&one).unwrap();
    let func = other.func::<(), u32>("f").unwrap();
    assert!(matches!(guest.call(&func, ()), Err(Error::WrongModule)));
}

#[test]
fn huge_memories_and_tables_are_refused() {
    let host = host();
    for (text, what) in [
        ("(module (memory 65536))", Resource::Bytes),
        ("(module (memory 1) (memory 1))", Resource::Memories),
        ("(module (table 10000000 funcref))", Resource::TableElements),
        (
            "(module (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref) (table 1 funcref))",
            Resource::Tables,
        ),
    ] {
        let error = host.instantiate(&module(&host, text)).unwrap_err();
        assert!(
            matches!(error, Error::Quota { what: told, .. } if told == what),
            "{error:?}"
        );
    }
    assert_eq!((host.live_bytes(), host.live_memories()), (0, 0));
}

#[test]
fn whatever_runs_for_ever_is_stopped() {
    let host = hasty();
    let mut witness = witness(&host);
    let text = r#"(module (memory 1)
        (func (export "spin") (loop (br 0)))
        (func (export "nested") (loop (loop (br_if 1 (i32.const 1)) (br 0))))
        (func (export "table") (loop (br_table 0 0 (i32.const 0))))
        (func $even (export "recurse") (call $odd) (call $odd))
        (func $odd (if (i32.eqz (i32.const 1)) (then (call $even))) (loop (br 0)))
        (func $twice (param i32) (if (local.get 0) (then
            (call $twice (i32.sub (local.get 0) (i32.const 1)))
            (call $twice (i32.sub (local.get 0) (i32.const 1))))))
        (func (export "exponential") (call $twice (i32.const 60)))
        (func (export "fill") (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0))))"#;
    let mut guest = guest(&host, text);
    for export in ["spin", "nested", "table", "recurse", "exponential", "fill"] {
        let error = run(&mut guest, export).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Timeout {
                    deadline: Deadline::Wall(_)
                }
            ),
            "{export}: {error:?}"
        );
        assert!(
            matches!(run(&mut guest, export), Err(Error::Poisoned)),
            "{export}"
        );
        guest.reset().unwrap();
        unharmed(&mut witness);
    }
}

#[test]
fn fuel_ends_what_runs_for_ever_and_is_full_at_each_call() {
    let host = build(WasmHost::builder().deadline(Deadline::Fuel(100_000)));
    let text = r#"(module
        (func (export "spin") (loop (br 0)))
        (func (export "some") (local i32) (local.set 0 (i32.const 10000))
            (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#;
    let mut guest = guest(&host, text);
    for _ in 0..50 {
        run(&mut guest, "some").unwrap();
    }
    let error = run(&mut guest, "spin").unwrap_err();
    assert!(
        matches!(
            error,
            Error::Timeout {
                deadline: Deadline::Fuel(100_000)
            }
        ),
        "{error:?}"
    );
    guest.reset().unwrap();
    run(&mut guest, "some").unwrap();
}

#[test]
fn a_guest_that_gives_up_has_not_timed_out() {
    for deadline in [Deadline::Fuel(1000), Deadline::Wall(Duration::from_mins(1))] {
        let host = build(WasmHost::builder().deadline(deadline));
        let mut guest = guest(&host, r#"(module (func $quit (export "quit") (unreachable)))"#);
        let error = run(&mut guest, "quit").unwrap_err();
        assert_eq!(error.to_string(), "run the guest: unreachable, in `quit`");
        assert_eq!(trap(error), TrapCode::Unreachable);
    }
}

#[test]
fn a_start_function_and_an_initializer_that_run_for_ever_are_stopped() {
    let host = hasty();
    for text in [
        "(module (memory 1) (func $start (loop (br 0))) (start $start))",
        r#"(module (memory 1) (func (export "_initialize") (loop (br 0))))"#,
    ] {
        let module = module(&host, text);
        for _ in 0..3 {
            assert!(matches!(host.instantiate(&module), Err(Error::Timeout { .. })));
        }
    }
    assert_eq!((host.live_bytes(), host.live_memories()), (0, 0));
}

#[test]
fn a_start_function_that_traps_leaves_nothing() {
    let host = host();
    let module = module(
        &host,
        "(module (memory 2) (func $start (unreachable)) (start $start))",
    );
    assert_eq!(
        trap(host.instantiate(&module).unwrap_err()),
        TrapCode::Unreachable
    );
    assert_eq!((host.live_bytes(), host.live_memories()), (0, 0));
}

#[test]
fn recursion_without_end_uses_up_the_stack_and_nothing_else() {
    let host = build(WasmHost::builder().deadline(Deadline::None));
    let mut witness = witness(&host);
    let mut guest = guest(&host, r#"(module (func $f (export "f") (call $f) (call $f)))"#);
    let error = run(&mut guest, "f").unwrap_err();
    let Error::Trap(trap) = error else {
        panic!("{error:?}")
    };
    assert_eq!(trap.code(), TrapCode::StackOverflow);
    assert!(trap.frames().len() <= cortex_wasm::Trap::FRAMES);
    unharmed(&mut witness);
    guest.reset().unwrap();
    assert!(matches!(run(&mut guest, "f"), Err(Error::Trap(_))));
}

#[test]
fn a_guest_that_grows_for_ever_is_told_no_and_goes_on() {
    let host = build(WasmHost::builder().quota(Quota::new().max_bytes(10 << 16)));
    let mut witness = witness(&host);
    let text = r#"(module (memory 1)
        (func (export "grow") (result i32) (local i32)
            (loop (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1))
                (then (local.set 0 (i32.add (local.get 0) (i32.const 1))) (br 1))))
            (local.get 0)))"#;
    let mut guest = guest(&host, text);
    assert_eq!(get(&mut guest, "grow").unwrap(), 9);
    assert_eq!((guest.memory_len(), guest.grow_refused()), (10 << 16, 1));
    unharmed(&mut witness);
}

#[test]
fn wild_pointers_are_errors() {
    let host = host();
    let text = r#"(module (memory (export "memory") 1)
        (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
        (func (export "far") (result i32) (i32.load offset=0xffffffff (i32.const -1)))
        (func (export "wild") (result i32) (i32.const -8)))"#;
    let mut guest = guest(&host, text);
    let load = guest.module().func::<(u32,), u32>("load").unwrap();
    assert_eq!(
        trap(guest.call(&load, (65_533,)).unwrap_err()),
        TrapCode::OutOfBoundsMemory
    );
    guest.reset().unwrap();
    assert_eq!(
        trap(get(&mut guest, "far").unwrap_err()),
        TrapCode::OutOfBoundsMemory
    );
    guest.reset().unwrap();
    let wild = get(&mut guest, "wild").unwrap();
    for (pointer, length) in [
        (wild, 8),
        (wild, u32::MAX),
        (0, 65_537),
        (65_536, 1),
        (u32::MAX, 1),
    ] {
        assert!(matches!(
            guest.bytes(pointer, length),
            Err(Error::OutOfBounds { .. })
        ));
        assert!(matches!(
            guest.bytes_mut(pointer, length),
            Err(Error::OutOfBounds { .. })
        ));
        assert!(matches!(
            guest.text(pointer, length),
            Err(Error::OutOfBounds { .. })
        ));
        assert!(matches!(
            guest.values::<u64>(pointer, length),
            Err(Error::OutOfBounds { .. })
        ));
    }
    assert_eq!(guest.bytes(65_536, 0).unwrap(), b"");
    assert!(matches!(
        guest.read::<u64>(65_529),
        Err(Error::OutOfBounds { .. })
    ));
    assert!(matches!(
        guest.write(65_533, 0_u32),
        Err(Error::OutOfBounds { .. })
    ));
}

#[test]
fn allocators_that_lie_are_found_out() {
    for (malloc, is_expected) in [
        (
            "(i32.const -16)",
            (|error| matches!(error, Error::OutOfBounds { .. })) as fn(&Error) -> bool,
        ),
        ("(i32.const 0)", |error| {
            matches!(error, Error::GuestOutOfMemory { .. })
        }),
        ("(unreachable)", |error| matches!(error, Error::Trap(_))),
        ("(loop (br 0)) (i32.const 1)", |error| {
            matches!(error, Error::Timeout { .. })
        }),
    ] {
        let host = build(WasmHost::builder().arena(0).deadline(Deadline::Wall(SHORT)));
        let text = format!(
            r#"(module (memory 1) (func (export "malloc") (param i32) (result i32) {malloc})
                (func (export "free") (param i32)))"#
        );
        let mut guest = guest(&host, &text);
        let error = guest
            .scope(|scope| scope.put_bytes(b"text").map(drop))
            .unwrap_err();
        assert!(is_expected(&error), "{malloc}: {error:?}");
        let with_arena = build(WasmHost::builder().deadline(Deadline::Wall(SHORT)));
        let error = with_arena.instantiate(&module(&with_arena, &text)).unwrap_err();
        assert!(is_expected(&error), "{malloc}: {error:?}");
        assert_eq!(with_arena.live_bytes(), 0);
    }
}

#[test]
fn a_guest_that_traps_while_a_block_is_freed_is_not_called_again() {
    let host = build(WasmHost::builder().arena(0));
    let text = r#"(module (memory 1) (func (export "malloc") (param i32) (result i32) (i32.const 1024))
        (func (export "free") (param i32) (unreachable)) (func (export "nothing")))"#;
    let mut guest = guest(&host, text);
    let tag = host.tags().intern("block").unwrap();
    drop(guest.alloc_owned(16, tag).unwrap());
    assert_eq!(
        trap(run(&mut guest, "nothing").unwrap_err()),
        TrapCode::Unreachable
    );
    assert!(matches!(run(&mut guest, "nothing"), Err(Error::Poisoned)));
    assert!(matches!(guest.alloc_owned(16, tag), Err(Error::Poisoned)));
    guest.reset().unwrap();
    run(&mut guest, "nothing").unwrap();
}

#[test]
fn blocks_that_are_slow_to_free_do_not_add_up() {
    const BLOCKS: u32 = 32;
    let host = build(WasmHost::builder().arena(0).deadline(Deadline::Wall(SHORT)));
    let text = r#"(module (memory 1) (global $top (mut i32) (i32.const 1024)) (global $slow (mut i32) (i32.const 0))
        (func (export "malloc") (param i32) (result i32)
            (global.get $top) (global.set $top (i32.add (global.get $top) (i32.const 64))))
        (func $work (export "work") (param i32)
            (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
        (func (export "free") (param i32) (call $work (global.get $slow)))
        (func (export "slow") (param i32) (global.set $slow (local.get 0)))
        (func (export "nothing")))"#;
    let mut guest = guest(&host, text);
    let work = guest.module().func::<(u32,), ()>("work").unwrap();
    let slow = guest.module().func::<(u32,), ()>("slow").unwrap();
    // A few of them take as long as a call may, each alone does not.
    let clock = cortex_core::SystemClock;
    let mut rounds = 1 << 10;
    loop {
        let begun = cortex_core::Clock::now(&clock);
        guest.call(&work, (rounds,)).unwrap();
        if cortex_core::Clock::now(&clock) - begun >= SHORT / 8 {
            break;
        }
        rounds *= 2;
    }
    let tag = host.tags().intern("block").unwrap();
    let blocks: Vec<_> = (0..BLOCKS).map(|_| guest.alloc_owned(8, tag).unwrap()).collect();
    guest.call(&slow, (rounds,)).unwrap();
    drop(blocks);
    assert!(matches!(run(&mut guest, "nothing"), Err(Error::Timeout { .. })));
    assert!(guest.is_poisoned());
}
