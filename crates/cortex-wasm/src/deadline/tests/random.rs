//! Guests of all shapes.

use super::guest::{BOTH, FUEL, Guest, STOP, unwatched};
use crate::deadline::checks::Checks;
use crate::deadline::cost::{SMALL, STRETCH};
use crate::deadline::limit::Deadline;
use crate::deadline::meter::Ended;
use proptest::prelude::*;
use std::fmt::Write as _;
use wasmer::Value;

/// Programs that end, made at random.
#[derive(Clone, Debug)]
enum Step {
    /// `x = x * a + b`.
    Mix(i32, i32),
    /// Stores `x` and loads it again.
    Store(u16),
    If(Vec<Self>, Vec<Self>),
    /// So many rounds, and a way out in the middle.
    Loop(u8, Vec<Self>, Vec<Self>),
    /// Leaves a block early.
    Skip(Vec<Self>, Vec<Self>),
    Switch(Vec<Self>, Vec<Self>, Vec<Self>),
    /// Calls the function that comes next.
    Call,
    Return,
    Fill(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let leaf = prop_oneof![
        6 => (any::<i32>(), any::<i32>()).prop_map(|(a, b)| Step::Mix(a, b)),
        2 => any::<u16>().prop_map(Step::Store),
        1 => Just(Step::Call),
        1 => Just(Step::Return),
        1 => any::<u8>().prop_map(Step::Fill),
    ];
    let step = leaf.prop_recursive(3, 24, 4, |inner| {
        let some = move || prop::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            (some(), some()).prop_map(|(a, b)| Step::If(a, b)),
            (0_u8..5, some(), some()).prop_map(|(n, a, b)| Step::Loop(n, a, b)),
            (some(), some()).prop_map(|(a, b)| Step::Skip(a, b)),
            (some(), some(), some()).prop_map(|(a, b, c)| Step::Switch(a, b, c)),
        ]
    });
    prop::collection::vec(step, 0..10)
}

/// Writes that so many operators are done, besides these.
fn done(operators: u32) -> String {
    let all = operators + 4;
    format!("(global.set $done (i64.add (global.get $done) (i64.const {all})))")
}

/// Writes that a function is entered, or a loop goes round.
fn head() -> String {
    let head = "(global.set $heads (i64.add (global.get $heads) (i64.const 1)))";
    format!("{head} {}", done(4))
}

