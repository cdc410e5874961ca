use crate::imports::tests::Guest;
use crate::{Deadline, Error, Imports, Quota, Wasi};
use cortex_core::{Clock, SystemClock};
use std::cell::Cell;
use std::io;
use std::time::{Duration, Instant, SystemTime};
use wasmer::Value;

/// All functions of preview1 and what they take: `i` is an `i32`, `I` an `i64`. All return an `i32`, but `proc_exit`.
const ALL: [(&str, &str); 46] = [
    ("args_get", "ii"),
    ("args_sizes_get", "ii"),
    ("clock_res_get", "ii"),
    ("clock_time_get", "iIi"),
    ("environ_get", "ii"),
    ("environ_sizes_get", "ii"),
    ("fd_advise", "iIIi"),
    ("fd_allocate", "iII"),
    ("fd_close", "i"),
    ("fd_datasync", "i"),
    ("fd_fdstat_get", "ii"),
    ("fd_fdstat_set_flags", "ii"),
    ("fd_fdstat_set_rights", "iII"),
    ("fd_filestat_get", "ii"),
    ("fd_filestat_set_size", "iI"),
    ("fd_filestat_set_times", "iIIi"),
    ("fd_pread", "iiiIi"),
    ("fd_prestat_dir_name", "iii"),
    ("fd_prestat_get", "ii"),
    ("fd_pwrite", "iiiIi"),
    ("fd_read", "iiii"),
    ("fd_readdir", "iiiIi"),
    ("fd_renumber", "ii"),
    ("fd_seek", "iIii"),
    ("fd_sync", "i"),
    ("fd_tell", "ii"),
    ("fd_write", "iiii"),
    ("path_create_directory", "iii"),
    ("path_filestat_get", "iiiii"),
    ("path_filestat_set_times", "iiiiIIi"),
    ("path_link", "iiiiiii"),
    ("path_open", "iiiiiIIii"),
    ("path_readlink", "iiiiii"),
    ("path_remove_directory", "iii"),
    ("path_rename", "iiiiii"),
    ("path_symlink", "iiiii"),
    ("path_unlink_file", "iii"),
    ("poll_oneoff", "iiii"),
    ("proc_exit", "i"),
    ("proc_raise", "i"),
    ("random_get", "ii"),
    ("sched_yield", ""),
    ("sock_accept", "iii"),
    ("sock_recv", "iiiiii"),
    ("sock_send", "iiiii"),
    ("sock_shutdown", "ii"),
];

/// A guest that exports each function as it imports it, but with `i32`s only.
fn text() -> String {
    let imports = ALL.iter().map(|(name, parameters)| {
        let parameters = parameters.replace('i', " i32").replace('I', " i64");
        let result = if *name == "proc_exit" { "" } else { "(result i32)" };
        format!(
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param {parameters}) {result}))\n"
        )
    });
    let functions = ALL.iter().map(|(name, parameters)| {
        let arguments = parameters.chars().enumerate().map(|(index, kind)| match kind {
            'i' => format!("(local.get {index})"),
            _ => format!("(i64.extend_i32_u (local.get {index}))"),
        });
        let arguments: String = arguments.collect();
        let ours = " i32".repeat(parameters.len());
        let end = if *name == "proc_exit" { "(i32.const 0)" } else { "" };
        format!("(func (export \"{name}\") (param {ours}) (result i32) (call ${name} {arguments}) {end})\n")
    });
    let (imports, functions): (String, String) = (imports.collect(), functions.collect());
    format!("(module {imports} (memory 1) {functions})")
}

struct Tester {
    guest: Guest,
}

impl Tester {
    fn new(wasi: Wasi) -> Self {
        Self {
            guest: Guest::with(&text(), &Imports::new().wasi(wasi), Quota::new()),
        }
    }

    fn call(&mut self, name: &str, arguments: &[u32]) -> Result<u32, Error> {
        let arguments: Vec<_> = arguments.iter().map(|it| Value::I32(it.cast_signed())).collect();
        let result = self.guest.call(name, &arguments)?;
        Ok(result.expect("a result").unwrap_i32().cast_unsigned())
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.guest.memory()[at..at + 4].try_into().expect("four bytes"))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.guest.memory()[at..at + 8].try_into().expect("eight bytes"))
    }

    /// Has the guest put a word somewhere: by a clock that tells it.
    fn put(&mut self, at: u32, word: u64) {
        TOLD.set(word);
        let errno = self
            .call("clock_time_get", &[1, 0, at])
            .expect("it is in the memory");
        assert_eq!(errno, 0);
    }
}

