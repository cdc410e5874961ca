use super::Guest;
use crate::{Error, HostCx, HostError, Imports, Quota};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use wasmer::Value;

/// A guest that calls `env.f` with what it is called with.
const CALLER: &str = r#"(module
    (import "env" "f" (func $f (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "amber\ff")
    (func (export "call") (param i32 i32) (result i32) (call $f (local.get 0) (local.get 1))))"#;

fn guest<F>(function: F) -> Guest
where
    F: Fn(&mut HostCx<'_>, u32, u32) -> Result<u32, HostError> + Send + Sync + 'static,
{
    Guest::new(CALLER, &Imports::new().function("env", "f", function))
}

fn call(guest: &mut Guest, a: u32, b: u32) -> Result<u32, Error> {
    let arguments = [a, b].map(|it| Value::I32(it.cast_signed()));
    let result = guest.call("call", &arguments)?;
    Ok(result.expect("a result").unwrap_i32().cast_unsigned())
}

/// Pointers and lengths of which not one byte more is in a memory of 65,536 bytes, and those of which all are.
const OUTSIDE: [(u32, u32); 8] = [
    (0, 65_537),
    (65_535, 2),
    (65_536, 1),
    (1, 65_536),
    (u32::MAX, 1),
    (u32::MAX, u32::MAX),
    (1, u32::MAX),
    (0x8000_0000, 0x8000_0000),
];

fn is_outside(error: &Error) -> bool {
    matches!(error, Error::OutOfBounds { memory: 65_536, .. })
}

#[test]
fn each_pointer_of_a_guest_is_checked_whatever_is_done_with_it() {
    type Use = fn(&mut HostCx<'_>, u32, u32) -> Result<u32, HostError>;
    let uses: [Use; 7] = [
        |cx, p, n| Ok(u32::try_from(cx.bytes(p, n)?.len())?),
        |cx, p, n| Ok(u32::try_from(cx.bytes_mut(p, n)?.len())?),
        |cx, p, n| Ok(u32::try_from(cx.text(p, n)?.len())?),
        |cx, p, n| Ok(u32::try_from(cx.values::<u8>(p, n)?.len())?),
        |cx, p, n| Ok(u32::try_from(cx.data_and_bytes::<()>(p, n)?.1.len())?),
        |cx, p, n| {
            // Not as many as a guest says: what is there.
            let bytes = vec![1_u8; n.min(70_000) as usize];
            cx.copy_in(p, &bytes)?;
            Ok(n)
        },
        |cx, p, n| {
            let mut bytes = vec![1_u8; n.min(70_000) as usize];
            cx.copy_out(p, &mut bytes)?;
            Ok(n)
        },
    ];
    for (index, function) in uses.into_iter().enumerate() {
        let imports = Imports::new().data(|| ()).function(
            "env",
            "f",
            move |cx: &mut HostCx<'_>, p: u32, n: u32| -> Result<u32, HostError> { function(cx, p, n) },
        );
        let mut guest = Guest::new(CALLER, &imports);
        for (pointer, length) in OUTSIDE {
            let before = guest.memory().to_vec();
            let error = call(&mut guest, pointer, length).unwrap_err();
            assert!(is_outside(&error), "{index}, {pointer} {length}: {error}");
            assert!(guest.memory() == before);
        }
        for (pointer, length) in [(6, 65_530), (65_536, 0), (10, 10)] {
            assert_eq!(call(&mut guest, pointer, length).unwrap(), length, "{index}");
        }
    }
}

#[test]
fn each_pointer_to_a_value_is_checked() {
    let mut reads = guest(|cx, p, _| Ok(u32::from(cx.read::<[u8; 8]>(p)?[0])));
    let mut writes = guest(|cx, p, value| {
        cx.write(p, u64::from(value) << 32 | 1)?;
        Ok(0)
    });
    for pointer in [65_529, 65_536, u32::MAX, u32::MAX - 7] {
        assert!(is_outside(&call(&mut reads, pointer, 0).unwrap_err()));
        assert!(is_outside(&call(&mut writes, pointer, 0).unwrap_err()));
    }
    assert_eq!(call(&mut reads, 0, 0).unwrap(), u32::from(b'a'));
    call(&mut writes, 65_528, 0x0102_0304).unwrap();
    assert_eq!(writes.memory()[65_528..], [1, 0, 0, 0, 4, 3, 2, 1]);
}

#[test]
fn the_memory_that_is_seen_is_the_one_that_has_grown() {
    let text = r#"(module
        (import "env" "len" (func $len (result i64)))
        (memory 1)
        (func (export "run") (result i64)
            (drop (memory.grow (i32.const 2)))
            (call $len)))"#;
    let imports = Imports::new().function("env", "len", |cx: &mut HostCx<'_>| -> Result<u64, HostError> {
        cx.bytes(0, 3 << 16)?;
        Ok(cx.memory_len()?)
    });
    let mut guest = Guest::new(text, &imports);
    assert_eq!(guest.call("run", &[]).unwrap(), Some(Value::I64(3 << 16)));
}

#[test]
fn text_is_looked_at() {
    let mut guest = guest(|cx, p, n| Ok(u32::try_from(cx.text(p, n)?.chars().count())?));
    assert_eq!(call(&mut guest, 0, 5).unwrap(), 5);
    let error = call(&mut guest, 0, 6).unwrap_err();
    assert!(
        matches!(
            error,
            Error::NotText {
                pointer: 0,
                length: 6,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_guest_without_a_memory_lends_none() {
    let text = r#"(module (import "env" "f" (func $f (param i32 i32) (result i32)))
        (func (export "call") (param i32 i32) (result i32) (call $f (local.get 0) (local.get 1))))"#;
    let imports = Imports::new().function("env", "f", |cx: &mut HostCx<'_>, p: u32, n: u32| {
        Ok::<_, HostError>(u32::try_from(cx.bytes(p, n)?.len())?)
    });
    let error = call(&mut Guest::new(text, &imports), 0, 0).unwrap_err();
    assert!(matches!(error, Error::NoMemory), "{error}");
}

#[test]
fn an_error_of_the_hosts_own_is_told_with_the_function_and_the_guest_goes_no_further() {
    let mut guest = guest(|_, kind, _| match kind {
        0 => Err("12x".parse::<u32>().unwrap_err().into()),
        1 => Err(HostError::new("the shop is closed")),
        _ => Ok(3),
    });
    let error = call(&mut guest, 0, 0).unwrap_err();
    assert_eq!(error.to_string(), "call the host function `env.f`");
    let source = std::error::Error::source(&error).expect("a source");
    assert!(source.is::<std::num::ParseIntError>(), "{source}");
    let error = call(&mut guest, 1, 0).unwrap_err();
    let source = std::error::Error::source(&error).expect("a source");
    assert_eq!(source.to_string(), "the shop is closed");
    assert_eq!(call(&mut guest, 2, 0).unwrap(), 3);
}

#[test]
fn a_panic_does_not_unwind_through_the_guest_and_says_what_it_said() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    impl fmt::Debug for Bomb {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            Ok(())
        }
    }
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    let mut guest = guest(|cx, kind, _| {
        let bomb = Bomb;
        match kind {
            0 => panic!("no {}", 7),
            1 => std::panic::panic_any(bomb),
            2 => panic!("{}", "x".repeat(100_000)),
            _ => Ok(u32::try_from(cx.memory_len()?)?),
        }
    });
    let says = |error: Error| match error {
        Error::HostPanic { message } => message,
        other => panic!("{other}"),
    };
    assert_eq!(&*says(call(&mut guest, 0, 0).unwrap_err()), "in `env.f`: no 7");
    assert_eq!(
        &*says(call(&mut guest, 1, 0).unwrap_err()),
        "in `env.f`: a value that is no text"
    );
    assert!(says(call(&mut guest, 2, 0).unwrap_err()).len() < 300);
    assert_eq!(
        DROPPED.load(Ordering::Relaxed),
        3,
        "the frames of the host unwind"
    );
    assert_eq!(
        call(&mut guest, 3, 0).unwrap(),
        65_536,
        "wasmer is whole after it"
    );
    assert_eq!(guest.usage().panics, 3);
}

#[test]
fn each_instance_has_data_of_its_own_and_new_one_after_a_reset() {
    struct Seen(Vec<u32>);
    let made = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&made);
    let imports = Imports::new()
        .data(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Seen(Vec::new())
        })
        .function(
            "env",
            "f",
            |cx: &mut HostCx<'_>, a: u32, _: u32| -> Result<u32, HostError> {
                let seen = cx.data::<Seen>()?;
                seen.0.push(a);
                Ok(seen.0.iter().sum())
            },
        );
    let mut first = Guest::new(CALLER, &imports);
    let mut second = Guest::new(CALLER, &imports);
    assert_eq!(call(&mut first, 5, 0).unwrap(), 5);
    assert_eq!(call(&mut first, 6, 0).unwrap(), 11);
    assert_eq!(call(&mut second, 1, 0).unwrap(), 1);
    assert_eq!(first.data::<Seen>().expect("it is kept").0, [5, 6]);
    first.reset();
    assert_eq!(call(&mut first, 2, 0).unwrap(), 2);
    assert_eq!(made.load(Ordering::Relaxed), 3);
    assert!(first.data::<String>().is_none());
}

