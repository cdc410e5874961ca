//! Guests that call functions of the host, in all that hosts do with guests.

use crate::guests::{build, get, module, run};
use cortex_wasm::{
    Deadline, Error, Guests, HostCx, HostError, Imports, Instance, Quota, Reset, Wasi, WasmHost,
};
use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

/// Calls `env.f` when it is ready, and whenever it is told to.
const EAGER: &str = r#"(module
    (import "env" "f" (func $f (result i32)))
    (memory (export "memory") 1)
    (func (export "_initialize") (drop (call $f)))
    (func (export "call") (result i32) (call $f)))"#;

/// Calls `env.f` when it is told to.
const CALLER: &str = r#"(module
    (import "env" "f" (func $f (result i32)))
    (memory (export "memory") 1)
    (global $calls (mut i32) (i32.const 0))
    (func (export "call") (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (call $f))
    (func (export "calls") (result i32) (global.get $calls)))"#;

fn with<F>(function: F) -> WasmHost
where
    F: Fn(&mut HostCx<'_>) -> Result<u32, HostError> + Send + Sync + 'static,
{
    build(WasmHost::builder().imports(Imports::new().function("env", "f", function)))
}

fn guest(host: &WasmHost, text: &str) -> Instance {
    host.instantiate(&module(host, text)).expect("the guest begins")
}

fn counting() -> Imports {
    Imports::new()
        .data(|| 0_u32)
        .function("env", "f", |cx: &mut HostCx<'_>| -> Result<u32, HostError> {
            let count = cx.data::<u32>()?;
            *count += 1;
            Ok(*count)
        })
}

fn pool(host: &WasmHost) -> Guests {
    host.guests()
        .threads(1)
        .queue(4)
        .build_blocking()
        .expect("threads start")
}

#[test]
fn what_a_host_function_ends_a_call_with_is_what_the_call_fails_with_and_the_instance_is_not_used_again() {
    let host = with(|cx| match cx.read::<u32>(0)? {
        0 => Ok(1),
        1 => panic!("on purpose"),
        2 => Err(HostError::new("on purpose")),
        3 => Err(Error::Exited { code: 9 }.into()),
        _ => Ok(cx.read::<u32>(65_533)?),
    });
    let mut guest = guest(&host, CALLER);
    for (what, expected) in [
        (
            1_u32,
            "run the host's part of a guest: it panicked: in `env.f`: on purpose",
        ),
        (2, "call the host function `env.f`"),
        (3, "finish: the guest has exited with 9"),
        (4, "use 4 bytes at 65533 of a memory of 65536"),
    ] {
        assert_eq!(get(&mut guest, "call").unwrap(), 1);
        guest.write(0, what).unwrap();
        assert_eq!(get(&mut guest, "call").unwrap_err().to_string(), expected);
        assert!(guest.is_poisoned());
        assert!(matches!(get(&mut guest, "calls"), Err(Error::Poisoned)));
        guest.reset().unwrap();
        assert_eq!(get(&mut guest, "calls").unwrap(), 0);
    }
}

#[test]
fn a_reset_makes_what_the_host_keeps_as_new() {
    let host = build(WasmHost::builder().imports(counting()));
    let mut guest = guest(&host, CALLER);
    for _ in 0..50 {
        assert_eq!(get(&mut guest, "call").unwrap(), 1);
        assert_eq!(get(&mut guest, "call").unwrap(), 2);
        assert_eq!(guest.data_mut::<u32>(), Some(&mut 2));
        guest.reset().unwrap();
    }
    let host = build(WasmHost::builder().imports(counting()).reset(Reset::Never));
    let module = module(&host, CALLER);
    let pool = pool(&host);
    let tenant = host.tenant(1 << 20);
    for expected in 1..4 {
        let count = pool
            .run_blocking(&module, &tenant, |guest| get(guest, "call"))
            .unwrap();
        assert_eq!(count.unwrap(), expected, "what is not reset is kept");
    }
}