std::thread_local! {
    static TOLD: Cell<u64> = const { Cell::new(0) };
    static STEP: Cell<u64> = const { Cell::new(0) };
}

/// Shows what it was told to, on the thread of the test, and goes on by a step whenever somebody looks.
struct Told(Instant);

impl Clock for Told {
    fn now(&self) -> Instant {
        let told = TOLD.get();
        TOLD.set(told + STEP.get());
        self.0 + Duration::from_nanos(told)
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(1_767_225_600_000_000_007)
    }
}

fn told() -> Wasi {
    TOLD.set(0);
    Wasi::new().clock(Told(SystemClock.now()))
}

#[test]
fn all_functions_are_there_and_what_needs_files_says_that_it_is_not() {
    let mut tester = Tester::new(Wasi::new());
    let mut missing = 0;
    for (name, parameters) in ALL {
        if name == "proc_exit" {
            continue;
        }
        let errno = tester.call(name, &vec![0; parameters.len()]).unwrap();
        let is_file = ["path_", "sock_"].iter().any(|it| name.starts_with(it));
        assert!(!is_file || errno == 52, "{name}: {errno}");
        missing += usize::from(errno == 52);
    }
    assert_eq!(missing, 30);
}

#[test]
fn arguments_and_variables_are_those_that_were_stated_and_no_others() {
    let wasi = Wasi::new().arg("guest").unwrap().arg("-v").unwrap();
    let wasi = wasi.env("LANG", "de").unwrap().env("EMPTY", "").unwrap();
    let mut tester = Tester::new(wasi);
    assert_eq!(tester.call("args_sizes_get", &[0, 4]).unwrap(), 0);
    assert_eq!((tester.u32(0), tester.u32(4)), (2, 9));
    assert_eq!(tester.call("args_get", &[8, 100]).unwrap(), 0);
    assert_eq!((tester.u32(8), tester.u32(12)), (100, 106));
    assert_eq!(&tester.guest.memory()[100..109], b"guest\0-v\0");
    assert_eq!(tester.call("environ_sizes_get", &[0, 4]).unwrap(), 0);
    assert_eq!((tester.u32(0), tester.u32(4)), (2, 15));
    assert_eq!(tester.call("environ_get", &[8, 200]).unwrap(), 0);
    assert_eq!((tester.u32(8), tester.u32(12)), (200, 208));
    assert_eq!(&tester.guest.memory()[200..215], b"LANG=de\0EMPTY=\0");

    let mut tester = Tester::new(Wasi::new());
    for name in ["args_sizes_get", "environ_sizes_get"] {
        assert_eq!(tester.call(name, &[0, 4]).unwrap(), 0);
        assert_eq!((tester.u32(0), tester.u32(4)), (0, 0), "this process has both");
    }
}

#[test]
fn what_c_could_not_read_is_refused() {
    for error in [
        Wasi::new().arg("a\0b").unwrap_err(),
        Wasi::new().env("A", "\0").unwrap_err(),
        Wasi::new().env("A=B", "c").unwrap_err(),
        Wasi::new().env("", "c").unwrap_err(),
    ] {
        assert!(matches!(error, Error::Argument { .. }), "{error}");
    }
    let error = Wasi::new().arg("a\0b").unwrap_err();
    assert_eq!(
        error.to_string(),
        r#"hand "a\0b" to the guest: it has a NUL, which would end it"#
    );
}

#[test]
fn no_pointer_is_believed() {
    let wasi = || Wasi::new().arg("guest").unwrap().env("A", "b").unwrap();
    let mut tester = Tester::new(wasi());
    let outside = 65_534;
    for (name, arguments) in [
        ("args_get", [outside, 0, 0, 0]),
        ("args_get", [0, outside, 0, 0]),
        ("args_sizes_get", [outside, 0, 0, 0]),
        ("args_sizes_get", [0, outside, 0, 0]),
        ("environ_get", [outside, 0, 0, 0]),
        ("environ_get", [0, u32::MAX, 0, 0]),
        ("environ_sizes_get", [0, u32::MAX, 0, 0]),
        ("clock_time_get", [0, 0, outside, 0]),
        ("clock_res_get", [0, outside, 0, 0]),
        ("fd_write", [1, outside, 1, 0]),
        ("fd_write", [1, u32::MAX - 7, 1024, 0]),
        ("fd_write", [1, 0, 0, outside]),
        ("fd_read", [0, 0, 0, outside]),
        ("fd_fdstat_get", [1, outside, 0, 0]),
        ("random_get", [outside, 3, 0, 0]),
        ("random_get", [u32::MAX, 1, 0, 0]),
        ("poll_oneoff", [outside, 0, 1, 0]),
        ("poll_oneoff", [0, outside, 1, 0]),
        ("poll_oneoff", [0, 0, 1, outside]),
    ] {
        let count = ALL.iter().find(|it| it.0 == name).expect("it exists").1.len();
        let error = tester.call(name, &arguments[..count]).unwrap_err();
        assert!(
            matches!(error, Error::OutOfBounds { memory: 65_536, .. }),
            "{name} {arguments:?}: {error}"
        );
    }
}

