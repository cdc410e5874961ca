//! What deadlines cost.

use super::guest::{BOTH, FUEL, Guest, STOP};
use crate::deadline::checks::Checks;
use crate::deadline::limit::Deadline;
use crate::deadline::watch::Watch;
use cortex_core::{Clock, SystemClock};
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

const FIB: &str = "(module (func $fib (export \"f\") (param i32) (result i32)
    (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
        (then (local.get 0))
        (else (i32.add
            (call $fib (i32.sub (local.get 0) (i32.const 1)))
            (call $fib (i32.sub (local.get 0) (i32.const 2))))))))";

/// Counts the primes below the argument.
const SIEVE: &str = "(module (memory 1) (func (export \"f\") (param $n i32) (result i32)
    (local $i i32) (local $j i32) (local $count i32)
    (memory.fill (i32.const 0) (i32.const 0) (local.get $n))
    (local.set $i (i32.const 2))
    (block $done (loop $next
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (if (i32.eqz (i32.load8_u (local.get $i))) (then
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (local.set $j (i32.shl (local.get $i) (i32.const 1)))
            (block $marked (loop $mark
                (br_if $marked (i32.ge_u (local.get $j) (local.get $n)))
                (i32.store8 (local.get $j) (i32.const 1))
                (local.set $j (i32.add (local.get $j) (local.get $i)))
                (br $mark)))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (local.get $count)))";

/// Sums bytes: a loop as short as there are.
const SUM: &str = "(module (memory 1) (func (export \"f\") (param $n i32) (result i32) (local $sum i32)
    (loop $next
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $n))))
        (br_if $next (local.get $n)))
    (local.get $sum)))";

/// Multiplies matrices of numbers, which are made up, and sums the result.
const MATRIX: &str = "(module (memory 4) (func (export \"f\") (param $n i32) (result i32)
    (local $i i32) (local $j i32) (local $k i32) (local $sum i32) (local $total i32)
    (loop $rows
        (local.set $j (i32.const 0))
        (loop $columns
            (local.set $k (i32.const 0))
            (local.set $sum (i32.const 0))
            (loop $products
                (local.set $sum (i32.add (local.get $sum) (i32.mul
                    (i32.load (i32.shl (i32.add (i32.mul (local.get $i) (local.get $n)) (local.get $k)) (i32.const 2)))
                    (i32.load offset=65536
                        (i32.shl (i32.add (i32.mul (local.get $k) (local.get $n)) (local.get $j)) (i32.const 2))))))
                (br_if $products (i32.lt_u
                    (local.tee $k (i32.add (local.get $k) (i32.const 1))) (local.get $n))))
            (local.set $total (i32.add (local.get $total) (local.get $sum)))
            (br_if $columns (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
        (br_if $rows (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $total)))";

/// Sorts by insertion what a small generator makes, and returns the least.
const SORT: &str = "(module (memory 1) (func (export \"f\") (param $n i32) (result i32)
    (local $i i32) (local $j i32) (local $x i32) (local $y i32)
    (local.set $x (i32.const 12345))
    (loop $fill
        (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1103515245)) (i32.const 12345)))
        (i32.store (i32.shl (local.get $i) (i32.const 2)) (i32.shr_u (local.get $x) (i32.const 8)))
        (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.set $i (i32.const 1))
    (loop $next
        (local.set $x (i32.load (i32.shl (local.get $i) (i32.const 2))))
        (local.set $j (local.get $i))
        (block $found (loop $shift
            (br_if $found (i32.eqz (local.get $j)))
            (local.set $y (i32.load (i32.sub (i32.shl (local.get $j) (i32.const 2)) (i32.const 4))))
            (br_if $found (i32.le_u (local.get $y) (local.get $x)))
            (i32.store (i32.shl (local.get $j) (i32.const 2)) (local.get $y))
            (local.set $j (i32.sub (local.get $j) (i32.const 1)))
            (br $shift)))
        (i32.store (i32.shl (local.get $j) (i32.const 2)) (local.get $x))
        (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (i32.load (i32.const 0))))";

/// A checksum, bit by bit.
const CRC: &str = "(module (memory 1) (func (export \"f\") (param $n i32) (result i32) (local $crc i32) (local $bit i32)
    (local.set $crc (i32.const -1))
    (loop $bytes
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (local.set $crc (i32.xor (local.get $crc) (i32.load8_u (local.get $n))))
        (local.set $bit (i32.const 8))
        (loop $bits
            (local.set $crc (i32.xor (i32.shr_u (local.get $crc) (i32.const 1))
                (i32.and (i32.const 0xedb88320) (i32.sub (i32.const 0) (i32.and (local.get $crc) (i32.const 1))))))
            (br_if $bits (local.tee $bit (i32.sub (local.get $bit) (i32.const 1)))))
        (br_if $bytes (local.get $n)))
    (i32.eqz (local.get $crc))))";

