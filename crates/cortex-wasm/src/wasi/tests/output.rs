use crate::imports::tests::Guest;
use crate::{Error, Imports, Quota, Stream, Wasi};
use std::sync::{Arc, Mutex};
use wasmer::Value;

/// What was printed: where, what, and whether it was cut.
type Lines = Arc<Mutex<Vec<(Stream, String, bool)>>>;

fn collecting(wasi: Wasi) -> (Wasi, Lines) {
    let lines = Lines::default();
    let sink = Arc::clone(&lines);
    let wasi = wasi.output(move |line| {
        let line = (line.stream(), line.text().to_owned(), line.is_cut());
        sink.lock().expect("nobody panics here").push(line);
    });
    (wasi, lines)
}

/// A guest that prints its text in so many parts.
fn printer(parts: &[&str], fd: u32) -> String {
    let mut data = String::new();
    let mut vectors = String::new();
    let mut at = 4096_u32;
    let le = |word: u32| word.to_le_bytes().map(|byte| format!("\\{byte:02x}")).concat();
    for part in parts {
        let bytes = part
            .bytes()
            .map(|byte| format!("\\{byte:02x}"))
            .collect::<Vec<_>>()
            .concat();
        let length = u32::try_from(part.len()).expect("it is short");
        data = format!("{data} (data (i32.const {at}) \"{bytes}\")");
        vectors += &(le(at) + &le(length));
        at += length;
    }
    format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            (memory 1) (data (i32.const 16) "{vectors}") {data}
            (func (export "print") (param $times i32) (result i32)
                (local $errno i32)
                (loop $more
                    (local.set $errno (call $write (i32.const {fd}) (i32.const 16) (i32.const {count}) (i32.const 0)))
                    (local.set $times (i32.sub (local.get $times) (i32.const 1)))
                    (br_if $more (i32.and (i32.eqz (local.get $errno)) (i32.gt_s (local.get $times) (i32.const 0)))))
                (local.get $errno)))"#,
        count = parts.len()
    )
}

fn print(guest: &mut Guest, times: i32) -> Result<i32, Error> {
    let result = guest.call("print", &[Value::I32(times)])?;
    Ok(result.expect("a result").unwrap_i32())
}

fn printed(lines: &Lines) -> Vec<(Stream, String, bool)> {
    std::mem::take(&mut *lines.lock().expect("nobody panics here"))
}

#[test]
fn lines_go_out_as_they_end_and_the_last_one_with_the_call() {
    let (wasi, lines) = collecting(Wasi::new());
    let text = printer(&["one\ntw", "o\r\n", "", "\nthree"], 1);
    let mut guest = Guest::new(&text, &Imports::new().wasi(wasi));
    assert_eq!(print(&mut guest, 1).unwrap(), 0);
    let out = |text: &str| (Stream::Stdout, text.to_owned(), false);
    assert_eq!(printed(&lines), [out("one"), out("two"), out(""), out("three")]);
    assert_eq!(
        guest.memory()[..4],
        15_u32.to_le_bytes(),
        "so many bytes were written"
    );
    assert_eq!(print(&mut guest, 2).unwrap(), 0);
    assert_eq!(printed(&lines)[3..5], [out("threeone"), out("two")]);
    assert_eq!(guest.usage().output_bytes, 45);

    let (wasi, lines) = collecting(Wasi::new());
    let mut guest = Guest::new(&printer(&["oh\n"], 2), &Imports::new().wasi(wasi));
    assert_eq!(print(&mut guest, 1).unwrap(), 0);
    assert_eq!(printed(&lines), [(Stream::Stderr, "oh".to_owned(), false)]);
}

#[test]
fn a_line_that_is_too_long_is_cut_and_the_next_one_is_not() {
    let (wasi, lines) = collecting(Wasi::new().line_bytes(8));
    let text = printer(&["12345678\n123456", "789\nnext\n", "123456789"], 1);
    let mut guest = Guest::new(&text, &Imports::new().wasi(wasi));
    assert_eq!(print(&mut guest, 1).unwrap(), 0);
    let out = |text: &str, is_cut| (Stream::Stdout, text.to_owned(), is_cut);
    assert_eq!(
        printed(&lines),
        [
            out("12345678", false),
            out("12345678", true),
            out("next", false),
            out("12345678", true)
        ]
    );
}