#[test]
fn data_that_nobody_keeps_is_an_error() {
    let mut guest = guest(|cx, _, _| Ok(*cx.data::<u32>()?));
    let error = call(&mut guest, 0, 0).unwrap_err();
    assert_eq!(error.to_string(), "use a `u32`: none is kept for the guest");
}

#[test]
fn a_host_function_is_in_the_context_of_the_call() {
    use cortex_core::{Context, Deadline, SystemClock};
    let until = Deadline::after(
        cortex_core::Clock::now(&SystemClock),
        std::time::Duration::from_hours(1),
    );
    let mut guest = guest(move |cx, _, _| {
        assert_eq!(cx.import(), "env.f");
        assert!(format!("{cx:?}").contains("env.f"));
        Ok(u32::from(Context::current().deadline() == Some(until)))
    });
    assert_eq!(call(&mut guest, 0, 0).unwrap(), 0);
    let _attached = Context::new().with_deadline(until).attach();
    assert_eq!(call(&mut guest, 0, 0).unwrap(), 1);
}

#[test]
fn host_calls_and_output_are_counted_and_bounded_by_call() {
    let text = r#"(module
        (import "env" "f" (func $f (param i32)))
        (func (export "run") (param i32 i32)
            (loop $more
                (call $f (local.get 1))
                (br_if $more (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#;
    let imports = Imports::new().function(
        "env",
        "f",
        |cx: &mut HostCx<'_>, bytes: u32| -> Result<(), HostError> { Ok(cx.output(bytes.into())?) },
    );
    let quota = Quota::new().max_host_calls(10).max_output_bytes(100);
    let mut guest = Guest::with(text, &imports, quota);
    let mut run = |calls: i32, bytes: i32| guest.call("run", &[Value::I32(calls), Value::I32(bytes)]);
    assert!(run(10, 10).is_ok());
    assert!(run(10, 10).is_ok(), "the next call has all of it again");
    let error = run(11, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "use 11 calls of host functions where 10 are allowed"
    );
    let error = run(3, 34).unwrap_err();
    assert_eq!(error.to_string(), "use 102 bytes of output where 100 are allowed");
    let usage = guest.usage();
    assert_eq!(
        (usage.calls, usage.output_bytes, usage.dropped_bytes),
        (33, 268, 34),
        "what is refused is not counted as done"
    );
}