/// Writes a function's steps, each of which says how many operators it does: local 0 is `x`, each loop counts in a
/// local of its own.
fn write(steps: &[Step], next: Option<usize>, locals: &mut u32, text: &mut String) {
    for step in steps {
        match step {
            Step::Mix(a, b) => {
                text.push_str(&done(6));
                write!(
                    text,
                    "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const {a})) (i32.const {b})))"
                )
            }
            Step::Store(at) => {
                text.push_str(&done(6));
                write!(
                    text,
                    "(i32.store (i32.const {at}) (local.get 0)) (local.set 0 (i32.load16_u (i32.const {at})))"
                )
            }
            Step::If(then, other) => {
                text.push_str(&done(4));
                text.push_str("(if (i32.and (local.get 0) (i32.const 1)) (then ");
                write(then, next, locals, text);
                text.push_str(") (else ");
                write(other, next, locals, text);
                write!(text, "))")
            }
            Step::Loop(rounds, first, second) => {
                *locals += 1;
                let local = *locals;
                text.push_str(&done(2));
                write!(text, "(local.set {local} (i32.const {rounds})) (block (loop ")
                    .expect("a string takes all");
                text.push_str(&head());
                write(first, next, locals, text);
                text.push_str(&done(5));
                text.push_str("(br_if 1 (i32.eqz (i32.and (local.get 0) (i32.const 7))))");
                write(second, next, locals, text);
                text.push_str(&done(7));
                write!(
                    text,
                    "(br_if 0 (i32.gt_s
                        (local.tee {local} (i32.sub (local.get {local}) (i32.const 1))) (i32.const 0)))))"
                )
            }
            Step::Skip(first, second) => {
                text.push_str("(block ");
                write(first, next, locals, text);
                text.push_str(&done(4));
                text.push_str("(br_if 0 (i32.and (local.get 0) (i32.const 2)))");
                write(second, next, locals, text);
                write!(text, ")")
            }
            Step::Switch(first, second, third) => {
                text.push_str(&done(4));
                text.push_str("(block (block (block (br_table 0 1 2 (i32.and (local.get 0) (i32.const 3))))");
                write(first, next, locals, text);
                text.push_str(&done(1));
                text.push_str(" br 1)");
                write(second, next, locals, text);
                text.push(')');
                write(third, next, locals, text);
                Ok(())
            }
            Step::Call => match next {
                Some(next) => {
                    text.push_str(&done(3));
                    write!(text, "(local.set 0 (call {next} (local.get 0)))")
                }
                None => Ok(()),
            },
            Step::Return => {
                text.push_str(&done(6));
                write!(
                    text,
                    "(if (i32.eq (i32.and (local.get 0) (i32.const 15)) (i32.const 3))
                        (then {} (return (local.get 0))))",
                    done(2)
                )
            }
            Step::Fill(length) => {
                text.push_str(&done(4 + u32::from(*length) / 16));
                write!(
                    text,
                    "(memory.fill (i32.const 0) (local.get 0) (i32.const {length}))"
                )
            }
        }
        .expect("a string takes all");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A deadline changes nothing but how long a guest may run.
    #[test]
    fn a_guest_computes_the_same_with_a_deadline(functions in prop::collection::vec(steps(), 1..4), argument: i32) {
        let mut wat = String::from(
            "(module (memory (export \"m\") 2)
                (global $done (export \"done\") (mut i64) (i64.const 0))
                (global $heads (export \"heads\") (mut i64) (i64.const 0))",
        );
        for (index, steps) in functions.iter().enumerate() {
            let next = (index + 1 < functions.len()).then_some(index + 1);
            let (mut locals, mut text) = (0, String::new());
            write(steps, next, &mut locals, &mut text);
            let name = if index == 0 { "(export \"f\")" } else { "" };
            let declared = " i32".repeat(locals as usize);
            let (head, last) = (head(), done(2)); // to enter is one, and to return the last value
            let code = format!("(local{declared}) {head} {text} {last} (local.get 0)");
            write!(wat, "(func {name} (param i32) (result i32) {code})").unwrap();
        }
        wat.push(')');
        let watch = unwatched();
        let arguments = [Value::I32(argument)];
        let mut plain = Guest::new(&wat, Checks::default(), &watch);
        let expected = plain.call("f", &arguments, Deadline::None).0.unwrap();
        let memory = plain.memory("m");
        let mut fuel = None;
        for checks in [FUEL, STOP, BOTH] {
            let mut guest = Guest::new(&wat, checks, &watch);
            let (result, ended) = guest.call("f", &arguments, Deadline::Fuel(100_000_000));
            prop_assert_eq!(&result.unwrap(), &expected);
            prop_assert!(!ended.is_over);
            prop_assert!(guest.memory("m") == memory, "other memory");
            let [done, heads] = ["done", "heads"].map(|name| guest.global(name));
            prop_assert_eq!([done, heads], ["done", "heads"].map(|name| plain.global(name)));
            if let Some(used) = ended.fuel {
                // No less than what is done, and no more than if each small piece is charged whole.
                prop_assert!((done..=done + heads * u64::from(SMALL)).contains(&used), "{used} of {done}, {heads}");
                // As much whenever it runs, and whatever else is tested.
                prop_assert_eq!(*fuel.get_or_insert(used), used);
                let (result, ended) = guest.call("f", &arguments, Deadline::Fuel(used));
                prop_assert_eq!(&result.unwrap(), &expected);
                prop_assert_eq!(ended, Ended { fuel: Some(used), is_over: false });
                // With half of it, the end comes soon after: in each function that is open, a stretch may go untested.
                let half = used / 2;
                let (_, ended) = guest.call("f", &arguments, Deadline::Fuel(half));
                let most = half + functions.len() as u64 * u64::from(STRETCH + SMALL);
                prop_assert!(ended.fuel.is_some_and(|fuel| fuel <= most), "{ended:?} of {half}, {used}");
            }
        }
    }
}