#[test]
fn what_is_not_text_is_made_text() {
    let (wasi, lines) = collecting(Wasi::new().line_bytes(5));
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory 1) (data (i32.const 0) "\10\00\00\00\08\00\00\00") (data (i32.const 16) "a\ffb\0a\e2\82\ac\c3")
        (func (export "print") (param i32) (result i32)
            (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))"#;
    let mut guest = Guest::new(text, &Imports::new().wasi(wasi));
    assert_eq!(print(&mut guest, 1).unwrap(), 0);
    let out = |text: &str| (Stream::Stdout, text.to_owned(), false);
    assert_eq!(printed(&lines), [out("a\u{fffd}b"), out("\u{20ac}\u{fffd}")]);
}

#[test]
fn a_call_prints_so_much_and_the_rest_is_dropped_and_counted() {
    let (wasi, lines) = collecting(Wasi::new());
    let imports = Imports::new().wasi(wasi);
    let quota = Quota::new().max_output_bytes(20);
    let mut guest = Guest::with(&printer(&["12345678\n"], 1), &imports, quota);
    assert_eq!(print(&mut guest, 1000).unwrap(), 0, "the guest doesn't notice");
    let out = |text: &str, is_cut| (Stream::Stdout, text.to_owned(), is_cut);
    assert_eq!(
        printed(&lines),
        [out("12345678", false), out("12345678", false), out("12", true)]
    );
    let usage = guest.usage();
    assert_eq!(
        (usage.calls, usage.output_bytes, usage.dropped_bytes),
        (1000, 20, 8980)
    );
    assert_eq!(print(&mut guest, 1).unwrap(), 0);
    assert_eq!(
        printed(&lines),
        [out("12345678", false)],
        "the next call may again"
    );
}

#[test]
fn buffers_that_are_hostile_print_nothing() {
    let text = |vectors: &str, count: u32| {
        format!(
            r#"(module
                (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
                (memory 1) (data (i32.const 0) "{vectors}")
                (func (export "print") (param i32) (result i32)
                    (call $write (i32.const 1) (i32.const 0) (i32.const {count}) (i32.const 60000))))"#
        )
    };
    let whole = r"\00\00\00\00\00\00\01\00"; // all of the memory
    for (vectors, count, expected) in [
        (r"\00\00\00\00\01\00\01\00".to_owned(), 1, None), // one byte more than all of it
        (r"\ff\ff\00\00\02\00\00\00".to_owned(), 1, None), // the last byte and the next one
        (r"\01\00\00\00\ff\ff\ff\ff".to_owned(), 1, None), // around 32 bits
        (whole.repeat(2) + r"\00\00\00\80\01\00\00\00", 3, None), // only the last one is bad
        (whole.repeat(1024), 1025, Some(28)),              // more than may be
        (whole.repeat(1024), 1024, Some(0)),               // 64 MiB, of which a few bytes go out
    ] {
        let (wasi, lines) = collecting(Wasi::new());
        let imports = Imports::new().wasi(wasi);
        let mut guest = Guest::with(
            &text(&vectors, count),
            &imports,
            Quota::new().max_output_bytes(100),
        );
        match (print(&mut guest, 1), expected) {
            (Err(Error::OutOfBounds { .. }), None) => assert!(printed(&lines).is_empty()),
            (Ok(errno), Some(expected)) if errno == expected => {
                let bytes: usize = printed(&lines).iter().map(|line| line.1.len()).sum();
                assert!(bytes <= 300, "what is no text becomes three bytes each");
            }
            (found, _) => panic!("{count}: {found:?}"),
        }
    }
}

#[test]
fn nobody_needs_to_listen() {
    let mut guest = Guest::new(&printer(&["one\ntwo"], 1), &Imports::new().wasi(Wasi::new()));
    assert_eq!(print(&mut guest, 3).unwrap(), 0);
    assert_eq!(guest.usage().output_bytes, 21);
}

#[test]
fn who_listens_may_panic() {
    let wasi = Wasi::new().output(|line| assert_eq!(line.text(), "fine"));
    let mut guest = Guest::new(&printer(&["fine\nbad"], 1), &Imports::new().wasi(wasi.clone()));
    let error = guest
        .try_call("print", &[Value::I32(1)])
        .unwrap_err()
        .expect_err("at its end");
    assert!(matches!(error, Error::HostPanic { .. }), "{error}");
    let mut guest = Guest::new(&printer(&["bad\n"], 1), &Imports::new().wasi(wasi));
    let error = print(&mut guest, 1).unwrap_err();
    assert!(
        error.to_string().contains("wasi_snapshot_preview1.fd_write"),
        "{error}"
    );
}
