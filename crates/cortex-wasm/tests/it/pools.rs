//! Guests on threads of their own.

use crate::guests::{SHORT, build, get, hasty, host, module, run};
use cortex_wasm::{Deadline, Error, Guests, WasmHost};
use cortex_workers::{Drain, Overflow};
use std::sync::mpsc;
use std::time::Duration;

const COUNTER: &str = r#"(module (memory 1) (global $calls (mut i32) (i32.const 0))
    (func (export "next") (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (global.get $calls))
    (func (export "spin") (loop (br 0)))
    (func (export "trap") (unreachable)))"#;

fn guests(host: &WasmHost) -> Guests {
    host.guests()
        .threads(1)
        .queue(4)
        .build_blocking()
        .expect("threads start")
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(future)
}

#[test]
fn each_lease_finds_an_instance_as_new() {
    let host = host();
    let guests = guests(&host);
    let module = module(&host, COUNTER);
    let tenants = [host.tenant(1 << 20), host.tenant(1 << 20)];
    for round in 0..20 {
        let next = guests.run(&module, &tenants[round % 2], |guest| get(guest, "next"));
        assert_eq!(block_on(next).unwrap().unwrap(), 1);
    }
    assert_eq!(host.live_memories(), 1, "one instance was enough");
    assert!(tenants.iter().all(|tenant| tenant.live_bytes() == 0));
}

#[test]
fn what_breaks_off_costs_one_call() {
    let host = hasty();
    let guests = guests(&host);
    let module = module(&host, COUNTER);
    let tenant = host.tenant(1 << 20);
    for _ in 0..3 {
        let trap = guests
            .run_blocking(&module, &tenant, |guest| run(guest, "trap"))
            .unwrap();
        assert!(matches!(trap, Err(Error::Trap(_))));
        let spin = guests
            .run_blocking(&module, &tenant, |guest| run(guest, "spin"))
            .unwrap();
        assert!(matches!(spin, Err(Error::Timeout { .. })));
        let panic = guests.run_blocking(&module, &tenant, |_| -> u32 { panic!("on purpose") });
        assert!(matches!(panic, Err(Error::HostPanic { message }) if &*message == "on purpose"));
        let next = guests
            .run_blocking(&module, &tenant, |guest| get(guest, "next"))
            .unwrap();
        assert_eq!(next.unwrap(), 1);
    }
}

#[test]
fn a_call_that_is_dropped_stops_its_guest() {
    for deadline in [
        Deadline::None,
        Deadline::Wall(Duration::from_hours(1)),
        Deadline::Fuel(u64::MAX),
    ] {
        let host = build(WasmHost::builder().deadline(deadline));
        let guests = guests(&host);
        let module = module(&host, COUNTER);
        let tenant = host.tenant(1 << 20);
        let (begun, has_begun) = mpsc::channel();
        let (ended, has_ended) = mpsc::channel();
        let call = guests.run(&module, &tenant, move |guest| {
            begun.send(()).expect("somebody waits");
            ended.send(run(guest, "spin")).expect("somebody waits");
        });
        drop_once_begun(call, has_begun);
        assert!(
            matches!(has_ended.recv().unwrap(), Err(Error::Cancelled)),
            "{deadline:?}"
        );
        let next = guests
            .run_blocking(&module, &tenant, |guest| get(guest, "next"))
            .unwrap();
        assert_eq!(next.unwrap(), 1);
    }
}

#[test]
fn what_takes_the_place_of_a_guest_is_stopped_too_and_so_is_its_start() {
    let host = build(WasmHost::builder().deadline(Deadline::None));
    let guests = guests(&host);
    let tenant = host.tenant(1 << 20);
    // A module that cannot be set back, so that a reset makes another instance.
    let replaced = module(
        &host,
        r#"(module (table 1 funcref) (func (export "spin") (table.set (i32.const 0) (ref.null func)) (loop (br 0))))"#,
    );
    let (begun, has_begun) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let call = guests.run(&replaced, &tenant, move |guest| {
        guest.reset().expect("it is made anew");
        begun.send(()).expect("somebody waits");
        ended.send(run(guest, "spin")).expect("somebody waits");
    });
    drop_once_begun(call, has_begun);
    assert!(matches!(has_ended.recv().unwrap(), Err(Error::Cancelled)));

    let starting = module(&host, "(module (func $start (loop (br 0))) (start $start))");
    let now = cortex_core::Clock::now(&cortex_core::SystemClock);
    let soon = cortex_core::Deadline::after(now, 2 * SHORT);
    let attached = cortex_core::Context::current().with_deadline(soon).attach();
    let answer = guests.run_blocking(&starting, &tenant, |_| ());
    assert!(matches!(answer, Err(Error::Timeout { .. })), "{answer:?}");
    drop(attached);
    // The thread is free again.
    let counter = module(&host, COUNTER);
    let next = guests
        .run_blocking(&counter, &tenant, |guest| get(guest, "next"))
        .unwrap();
    assert_eq!(next.unwrap(), 1);
}

