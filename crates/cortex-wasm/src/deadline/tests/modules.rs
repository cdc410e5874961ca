//! What becomes of a module.

use super::guest::{BOTH, FUEL, STOP, bytes, compile, engine};
use crate::deadline::checks::{Checks, instrument, start_export};
use std::borrow::Cow;

#[test]
fn globals_come_last_whatever_sections_there_are() {
    for (wat, globals, imported) in [
        ("(module)", 0, 0),
        ("(module (func (export \"f\")))", 0, 0),
        (
            "(module (global i32 (i32.const 1)) (global (mut f64) (f64.const 2)) (func (export \"f\")))",
            2,
            0,
        ),
        (
            "(module (import \"a\" \"b\" (global i64)) (global i32 (i32.const 1)))",
            2,
            1,
        ),
        (
            "(module (import \"a\" \"b\" (global i64)) (memory 1) (data (i32.const 0) \"x\"))",
            1,
            1,
        ),
        (
            "(module (table 1 funcref) (elem (i32.const 0) $f) (func $f))",
            0,
            0,
        ),
    ] {
        for (checks, added) in [(FUEL, 1), (STOP, 3), (BOTH, 5)] {
            let wasm = bytes(wat);
            let checked = instrument(&wasm, checks).unwrap();
            assert_eq!(
                (checked.globals.start, checked.imported_globals),
                (globals, imported),
                "{wat}"
            );
            assert_eq!(checked.globals.len(), added);
            let module = compile(&engine(), &checked);
            assert_eq!(module.info().globals.len(), checked.globals.end as usize);
            assert_eq!(module.info().num_imported_globals, imported as usize);
            assert_eq!(module.exports().count(), usize::from(wat.contains("export")));
        }
    }
    let wasm = bytes("(module (global i32 (i32.const 1)) (func $s) (start $s))");
    let checked = instrument(&wasm, Checks::default()).unwrap();
    assert!(matches!(checked.wasm, Cow::Borrowed(_)));
    assert!(checked.globals.is_empty());
}

#[test]
fn what_lets_no_deadline_hold_is_refused() {
    for (wat, reason) in [
        ("(module (func (try_table)))", "it catches exceptions"),
        (
            "(module (memory 1 1 shared) 
                (func (drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const -1)))))",
            "it waits for other threads",
        ),
    ] {
        let error = instrument(&bytes(wat), FUEL).unwrap_err().to_string();
        assert!(error.ends_with(reason), "{error}");
    }
    // A guest that knew where its fuel is kept would help itself.
    let mut wasm = bytes("(module (global (mut i64) (i64.const 0)) (func (global.set 0 (i64.const 99))))");
    let set = wasm.windows(2).rposition(|pair| pair == [0x24, 0x00]).unwrap();
    wasm[set + 1] = 1;
    let error = instrument(&wasm, FUEL).unwrap_err().to_string();
    assert!(error.ends_with("it names global 1 of 1"), "{error}");
    let error = instrument(b"\x7fELF\x02\x01\x01\0\0\0", FUEL)
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "give the code at byte 0 a deadline: it is not a WebAssembly module"
    );
}

/// Whoever sends little cannot have much written.
#[test]
fn code_does_not_grow_beyond_measure() {
    let wat = format!("(module (func {}))", "(loop)".repeat(30_000));
    let error = instrument(&bytes(&wat), BOTH).unwrap_err().to_string();
    assert!(
        error.ends_with("its code would grow beyond all measure"),
        "{error}"
    );
    let wat = format!(
        "(module (func {}))",
        "(loop (drop (i32.const 1000000)))".repeat(30_000)
    );
    assert!(instrument(&bytes(&wat), FUEL).is_ok());
}

/// What is broken is an error, or is found by whoever compiles it.
#[test]
fn broken_modules_are_no_trouble() {
    let wasm = bytes(
        "(module (import \"a\" \"b\" (global i64)) (memory 1) (table 3 funcref) (global (mut i32) (i32.const 7))
            (func $f (export \"f\") (param i32) (result i32) (local i64 f32)
                (loop (result i32) (br_if 0 (local.get 0)) (memory.fill (i32.const 0) (i32.const 1) (i32.const 2))
                    (block (br_table 0 1 2 (local.get 0))) 
                    (if (result i32) (local.get 0) (then (i32.const 1)) (else (i32.const 2)))))
            (func $s) (start $s) (elem (i32.const 0) $f) (data (i32.const 0) \"abc\"))",
    );
    let mut refused = 0;
    for length in 0..wasm.len() {
        refused += u32::from(instrument(&wasm[..length], BOTH).is_err());
    }
    assert!(refused > 50);
    for index in 8..wasm.len() {
        for bit in 0..8 {
            let mut broken = wasm.clone();
            broken[index] ^= 1 << bit;
            drop(instrument(&broken, BOTH));
        }
    }
}

#[test]
fn the_start_function_is_found_as_it_was_written() {
    for text in [
        "(module)",
        "(module (func $f) (start $f))",
        r#"(module (func $f (export "start")) (func (export "start_")) (start $f))"#,
    ] {
        let wasm = bytes(text);
        let written = instrument(&wasm, BOTH).expect("it can keep a deadline").start;
        assert_eq!(start_export(&wasm), written, "{text}");
    }
}