#[test]
fn the_time_is_that_of_the_clock() {
    let mut tester = Tester::new(told());
    tester.put(0, 5_000_000_001);
    assert_eq!(
        tester.u64(0),
        5_000_000_001,
        "since there is a Wasi, and not since the host began"
    );
    assert_eq!(tester.call("clock_time_get", &[0, 0, 0]).unwrap(), 0);
    assert_eq!(tester.u64(0), 1_767_225_600_000_000_007);
    for clock in [2, 3, 4, u32::MAX] {
        assert_eq!(tester.call("clock_time_get", &[clock, 0, 0]).unwrap(), 28);
        assert_eq!(tester.call("clock_res_get", &[clock, 0]).unwrap(), 28);
    }
    assert_eq!(tester.call("clock_res_get", &[1, 0]).unwrap(), 0);
    assert_eq!(tester.u64(0), 1);
    assert_eq!(tester.call("sched_yield", &[]).unwrap(), 0);
}

#[test]
fn random_bytes_are_those_of_the_host_and_not_endless() {
    let wasi = Wasi::new().random(|bytes| {
        if bytes.len() == 13 {
            return Err(io::Error::other("no entropy"));
        }
        bytes.fill(0xab);
        Ok(())
    });
    let mut tester = Tester::new(wasi);
    assert_eq!(tester.call("random_get", &[16, 8]).unwrap(), 0);
    assert_eq!(
        tester.guest.memory()[15..25],
        [0, 171, 171, 171, 171, 171, 171, 171, 171, 0]
    );
    assert_eq!(tester.call("random_get", &[0, 13]).unwrap(), 29);
    assert_eq!(tester.call("random_get", &[0, 65_536]).unwrap(), 0);
    assert_eq!(tester.call("random_get", &[0, 65_537]).unwrap(), 28);
    assert_eq!(tester.call("random_get", &[65_536, 0]).unwrap(), 0);

    let mut tester = Tester::new(Wasi::new());
    assert_eq!(tester.call("random_get", &[0, 65_536]).unwrap(), 0);
    let mut seen = [0_u32; 256];
    for byte in tester.guest.memory() {
        seen[usize::from(*byte)] += 1;
    }
    assert!(seen.iter().all(|count| (100..500).contains(count)), "{seen:?}");
}

#[test]
fn its_three_files_are_streams_and_can_be_closed() {
    let mut tester = Tester::new(Wasi::new());
    for (fd, rights) in [(0, 1 << 1), (1, 1 << 6), (2, 1 << 6)] {
        assert_eq!(tester.call("fd_fdstat_get", &[fd, 8]).unwrap(), 0);
        assert_eq!((tester.u64(8), tester.u64(16), tester.u64(24)), (2, rights, 0));
        assert_eq!(tester.call("fd_seek", &[fd, 0, 0, 0]).unwrap(), 70);
    }
    assert_eq!(tester.call("fd_read", &[0, 0, 0, 16]).unwrap(), 0);
    assert_eq!(tester.u32(16), 0, "there is nothing to read");
    assert_eq!(tester.call("fd_read", &[1, 0, 0, 16]).unwrap(), 8);
    assert_eq!(tester.call("fd_write", &[0, 0, 0, 16]).unwrap(), 8);
    assert_eq!(tester.call("fd_write", &[3, 0, 0, 16]).unwrap(), 8);
    assert_eq!(
        tester.call("fd_prestat_get", &[3, 0]).unwrap(),
        8,
        "there are no directories"
    );
    for fd in [0, 1, 2] {
        assert_eq!(tester.call("fd_close", &[fd]).unwrap(), 0);
        assert_eq!(tester.call("fd_close", &[fd]).unwrap(), 8);
        assert_eq!(tester.call("fd_seek", &[fd, 0, 0, 0]).unwrap(), 8);
        assert_eq!(tester.call("fd_fdstat_get", &[fd, 8]).unwrap(), 8);
    }
    assert_eq!(tester.call("fd_write", &[1, 0, 0, 16]).unwrap(), 8);
    assert_eq!(tester.call("fd_read", &[0, 0, 0, 16]).unwrap(), 8);
    assert_eq!(tester.call("fd_close", &[u32::MAX]).unwrap(), 8);
    tester.guest.reset();
    assert_eq!(tester.call("fd_close", &[1]).unwrap(), 0, "as new");
}

