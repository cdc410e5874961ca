//! A guest as compilers make them: it is initialised, and does what it likes.

use crate::imports::tests::Guest;
use crate::{Error, Imports, Stream, Wasi};
use std::sync::{Arc, Mutex};
use wasmer::Value;

/// Prints its first argument and its only variable, if it has any; then a random byte; then exits if it is told to.
const REACTOR: &str = r#"(module
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (global $ready (mut i32) (i32.const 0))
    (data (i32.const 900) "\n")

    (func $print (param $pointer i32) (param $length i32)
        (i32.store (i32.const 800) (local.get $pointer))
        (i32.store (i32.const 804) (local.get $length))
        (i32.store (i32.const 808) (i32.const 900))
        (i32.store (i32.const 812) (i32.const 1))
        (if (call $write (i32.const 1) (i32.const 800) (i32.const 2) (i32.const 816)) (then unreachable)))

    (func (export "_initialize")
        (if (i32.ne (call $prestat (i32.const 3) (i32.const 0)) (i32.const 8)) (then unreachable))
        (global.set $ready (i32.add (global.get $ready) (i32.const 1))))

    (func (export "run") (param $code i32) (result i32)
        (if (i32.ne (global.get $ready) (i32.const 1)) (then unreachable))
        (if (call $args_sizes (i32.const 0) (i32.const 4)) (then unreachable))
        (if (i32.load (i32.const 0)) (then
            (if (call $args (i32.const 16) (i32.const 100)) (then unreachable))
            (call $print (i32.load (i32.const 16)) (i32.sub (i32.load (i32.const 4)) (i32.const 1)))))
        (if (call $environ_sizes (i32.const 0) (i32.const 4)) (then unreachable))
        (if (i32.load (i32.const 0)) (then
            (if (call $environ (i32.const 16) (i32.const 100)) (then unreachable))
            (call $print (i32.load (i32.const 16)) (i32.sub (i32.load (i32.const 4)) (i32.const 1)))))
        (if (call $random (i32.const 0) (i32.const 1)) (then unreachable))
        (if (local.get $code) (then (call $exit (local.get $code)) unreachable))
        (i32.load8_u (i32.const 0))))"#;

fn reactor(wasi: Wasi) -> (Guest, Arc<Mutex<Vec<String>>>) {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let wasi = wasi
        .random(|bytes| {
            bytes.fill(42);
            Ok(())
        })
        .output(move |line| {
            assert_eq!((line.stream(), line.is_cut()), (Stream::Stdout, false));
            sink.lock()
                .expect("nobody panics here")
                .push(line.text().to_owned());
        });
    let mut guest = Guest::new(REACTOR, &Imports::new().wasi(wasi));
    guest.call("_initialize", &[]).expect("it begins");
    (guest, lines)
}

#[test]
fn a_reactor_sees_what_it_was_handed() {
    let wasi = Wasi::new().arg("plugin").unwrap().env("LANG", "de").unwrap();
    let (mut guest, lines) = reactor(wasi);
    assert_eq!(guest.call("run", &[Value::I32(0)]).unwrap(), Some(Value::I32(42)));
    assert_eq!(*lines.lock().unwrap(), ["plugin", "LANG=de"]);
}

#[test]
fn a_reactor_sees_nothing_of_the_process() {
    let (mut guest, lines) = reactor(Wasi::new());
    assert_eq!(guest.call("run", &[Value::I32(0)]).unwrap(), Some(Value::I32(42)));
    assert!(lines.lock().unwrap().is_empty());
}

#[test]
fn a_reactor_that_exits_is_over() {
    let (mut guest, lines) = reactor(Wasi::new().arg("last words").unwrap());
    let error = guest.call("run", &[Value::I32(7)]).unwrap_err();
    assert!(matches!(error, Error::Exited { code: 7 }), "{error}");
    assert_eq!(
        *lines.lock().unwrap(),
        ["last words"],
        "what was printed before is out"
    );
}