#[test]
fn what_was_kept_when_the_guest_was_ready_is_kept_by_a_reset() {
    let host = build(WasmHost::builder().imports(counting()));
    let mut guest = guest(&host, EAGER);
    for _ in 0..50 {
        assert_eq!(
            get(&mut guest, "call").unwrap(),
            2,
            "as of one that has just begun"
        );
        guest.reset().unwrap();
    }
    assert_eq!(guest.host_usage().calls, 1, "it is another one, which has begun");
}

#[test]
fn instances_of_all_tenants_have_their_own() {
    let host = build(WasmHost::builder().imports(counting()));
    let module = module(&host, CALLER);
    let pool = pool(&host);
    let tenants = [host.tenant(1 << 20), host.tenant(1 << 20)];
    for round in 0..20 {
        let count = pool.run_blocking(&module, &tenants[round % 2], |guest| get(guest, "call"));
        assert_eq!(count.unwrap().unwrap(), 1);
    }
}

#[test]
fn a_guest_that_imports_nothing_shares_nothing() {
    let host = build(WasmHost::builder().imports(counting()));
    let mut guest = guest(&host, r#"(module (func (export "f")))"#);
    run(&mut guest, "f").unwrap();
    assert_eq!(guest.data_mut::<u32>(), None);
    assert_eq!(guest.host_usage().calls, 0);
}

#[test]
fn a_call_that_nobody_waits_for_drops_what_its_host_function_waits_for() {
    struct Sends(mpsc::Sender<()>);
    impl Drop for Sends {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (begun, has_begun) = mpsc::channel();
    let (dropped, has_dropped) = mpsc::channel();
    let (begun, dropped) = (Mutex::new(begun), Mutex::new(dropped));
    let imports = Imports::new().function_async(
        "env",
        "f",
        async move |_: &mut HostCx<'_>| -> Result<u32, HostError> {
            let _sends = Sends(dropped.lock().expect("nobody panics").clone());
            begun.lock().expect("nobody panics").send(())?;
            pending().await
        },
    );
    let host = build(WasmHost::builder().imports(imports).deadline(Deadline::None));
    let (module, pool, tenant) = (module(&host, CALLER), pool(&host), host.tenant(1 << 20));
    let (ended, has_ended) = mpsc::channel();
    let call = pool.run(&module, &tenant, move |guest| {
        drop(ended.send(get(guest, "call")));
    });
    let begins = std::thread::spawn(move || has_begun.recv());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut call = Box::pin(call);
        std::future::poll_fn(|cx| {
            assert!(call.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        begins.join().expect("it waits").expect("it begins");
        drop(call);
    });
    has_dropped.recv().unwrap();
    assert!(matches!(has_ended.recv().unwrap(), Err(Error::Cancelled)));
}

#[test]
fn the_deadline_of_the_caller_ends_a_host_function_too() {
    let host = with(|cx| {
        assert!(matches!(cx.deadline(), Deadline::Wall(limit) if limit <= Duration::from_millis(50)));
        assert!(cortex_core::Context::current().deadline().is_some());
        Ok(cx.block_on(pending::<u32>())?)
    });
    let (module, pool, tenant) = (module(&host, CALLER), pool(&host), host.tenant(1 << 20));
    let now = cortex_core::Clock::now(&cortex_core::SystemClock);
    let soon = cortex_core::Deadline::after(now, Duration::from_millis(50));
    let _attached = cortex_core::Context::current().with_deadline(soon).attach();
    let (ended, has_ended) = mpsc::channel();
    let answer = pool.run_blocking(&module, &tenant, move |guest| {
        drop(ended.send(get(guest, "call")));
    });
    assert!(
        matches!(answer, Ok(()) | Err(Error::Timeout { .. })),
        "{answer:?}"
    );
    // If the time was over before it began, nothing was sent.
    if let Ok(ended) = has_ended.recv() {
        let error = ended.unwrap_err();
        assert!(
            matches!(error, Error::Timeout { .. } | Error::Cancelled),
            "{error:?}"
        );
    }
}

#[test]
fn a_host_function_may_take_no_longer_than_the_call() {
    let host = build(
        WasmHost::builder()
            .deadline(Deadline::Wall(Duration::from_millis(5)))
            .imports(
                Imports::new().function("env", "f", |cx: &mut HostCx<'_>| -> Result<u32, HostError> {
                    loop {
                        cx.check()?;
                    }
                }),
            ),
    );
    let mut guest = guest(&host, CALLER);
    let error = get(&mut guest, "call").unwrap_err();
    assert_eq!(error.to_string(), "finish within 5ms");
}

#[test]
fn the_quota_bounds_calls_of_host_functions() {
    let text = r#"(module (import "env" "f" (func $f (result i32)))
        (func (export "spin") (loop (drop (call $f)) (br 0))))"#;
    let host = build(
        WasmHost::builder()
            .imports(counting())
            .quota(Quota::new().max_host_calls(1000))
            .deadline(Deadline::Wall(Duration::from_hours(1))),
    );
    let mut guest = guest(&host, text);
    let error = run(&mut guest, "spin").unwrap_err();
    assert_eq!(
        error.to_string(),
        "use 1001 calls of host functions where 1000 are allowed"
    );
    assert_eq!(guest.host_usage().calls, 1000);
}

