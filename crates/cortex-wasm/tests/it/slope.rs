//! Nothing is left behind by what happens often. What a process has is counted in mappings and memories: they do not
//! depend on what else its allocator does.

use crate::guests::{get, host, module, run, wasm};
use cortex_wasm::Error;
use std::fs;
use std::process::Command;

/// Runs a test in a process of its own: others would map memory meanwhile.
fn is_alone(test: &str) -> bool {
    const MARK: &str = "CORTEX_WASM_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let own = std::env::current_exe().expect("a path");
    let child = Command::new(own).args([test, "--exact"]).env(MARK, "1").output();
    let child = child.expect("a process");
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
    false
}

/// Counts the mappings of this process.
fn maps() -> usize {
    fs::read_to_string("/proc/self/maps")
        .expect("Linux")
        .lines()
        .count()
}

/// Does something so often to warm up, and as often again, and holds the mappings of both against each other.
fn is_flat(times: usize, mut act: impl FnMut()) {
    (0..times).for_each(|_| act());
    let before = maps();
    (0..times).for_each(|_| act());
    let after = maps();
    assert!(
        after <= before + 8,
        "{before} mappings, and {times} times later {after}"
    );
}

const GUEST: &str = r#"(module (memory 1 16) (global $n (mut i32) (i32.const 0))
    (func (export "next") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (i32.store (i32.const 30000) (global.get $n))
        (drop (memory.grow (i32.const 1)))
        (global.get $n))
    (func (export "trap") (unreachable)))"#;

#[test]
fn resets_leave_nothing() {
    if !is_alone("slope::resets_leave_nothing") {
        return;
    }
    let host = host();
    let mut guest = host.instantiate(&module(&host, GUEST)).unwrap();
    is_flat(5_000, || {
        assert_eq!(get(&mut guest, "next").unwrap(), 1);
        guest.reset().unwrap();
    });
    assert_eq!((host.live_memories(), host.live_bytes()), (1, 1 << 16));
}

#[test]
fn traps_leave_nothing() {
    if !is_alone("slope::traps_leave_nothing") {
        return;
    }
    let host = host();
    let mut guest = host.instantiate(&module(&host, GUEST)).unwrap();
    is_flat(5_000, || {
        assert!(matches!(run(&mut guest, "trap"), Err(Error::Trap(_))));
        guest.reset().unwrap();
    });
    assert_eq!(host.live_memories(), 1);
}

#[test]
fn instances_leave_nothing() {
    if !is_alone("slope::instances_leave_nothing") {
        return;
    }
    let host = host();
    let module = module(&host, GUEST);
    is_flat(2_000, || {
        let mut guest = host.instantiate(&module).unwrap();
        assert_eq!(get(&mut guest, "next").unwrap(), 1);
    });
    assert_eq!((host.live_memories(), host.live_bytes()), (0, 0));
}

#[test]
fn modules_leave_nothing() {
    if !is_alone("slope::modules_leave_nothing") {
        return;
    }
    let host = host();
    let wasm = wasm(GUEST);
    is_flat(500, || {
        let module = host.compile("reloaded", &wasm).unwrap();
        let mut guest = host.instantiate(&module).unwrap();
        assert_eq!(get(&mut guest, "next").unwrap(), 1);
    });
    assert_eq!(host.live_memories(), 0);
}
