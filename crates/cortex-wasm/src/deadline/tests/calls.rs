//! Calls that end, one way or another.

use super::guest::{BOTH, FUEL, Guest, STOP, unwatched};
use crate::deadline::limit::Deadline;
use crate::deadline::watch::Watch;
use cortex_core::{Clock, SystemClock};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wasmer::sys::vm::TrapCode;
use wasmer::{Function, FunctionEnv, FunctionEnvMut, Value, imports};

/// Functions that never end, each in a way of its own.
const ENDLESS: [(&str, &str); 12] = [
    ("spin", "(func (export \"f\") (loop br 0))"),
    (
        "spin on a condition",
        "(func (export \"f\") (loop i32.const 1 br_if 0))",
    ),
    (
        "nested",
        "(func (export \"f\") (loop (loop (loop i32.const 0 br_if 0) i32.const 0 br_if 0) br 0))",
    ),
    (
        "inner of nested",
        "(func (export \"f\") (loop (loop (loop br 0) br 0) br 0))",
    ),
    (
        "table",
        "(func (export \"f\") (loop (block (br_table 0 1 1 (i32.const 7)))))",
    ),
    (
        "with values",
        "(func (export \"f\") (result i32) i32.const 1 (loop (param i32) (result i32) br 0))",
    ),
    (
        "after a loop that ends",
        "(func (export \"f\") (local i32)
            (loop (br_if 0 (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 9))))
            (loop br 0))",
    ),
    (
        "by calls of a leaf",
        "(func $leaf (result i32) i32.const 1) (func (export \"f\") (loop (br_if 0 (call $leaf))))",
    ),
    (
        "by a long way round",
        "(func (export \"f\") (local i32) (loop
            (block (block (block (br_table 0 1 2 (i32.and (local.get 0) (i32.const 3))))
                (local.set 0 (i32.add (local.get 0) (i32.const 1))) (br 2))
                (local.set 0 (i32.mul (local.get 0) (i32.const 3))) (br 1))
            (local.set 0 (i32.xor (local.get 0) (i32.const 5))) (br 0)))",
    ),
    (
        "by exponential recursion",
        "(func $f (export \"f\") (call $g (i32.const 60)))
         (func $g (param i32) (if (local.get 0) (then
            (call $g (i32.sub (local.get 0) (i32.const 1)))
            (call $g (i32.sub (local.get 0) (i32.const 1))))))",
    ),
    (
        "by filling memory",
        "(memory 1) (func (export \"f\") (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) br 0))",
    ),
    (
        "by indirect calls",
        "(table 1 funcref) (elem (i32.const 0) $f)
         (func $f (export \"f\") (loop (br 0 (if (i32.const 0) (then (call_indirect (i32.const 0)))))))",
    ),
];

#[test]
fn fuel_ends_what_never_ends() {
    let watch = unwatched();
    for (name, function) in ENDLESS {
        for checks in [FUEL, BOTH] {
            let mut guest = Guest::new(&format!("(module {function})"), checks, &watch);
            let first = guest.times_out("f", &[], Deadline::Fuel(10_000));
            let fuel = first.fuel.unwrap();
            assert!((10_001..20_000).contains(&fuel), "{name}: {fuel}");
            // As much each time, and a call may follow.
            assert_eq!(guest.times_out("f", &[], Deadline::Fuel(10_000)), first, "{name}");
        }
    }
}

#[test]
fn the_clock_ends_what_never_ends() {
    let watch = Watch::start(SystemClock).unwrap();
    let limit = Duration::from_millis(3);
    for (name, function) in ENDLESS {
        for checks in [STOP, BOTH] {
            let mut guest = Guest::new(&format!("(module {function})"), checks, &watch);
            for _ in 0..2 {
                let begun = SystemClock.now();
                guest.times_out("f", &[], Deadline::Wall(limit));
                assert!(SystemClock.now() - begun >= limit, "{name}: too early");
            }
        }
    }
}

#[test]
fn recursion_without_end_is_stopped() {
    // There is room for more calls than for fuel.
    let wat = "(module (func $f (export \"f\") (call $f)))";
    let mut guest = Guest::new(wat, FUEL, &unwatched());
    guest.times_out("f", &[], Deadline::Fuel(1000));
    let (result, ended) = guest.call("f", &[], Deadline::None);
    let trap = result.unwrap_err().to_trap();
    assert_eq!(trap, Some(TrapCode::StackOverflow));
    assert!(!ended.is_over);
}

#[test]
fn a_start_function_waits_for_its_deadline() {
    for rest in [
        "",
        "(func (export \"start\"))",
        "(global (export \"start\") i32 (i32.const 1)) (global (mut i64) (i64.const 2))",
    ] {
        let wat = format!("(module (func $s (loop br 0)) (start $s) {rest})");
        let mut guest = Guest::new(&wat, FUEL, &unwatched());
        let start = guest.checked.start.clone().unwrap();
        assert_eq!(start, if rest.is_empty() { "start" } else { "start_" });
        guest.times_out(&start, &[], Deadline::Fuel(100));
    }
    let wat = "(module (func (export \"f\")))";
    assert_eq!(Guest::new(wat, FUEL, &unwatched()).checked.start, None);
}

#[test]
fn what_a_guest_traps_at_itself_is_not_the_deadline() {
    let watch = Watch::start(SystemClock).unwrap();
    let wat = "(module (memory 1)
        (func (export \"own\") (local i32) (loop (local.set 0 (i32.const 1))) unreachable)
        (func (export \"bounds\") (loop (drop (i32.load (i32.const -1))))))";
    for checks in [FUEL, STOP, BOTH] {
        let mut guest = Guest::new(wat, checks, &watch);
        for deadline in [
            Deadline::Fuel(1000),
            Deadline::Wall(Duration::from_hours(1)),
            Deadline::None,
        ] {
            for (name, code) in [
                ("own", TrapCode::UnreachableCodeReached),
                ("bounds", TrapCode::HeapAccessOutOfBounds),
            ] {
                let (result, ended) = guest.call(name, &[], deadline);
                assert_eq!(result.unwrap_err().to_trap(), Some(code));
                assert!(!ended.is_over, "{name} {checks:?} {deadline:?}");
            }
        }
    }
}

/// Where a host function finds the fuel.
type Slot = Arc<Mutex<Option<crate::deadline::cell::Cell>>>;

#[test]
fn a_host_function_sees_the_fuel_and_may_take_some() {
    // The guest's loop keeps the fuel in a local, which must be written back for the call and read again after it.
    let wat =
        "(module (import \"host\" \"take\" (func $take)) (global (export \"mine\") (mut i64) (i64.const 5))
        (func (export \"f\") (param i32) (loop
            (call $take)
            (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))";
    let seen = Arc::new(Mutex::new(Vec::new()));
    let fuel: Slot = Arc::default();
    let mut guest = Guest::with(wat, FUEL, &unwatched(), |store| {
        let env = FunctionEnv::new(store, (Arc::clone(&seen), Arc::clone(&fuel)));
        let take = |env: FunctionEnvMut<'_, (Arc<Mutex<Vec<i64>>>, Slot)>| {
            use crate::deadline::cell::Word;
            let (seen, fuel) = env.data();
            let fuel = fuel.lock().expect("nobody panics here");
            let fuel = fuel.as_ref().expect("it is set by now");
            seen.lock().expect("nobody panics here").push(fuel.get());
            fuel.set(fuel.get() - 1000);
        };
        imports! { "host" => { "take" => Function::new_typed_with_env(store, &env, take) } }
    });
    *fuel.lock().unwrap() = guest.meter.fuel_cell();
    let (result, ended) = guest.call("f", &[Value::I32(3)], Deadline::Fuel(10_000));
    result.unwrap();
    assert_eq!(*seen.lock().unwrap(), [9993, 8987, 7981]);
    assert_eq!(ended.fuel, Some(3 * 1006 + 1));
    guest.times_out("f", &[Value::I32(100)], Deadline::Fuel(10_000));
    assert!(guest.meter.is_over());
}

#[test]
fn a_call_is_stopped_from_another_thread_and_no_other_call_is() {
    let watch = Watch::start(SystemClock).unwrap();
    let wat = "(module (func (export \"f\") (loop br 0)) (func (export \"g\") (param i32) (loop
        (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))";
    let mut guest = Guest::new(wat, STOP, &watch);
    for _ in 0..3 {
        guest.meter.begin(Deadline::None, None);
        let stopper = guest.meter.stopper().unwrap();
        let function = guest.instance.exports.get_function("f").unwrap().clone();
        let late = stopper.clone();
        let thread = std::thread::spawn(move || stopper.stop());
        let result = function.call(&mut guest.store, &[]);
        thread.join().unwrap();
        assert_eq!(
            result.unwrap_err().to_trap(),
            Some(TrapCode::UnreachableCodeReached)
        );
        assert!(guest.meter.is_over());
        assert!(guest.meter.end().is_over);
        late.stop();
        let (result, ended) = guest.call(
            "g",
            &[Value::I32(1_000_000)],
            Deadline::Wall(Duration::from_hours(1)),
        );
        result.unwrap();
        assert!(!ended.is_over);
    }
}
