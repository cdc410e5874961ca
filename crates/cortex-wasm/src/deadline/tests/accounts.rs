//! What fuel is charged for.

use super::guest::{BOTH, FUEL, Guest, unwatched};
use crate::deadline::checks::Checks;
use crate::deadline::cost::STRETCH;
use crate::deadline::limit::Deadline;
use wasmer::Value;

/// Four operators that do something, so many times over.
fn work(times: usize) -> String {
    "(local.set 1 (i32.add (local.get 1) (i32.const 1)))".repeat(times)
}

#[test]
fn fuel_is_exact() {
    // The entry, and nine operators in each round; the function itself is empty but for the loop and what calls it.
    let wat = "(module (func (export \"f\") (param i32) (loop
        (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))";
    let mut guest = Guest::new(wat, FUEL, &unwatched());
    for rounds in [1, 2, 100] {
        let (result, ended) = guest.call("f", &[Value::I32(rounds)], Deadline::Fuel(10_000));
        result.unwrap();
        assert_eq!(ended.fuel, Some(1 + 5 * u64::from(rounds.unsigned_abs())));
        // As much is enough, and one unit less is not.
        let used = ended.fuel.unwrap();
        guest
            .call("f", &[Value::I32(rounds)], Deadline::Fuel(used))
            .0
            .unwrap();
        guest.times_out("f", &[Value::I32(rounds)], Deadline::Fuel(used - 1));
    }
}