#[test]
fn a_reactor_is_initialised_once_and_what_it_prints_is_its_own() {
    const REACTOR: &str = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (global $begun (mut i32) (i32.const 0))
        (data (i32.const 0) "\10\00\00\00\05\00\00\00") (data (i32.const 16) "hello")
        (func $print (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable)))
        (func (export "_initialize")
            (global.set $begun (i32.add (global.get $begun) (i32.const 1)))
            (call $print))
        (func (export "begun") (result i32) (call $print) (global.get $begun))
        (func (export "exit") (call $print) (call $exit (i32.const 3))))"#;
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let wasi =
        Wasi::new().output(move |line| sink.lock().expect("nobody panics").push(line.text().to_owned()));
    let host = build(WasmHost::builder().imports(Imports::new().wasi(wasi)));
    let mut guest = guest(&host, REACTOR);
    let printed = || std::mem::take(&mut *lines.lock().expect("nobody panics"));
    assert_eq!(printed(), ["hello"]);
    for _ in 0..20 {
        assert_eq!(get(&mut guest, "begun").unwrap(), 1);
        assert!(matches!(run(&mut guest, "exit"), Err(Error::Exited { code: 3 })));
        let lines = printed();
        assert_eq!(
            lines[..2],
            ["hello", "hello"],
            "each call ends its line, also one that breaks off"
        );
        guest.reset().unwrap();
        // One that took its place has said so.
        assert!(lines[2..].is_empty() && printed().iter().all(|line| line == "hello"));
    }
}

#[test]
fn what_a_sink_panics_with_at_the_end_of_a_call_breaks_that_off() {
    let wasi = Wasi::new().output(|line| assert_ne!(line.text(), "x"));
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "\10\00\00\00\01\00\00\00") (data (i32.const 16) "x")
        (func (export "print") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#;
    let host = build(WasmHost::builder().imports(Imports::new().wasi(wasi)));
    let mut guest = guest(&host, text);
    assert!(matches!(run(&mut guest, "print"), Err(Error::HostPanic { .. })));
    assert!(guest.is_poisoned());
    guest.reset().unwrap();
    guest.write(16, b'y').unwrap();
    run(&mut guest, "print").unwrap();
}

#[test]
fn instances_that_come_and_go_leave_no_data_behind() {
    struct Counted(Arc<AtomicU32>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let live = Arc::new(AtomicU32::new(0));
    let made = Arc::clone(&live);
    let imports = Imports::new()
        .data(move || {
            made.fetch_add(1, Ordering::Relaxed);
            Counted(Arc::clone(&made))
        })
        .function("env", "f", |_: &mut HostCx<'_>| -> Result<u32, HostError> {
            panic!("on purpose")
        });
    let host = build(WasmHost::builder().imports(imports));
    let module = module(&host, CALLER);
    for _ in 0..20 {
        let mut guest = host.instantiate(&module).unwrap();
        for _ in 0..5 {
            assert!(matches!(get(&mut guest, "call"), Err(Error::HostPanic { .. })));
            guest.reset().unwrap();
            assert_eq!(live.load(Ordering::Relaxed), 1);
        }
    }
    assert_eq!((live.load(Ordering::Relaxed), host.live_memories()), (0, 0));
}