/// Times of a program without a deadline, with fuel, with a stop, and with both, in microseconds.
fn measure(wat: &str, argument: i32, watch: &Watch) -> [f64; 4] {
    let mut guests = [Checks::default(), FUEL, STOP, BOTH].map(|checks| Guest::new(wat, checks, watch));
    let mut least = [Duration::MAX; 4];
    let mut results = [None; 4];
    for _ in 0..300 {
        for ((guest, least), result) in guests.iter_mut().zip(&mut least).zip(&mut results) {
            let function = guest
                .instance
                .exports
                .get_typed_function::<i32, i32>(&guest.store, "f");
            let function = function.expect("it takes a number and returns one");
            guest.meter.begin(Deadline::Wall(Duration::from_hours(1)), None);
            let begun = SystemClock.now();
            let returned = function
                .call(&mut guest.store, argument)
                .expect("it ends in time");
            *least = (*least).min(SystemClock.now() - begun);
            *result = Some(returned);
            guest.meter.end();
        }
    }
    assert_eq!(results, [results[0]; 4]);
    least.map(|time| time.as_secs_f64() * 1e6)
}

/// How much longer code takes that keeps a deadline. The guest's code is the same whatever the host was compiled
/// with.
///
/// A single program's ratio depends on how its code happens to be aligned, so that the bound is on the mean of
/// several.
#[test]
#[ignore = "measures; run alone: cargo test -p cortex-wasm -- --ignored deadlines_cost"]
fn deadlines_cost_little() {
    let watch = Watch::start(SystemClock).unwrap();
    let mut report = String::new();
    let mut means = [1.0; 3];
    let loops = [
        ("sieve", SIEVE, 30_000),
        ("sum", SUM, 30_000),
        ("matrix", MATRIX, 48),
        ("sort", SORT, 400),
        ("crc", CRC, 4000),
    ];
    for (name, wat, argument) in [("fib", FIB, 20)].into_iter().chain(loops) {
        let [plain, with @ ..] = measure(wat, argument, &watch);
        let ratios = with.map(|time| time / plain);
        let [fuel, stop, both] = ratios;
        writeln!(
            report,
            "{name}: {plain:.1} us, fuel {fuel:.2}x, stop {stop:.2}x, both {both:.2}x"
        )
        .unwrap();
        if name == "fib" {
            assert!(ratios.iter().all(|&ratio| ratio <= 1.25), "calls: {report}");
            continue;
        }
        for (mean, ratio) in means.iter_mut().zip(ratios) {
            *mean *= ratio;
        }
    }
    let means = means.map(|product: f64| product.powf(0.2));
    writeln!(report, "loops, geometric means: {means:.2?}").unwrap();
    std::io::stderr().write_all(report.as_bytes()).unwrap();
    assert!(means.iter().all(|&mean| mean <= 1.25), "{report}");
}

/// How late calls end that run for too long.
#[test]
#[ignore = "measures; run alone: cargo test -p cortex-wasm -- --ignored stops_are_prompt"]
fn stops_are_prompt() {
    let watch = Watch::start(SystemClock).unwrap();
    let wat = "(module (func (export \"f\") (loop br 0)))";
    let limit = Duration::from_millis(2);
    let mut report = String::new();
    for (name, checks) in [("stop", STOP), ("both", BOTH)] {
        let mut guest = Guest::new(wat, checks, &watch);
        let mut late: Vec<Duration> = std::iter::repeat_with(|| {
            let begun = SystemClock.now();
            guest.times_out("f", &[], Deadline::Wall(limit));
            (SystemClock.now() - begun).saturating_sub(limit)
        })
        .take(300)
        .collect();
        late.sort_unstable();
        let [median, worst] = [late[late.len() / 2], late[late.len() - 1]];
        writeln!(report, "{name}: late by {median:?}, at most {worst:?}").unwrap();
        assert!(median <= Duration::from_millis(10), "{report}");
    }
    std::io::stderr().write_all(report.as_bytes()).unwrap();
}