#[test]
fn a_bulk_operation_is_charged_by_its_length() {
    let fill = "(module (memory 16) (func (export \"f\") (param i32)
        (memory.fill (i32.const 0) (i32.const 1) (local.get 0))))";
    let mut guest = Guest::new(fill, FUEL, &unwatched());
    let (result, small) = guest.call("f", &[Value::I32(0)], Deadline::Fuel(1000));
    result.unwrap();
    let (result, large) = guest.call("f", &[Value::I32(16_000)], Deadline::Fuel(2000));
    result.unwrap();
    assert_eq!(large.fuel.unwrap() - small.fuel.unwrap(), 1000);
    // Four gigabytes are counted as such, and not written first.
    let ended = guest.times_out("f", &[Value::I32(-1)], Deadline::Fuel(1_000_000));
    assert!(ended.fuel.unwrap() > u64::from(u32::MAX / 16));

    let table = "(module (table 4096 funcref) (elem $e func $f) (memory 1)
        (data $d \"abcdefghijklmnopqrstuvwxyz012345\")
        (func $f (export \"fill\") (table.fill (i32.const 0) (ref.null func) (i32.const 4096)))
        (func (export \"copy\") (table.copy (i32.const 0) (i32.const 0) (i32.const 4096)))
        (func (export \"grow\") (drop (table.grow (ref.null func) (i32.const 4096))))
        (func (export \"init\") (table.init $e (i32.const 0) (i32.const 0) (i32.const 1)))
        (func (export \"move\") (memory.copy (i32.const 0) (i32.const 9) (i32.const 1600)))
        (func (export \"data\") (memory.init $d (i32.const 0) (i32.const 0) (i32.const 32))))";
    let mut guest = Guest::new(table, FUEL, &unwatched());
    // One for the entry, and one for each operator but `drop` and `end`.
    for (name, fuel) in [
        ("fill", 4096 + 5),
        ("copy", 4096 + 5),
        ("grow", 4096 + 4),
        ("init", 1 + 5),
        ("move", 100 + 5),
        ("data", 2 + 5),
    ] {
        let (result, ended) = guest.call(name, &[], Deadline::Fuel(10_000));
        result.unwrap();
        assert_eq!(ended.fuel, Some(fuel), "{name}");
    }
}

/// A function of many ways, none of which may be cheaper than what is done on it.
#[test]
fn no_way_through_a_large_function_is_free() {
    let work = work(50);
    let wat = format!(
        "(module (func (export \"f\") (param i32) (result i32) (local i32)
            (block $out
                (block $two (block $one (block $zero (br_table $zero $one $two $out (local.get 0)))
                        {work} (br $out)) {work} {work})
                {work}
                (if (i32.eq (local.get 0) (i32.const 1)) (then {work} (return (local.get 1))) (else {work}))
                (br_if $out (i32.const 1))
                {work})
            (local.get 1)))"
    );
    let mut plain = Guest::new(&wat, Checks::default(), &unwatched());
    for checks in [FUEL, BOTH] {
        let mut guest = Guest::new(&wat, checks, &unwatched());
        for way in 0..4 {
            let expected = plain.call("f", &[Value::I32(way)], Deadline::None).0.unwrap();
            let (result, ended) = guest.call("f", &[Value::I32(way)], Deadline::Fuel(100_000));
            let result = result.unwrap();
            assert_eq!(result, expected);
            let done = u64::from(result[0].unwrap_i32().unsigned_abs()) * 4;
            let fuel = ended.fuel.unwrap();
            assert!(
                (done..done + 20).contains(&fuel),
                "way {way}: {done} done, {fuel} charged"
            );
        }
    }
}

/// Whoever does much after each of many calls, on the way back, is found out on the way back.
#[test]
fn what_is_done_on_the_way_back_is_tested() {
    let work = work(1100);
    let wat = format!(
        "(module (global $done (mut i32) (i32.const 0)) (export \"done\" (global $done))
            (func $f (export \"f\") (param i32) (local i32)
                (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1)))))
                {work}
                (global.set $done (i32.add (global.get $done) (i32.const 1)))))"
    );
    let mut guest = Guest::new(&wat, FUEL, &unwatched());
    guest.times_out("f", &[Value::I32(100)], Deadline::Fuel(4000));
    let done = guest.instance.exports.get_global("done").unwrap().clone();
    assert_eq!(done.get(&mut guest.store), Value::I32(0));
}

/// A test that stands on a way that is not taken counts for nothing.
#[test]
fn no_way_is_long_without_a_test() {
    let short = work(25);
    for (name, skip) in [
        ("br_if", "(block (br_if 0 (i32.const 1)) (loop))"),
        ("br", "(block (if (i32.const 1) (then (br 1))) (loop))"),
        ("br_table", "(block (block (br_table 1 0 (i32.const 0))) (loop))"),
        (
            "br_table's last",
            "(block (block (br_table 0 1 (i32.const 9))) (loop))",
        ),
        ("if", "(if (i32.const 0) (then (loop)))"),
        ("then", "(if (i32.const 1) (then) (else (loop)))"),
        ("else", "(if (i32.const 0) (then (loop)) (else))"),
    ] {
        let rounds = format!("{skip} {short}").repeat(12);
        let wat = format!("(module (func (export \"f\") (param i32) (local i32) {rounds}))");
        for checks in [FUEL, BOTH] {
            let mut guest = Guest::new(&wat, checks, &unwatched());
            let ended = guest.times_out("f", &[Value::I32(0)], Deadline::Fuel(200));
            let most = 200 + u64::from(STRETCH) + 4 * 25;
            assert!(ended.fuel.is_some_and(|fuel| fuel <= most), "{name}: {ended:?}");
        }
    }
}

/// Whichever way a function is left, what it has used is known outside.
#[test]
fn no_way_out_forgets_the_fuel() {
    let work = work(50);
    for (name, results, way) in [
        ("end", "i32", "(i32.const 1)"),
        ("end of two", "i32 i32", "(i32.const 1) (i32.const 2)"),
        ("return", "i32", "(return (i32.const 1))"),
        ("return of two", "i32 i32", "(return (i32.const 1) (i32.const 2))"),
        ("br", "i64", "(br 0 (i64.const 1))"),
        ("br of two", "i32 f64", "(br 0 (i32.const 1) (f64.const 2))"),
        (
            "br_if",
            "f32",
            "(br_if 0 (f32.const 1) (i32.const 1)) drop unreachable",
        ),
        (
            "br_if of two",
            "i32 i32",
            "(br_if 0 (i32.const 1) (i32.const 2) (i32.const 1)) drop drop unreachable",
        ),
        ("br_table", "f64", "(br_table 0 0 0 (f64.const 1) (local.get 0))"),
        (
            "br_table of two",
            "i32 i32",
            "(br_table 0 0 (i32.const 1) (i32.const 2) (local.get 0))",
        ),
        ("a reference", "funcref", "(ref.null func)"),
        ("another", "externref", "(br 0 (ref.null extern))"),
        ("a vector", "v128", "(v128.const i32x4 1 2 3 4)"),
        ("nothing", "", "(br 0)"),
        (
            "deep inside",
            "",
            "(block (loop (br_if 2 (i32.const 1)) unreachable))",
        ),
    ] {
        let wat = format!(
            "(module (func $g (param i32) (result {results}) (local i32) (loop) {work} {way})
                (func (export \"f\") (local i32) (local.set 0 (i32.const 10)) (loop
                    (call $g (i32.const 0)) {}
                    (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))",
            "drop ".repeat(results.split_whitespace().count())
        );
        for checks in [FUEL, BOTH] {
            let mut guest = Guest::new(&wat, checks, &unwatched());
            let (result, ended) = guest.call("f", &[], Deadline::Fuel(1_000_000));
            result.unwrap();
            assert!(
                ended.fuel.is_some_and(|fuel| (2000..2300).contains(&fuel)),
                "{name}: {ended:?}"
            );
        }
    }
}

/// A call may have more than one slice, and what is left of the last.
#[test]
fn slices_make_up_the_fuel() {
    let wat = "(module (memory 1) (func (export \"f\") (param i32) (loop
        (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
        (func (export \"fill\") (memory.fill (i32.const 0) (i32.const 0) (i32.const -1))))";
    let slice = u64::try_from(Checks::SLICE).unwrap();
    let mut guest = Guest::new(wat, BOTH, &unwatched());
    for rounds in [slice / 5, slice, slice * 3] {
        let argument = [Value::I32(i32::try_from(rounds).unwrap())];
        let used = 5 * rounds + 1;
        let (result, ended) = guest.call("f", &argument, Deadline::Fuel(used));
        result.unwrap();
        assert_eq!((ended.fuel, ended.is_over), (Some(used), false));
        guest.times_out("f", &argument, Deadline::Fuel(used - 1));
    }
    // An operation that costs more than a slice takes as many as it needs.
    let ended = guest.times_out("fill", &[], Deadline::Fuel(slice * 3));
    assert!(ended.fuel.is_some_and(|fuel| fuel > u64::from(u32::MAX) / 16));
    let (result, ended) = guest.call("fill", &[], Deadline::Fuel(slice * 300));
    assert_eq!(
        result.unwrap_err().to_trap(),
        Some(wasmer::sys::vm::TrapCode::HeapAccessOutOfBounds)
    );
    assert!(!ended.is_over);
    assert!(ended.fuel.is_some_and(|fuel| fuel > u64::from(u32::MAX) / 16));
}