#[test]
fn to_exit_ends_the_call() {
    let mut tester = Tester::new(Wasi::new());
    for code in [0, 3, u32::MAX] {
        let error = tester.call("proc_exit", &[code]).unwrap_err();
        assert!(
            matches!(error, Error::Exited { code: found } if found == code),
            "{error}"
        );
    }
    let error = tester.call("proc_exit", &[3]).unwrap_err();
    assert_eq!(error.to_string(), "finish: the guest has exited with 3");
}

/// Writes a subscription: what it is known by, kind, clock, time, flags.
fn subscribe(tester: &mut Tester, at: u32, [user, kind, clock, time, flags]: [u64; 5]) {
    tester.put(at, user);
    tester.put(at + 8, kind);
    tester.put(at + 16, clock);
    tester.put(at + 24, time);
    tester.put(at + 40, flags);
    TOLD.set(0);
}

#[test]
fn who_sleeps_is_told_what_is_due() {
    let mut tester = Tester::new(told());
    subscribe(&mut tester, 0, [7, 0, 1, 0, 0]);
    subscribe(&mut tester, 48, [8, 0, 1, 3_600_000_000_000, 0]);
    subscribe(&mut tester, 96, [9, 0, 0, 5, 1]);
    assert_eq!(tester.call("poll_oneoff", &[0, 1000, 3, 2000]).unwrap(), 0);
    assert_eq!(tester.u32(2000), 2, "what is past is due at once");
    assert_eq!((tester.u64(1000), tester.u64(1008), tester.u64(1032)), (7, 0, 9));
    assert_eq!(tester.u64(1064), 0, "no third one");
}

#[test]
fn sleep_takes_as_long_as_the_clock_says() {
    let mut tester = Tester::new(told());
    subscribe(&mut tester, 0, [7, 0, 1, 5_000_000_000, 0]);
    STEP.set(1_000_000_000);
    let errno = tester.call("poll_oneoff", &[0, 1000, 1, 2000]).unwrap();
    STEP.set(0);
    assert_eq!((errno, tester.u32(2000), tester.u64(1000)), (0, 1, 7));
    let passed = TOLD.get() / 1_000_000_000;
    assert!((6..9).contains(&passed), "{passed}");
}

#[test]
fn who_sleeps_is_woken_by_the_deadline() {
    let mut tester = Tester::new(told());
    subscribe(&mut tester, 0, [7, 0, 1, u64::MAX, 0]);
    tester.guest.deadline = Deadline::Wall(Duration::from_millis(3));
    let error = tester.call("poll_oneoff", &[0, 1000, 1, 2000]).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    tester.guest.deadline = Deadline::None;
    tester.guest.stop_next = true;
    let error = tester.call("poll_oneoff", &[0, 1000, 1, 2000]).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
}

#[test]
fn what_cannot_be_waited_for_is_refused() {
    let mut tester = Tester::new(told());
    subscribe(&mut tester, 0, [7, 0, 1, 1, 0]);
    assert_eq!(
        tester.call("poll_oneoff", &[0, 1000, 0, 2000]).unwrap(),
        28,
        "nothing"
    );
    assert_eq!(
        tester.call("poll_oneoff", &[0, 1000, 65, 2000]).unwrap(),
        28,
        "too much"
    );
    STEP.set(1000); // whoever sleeps all the same wakes up
    tester.guest.deadline = Deadline::Fuel(1_000_000);
    assert_eq!(
        tester.call("poll_oneoff", &[0, 1000, 1, 2000]).unwrap(),
        52,
        "it would cost nothing"
    );
    tester.guest.deadline = Deadline::None;
    subscribe(&mut tester, 0, [7, 0, 3, 1, 0]);
    assert_eq!(
        tester.call("poll_oneoff", &[0, 1000, 1, 2000]).unwrap(),
        28,
        "a clock that isn't"
    );
    subscribe(&mut tester, 0, [7, 1, 0, 0, 0]);
    assert_eq!(
        tester.call("poll_oneoff", &[0, 1000, 1, 2000]).unwrap(),
        52,
        "a file"
    );
}
