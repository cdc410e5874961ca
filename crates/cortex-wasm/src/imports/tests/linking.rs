use super::Guest;
use crate::{Error, HostCx, HostError, Imports, Quota, UnmetReason};
use wasmer::Value;

/// Provides `env.{name}`, which does nothing.
fn providing(name: &str) -> Imports {
    Imports::new().function("env", name, |_: &mut HostCx<'_>| -> Result<(), HostError> {
        Ok(())
    })
}

fn refused(text: &str, imports: &Imports) -> Error {
    Guest::link(text, imports, Quota::new()).err().expect("a failure")
}

#[test]
fn what_nobody_provides_is_named_all_of_it() {
    let imports = providing("here");
    let text = r#"(module
        (import "env" "here" (func))
        (import "env" "gone" (func (param i32 f64) (result i64)))
        (import "other" "here" (func)))"#;
    let error = refused(text, &imports);
    assert_eq!(
        error.to_string(),
        "link the module: nobody provides `env.gone`, nobody provides `other.here`"
    );
    let Error::Link { unmet } = error else {
        panic!("{error}")
    };
    assert_eq!((unmet[0].module(), unmet[0].name()), ("env", "gone"));
    assert_eq!(
        *unmet[0].reason(),
        UnmetReason::Missing {
            wanted: "[I32, F64] -> [I64]".into()
        }
    );
}

#[test]
fn nothing_is_provided_unless_somebody_does() {
    for name in ["fd_write", "proc_exit", "clock_time_get"] {
        let text = format!(r#"(module (import "wasi_snapshot_preview1" "{name}" (func)))"#);
        assert!(matches!(refused(&text, &Imports::new()), Error::Link { .. }));
    }
}

#[test]
fn another_signature_is_told_with_both() {
    let imports = Imports::new().function(
        "env",
        "add",
        |_: &mut HostCx<'_>, a: u32, b: i64| -> Result<f32, HostError> {
            Ok(0.0 + f32::from(u8::try_from(a).unwrap_or(0)) + f32::from(i16::try_from(b)?))
        },
    );
    for (signature, shown) in [
        ("(param i32 i32) (result f32)", "[I32, I32] -> [F32]"),
        ("(param i32 i64) (result f64)", "[I32, I64] -> [F64]"),
        ("(param i32 i64)", "[I32, I64] -> []"),
        ("(param i32)", "[I32] -> []"),
        ("", "[] -> []"),
    ] {
        let error = refused(
            &format!(r#"(module (import "env" "add" (func {signature})))"#),
            &imports,
        );
        assert_eq!(
            error.to_string(),
            format!("link the module: `env.add` is provided as [I32, I64] -> [F32], not as {shown}")
        );
    }
    let fits = r#"(module (import "env" "add" (func (param i32 i64) (result f32))))"#;
    assert!(Guest::link(fits, &imports, Quota::new()).is_ok());
}

#[test]
fn only_functions_are_provided() {
    let imports = providing("x");
    for (import, kind) in [
        ("(memory 1)", "memory"),
        ("(table 1 funcref)", "table"),
        ("(global i32)", "global"),
    ] {
        let error = refused(&format!(r#"(module (import "env" "x" {import}))"#), &imports);
        assert!(
            error
                .to_string()
                .ends_with(&format!("`env.x` is a {kind}, and only functions are provided")),
            "{error}"
        );
    }
}

#[test]
fn a_hostile_name_neither_floods_nor_forges() {
    let long = "x".repeat(100_000);
    let many = (0..50)
        .map(|i| format!("(import \"m\" \"f{i}\" (func))"))
        .collect::<Vec<_>>()
        .concat();
    let text = format!(r#"(module (import "a\0a\1bb" "{long}" (func)) {many})"#);
    let shown = refused(&text, &Imports::new()).to_string();
    assert!(shown.len() < 500, "{shown}");
    assert!(
        shown.contains(r"`a\n\u{1b}b.xxx") && !shown.contains('\n'),
        "{shown}"
    );
    assert!(shown.ends_with("nobody provides `m.f6`, and 43 more"), "{shown}");
}

#[test]
fn each_import_gets_its_function_whatever_the_order() {
    let imports = Imports::new()
        .function("a", "x", |_: &mut HostCx<'_>| -> Result<i32, HostError> { Ok(1) })
        .function("a", "y", |_: &mut HostCx<'_>| -> Result<i32, HostError> { Ok(2) })
        .function("b", "x", |_: &mut HostCx<'_>| -> Result<i32, HostError> { Ok(3) })
        .function("b", "x", |_: &mut HostCx<'_>| -> Result<i32, HostError> { Ok(4) });
    let mut guest = Guest::new(
        r#"(module
            (import "b" "x" (func $bx (result i32)))
            (import "a" "y" (func $ay (result i32)))
            (import "b" "x" (func $bx2 (result i32)))
            (import "a" "x" (func $ax (result i32)))
            (func (export "all") (result i32)
                (i32.add (i32.mul (i32.const 1000) (call $bx)) (i32.add (i32.mul (i32.const 100) (call $ay))
                (i32.add (i32.mul (i32.const 10) (call $bx2)) (call $ax))))))"#,
        &imports,
    );
    assert_eq!(
        guest.call("all", &[]).unwrap(),
        Some(Value::I32(4241)),
        "the later one counts"
    );
}

#[test]
fn numbers_of_all_kinds_come_and_go_as_they_are() {
    let imports = Imports::new()
        .function(
            "env",
            "mix",
            |_: &mut HostCx<'_>,
             a: u32,
             b: i32,
             c: u64,
             d: i64,
             e: f32,
             f: f64,
             g: u32,
             h: u32,
             i: u32|
             -> Result<f64, HostError> {
                assert_eq!((a, b, c, d), (u32::MAX, -2, u64::MAX, i64::MIN));
                assert_eq!(
                    (e.to_bits(), f.to_bits()),
                    (0.5_f32.to_bits(), (-8.25_f64).to_bits())
                );
                assert_eq!((g, h, i), (7, 8, 9));
                Ok(6.5)
            },
        )
        .function(
            "env",
            "wide",
            |_: &mut HostCx<'_>, a: u64| -> Result<u64, HostError> { Ok(!a) },
        )
        .function(
            "env",
            "half",
            |_: &mut HostCx<'_>, a: f32| -> Result<f32, HostError> { Ok(a / 2.0) },
        );
    let mut guest = Guest::new(
        r#"(module
            (import "env" "mix" (func $mix (param i32 i32 i64 i64 f32 f64 i32 i32 i32) (result f64)))
            (import "env" "wide" (func $wide (param i64) (result i64)))
            (import "env" "half" (func $half (param f32) (result f32)))
            (func (export "mix") (result f64) (call $mix (i32.const -1) (i32.const -2) (i64.const -1)
                (i64.const 0x8000000000000000) (f32.const 0.5) (f64.const -8.25) (i32.const 7) (i32.const 8)
                (i32.const 9)))
            (func (export "wide") (result i64) (call $wide (i64.const 0)))
            (func (export "half") (result f32) (call $half (f32.const 3))))"#,
        &imports,
    );
    assert_eq!(guest.call("mix", &[]).unwrap(), Some(Value::F64(6.5)));
    assert_eq!(guest.call("wide", &[]).unwrap(), Some(Value::I64(-1)));
    assert_eq!(guest.call("half", &[]).unwrap(), Some(Value::F32(1.5)));
    assert_eq!(guest.usage().calls, 3);
}