/// Offers a call to the pool, and drops it when its guest has begun.
fn drop_once_begun<T>(call: impl Future<Output = T>, has_begun: mpsc::Receiver<()>) {
    let begins = std::thread::spawn(move || has_begun.recv());
    block_on(async {
        let mut call = Box::pin(call);
        std::future::poll_fn(|cx| {
            assert!(call.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        begins.join().expect("it waits").expect("it begins");
        drop(call);
    });
}

#[test]
fn the_deadline_of_the_caller_stops_the_guest() {
    let host = build(WasmHost::builder().deadline(Deadline::Fuel(u64::MAX)));
    let guests = guests(&host);
    let module = module(&host, COUNTER);
    let tenant = host.tenant(1 << 20);
    let (ended, has_ended) = mpsc::channel();
    let now = cortex_core::Clock::now(&cortex_core::SystemClock);
    let soon = cortex_core::Deadline::after(now, 2 * SHORT);
    let _attached = cortex_core::Context::current().with_deadline(soon).attach();
    let answer = guests.run_blocking(&module, &tenant, move |guest| {
        drop(ended.send(run(guest, "spin")));
    });
    assert!(
        matches!(answer, Ok(()) | Err(Error::Timeout { .. })),
        "{answer:?}"
    );
    let error = has_ended.recv().unwrap().unwrap_err();
    assert!(
        matches!(error, Error::Timeout { .. } | Error::Cancelled),
        "{error:?}"
    );
}

#[test]
fn a_full_queue_refuses() {
    let host = host();
    let guests = host
        .guests()
        .threads(1)
        .queue(1)
        .overflow(Overflow::Reject)
        .build_blocking()
        .unwrap();
    let module = module(&host, COUNTER);
    let tenant = host.tenant(1 << 20);
    let (go, wait) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    block_on(async {
        let mut first = Box::pin(guests.run(&module, &tenant, move |_| {
            begun.send(()).expect("somebody waits");
            wait.recv().expect("it goes on");
        }));
        poll_once(&mut first).await;
        has_begun.recv().unwrap();
        let mut second = Box::pin(guests.run(&module, &tenant, |_| ()));
        poll_once(&mut second).await;
        let third = guests.run(&module, &tenant, |_| ()).await;
        assert!(matches!(third, Err(Error::PoolExhausted)), "{third:?}");
        go.send(()).unwrap();
        first.await.unwrap();
        second.await.unwrap();
    });
}

async fn poll_once<F: Future + Unpin>(future: &mut F) {
    std::future::poll_fn(|cx| {
        assert!(std::pin::Pin::new(&mut *future).poll(cx).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
}

#[test]
fn a_pool_that_is_shut_down_stops_what_runs() {
    let host = build(WasmHost::builder().deadline(Deadline::None));
    let guests = guests(&host);
    let module = module(&host, COUNTER);
    let tenant = host.tenant(1 << 20);
    let (begun, has_begun) = mpsc::channel();
    let (ended, has_ended) = mpsc::channel();
    let others = guests.clone();
    let caller = std::thread::spawn(move || {
        others.run_blocking(&module, &tenant, move |guest| {
            begun.send(()).expect("somebody waits");
            ended.send(run(guest, "spin")).expect("somebody waits");
        })
    });
    has_begun.recv().unwrap();
    block_on(guests.shutdown(Drain::now()));
    assert!(matches!(has_ended.recv().unwrap(), Err(Error::Cancelled)));
    drop(caller.join().unwrap());
}

#[test]
fn idle_instances_are_bounded_and_make_way() {
    let host = build(WasmHost::builder().max_memories(3));
    let guests = host.guests().threads(1).idle(2, 1).build_blocking().unwrap();
    let tenant = host.tenant(1 << 30);
    let modules: Vec<_> = (0..4).map(|_| module(&host, COUNTER)).collect();
    for module in &modules {
        guests
            .run_blocking(module, &tenant, |guest| get(guest, "next"))
            .unwrap()
            .unwrap();
        assert!(host.live_memories() <= 2);
    }
    let held: Vec<_> = (0..1).map(|_| host.instantiate(&modules[0]).unwrap()).collect();
    // There is room for two more, and both wait for other modules.
    guests
        .run_blocking(&modules[0], &tenant, |guest| get(guest, "next"))
        .unwrap()
        .unwrap();
    assert!(host.live_memories() <= 3);
    drop(held);
}
