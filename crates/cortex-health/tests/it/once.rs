use crate::wait::until;
use cortex_health::{Check, Detail, Endpoint, Health, RunNowError, Status};
use http::HeaderMap;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::runtime::Runtime;

const LONG: Duration = Duration::from_mins(1);

#[test]
fn each_check_runs_once_and_probes_see_nothing_of_it() {
    let (runtime, calls) = (Runtime::new().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = |name: &'static str, up: bool| {
        let calls = Arc::clone(&calls);
        Check::from_fn(name, move || {
            calls.fetch_add(1, Ordering::SeqCst);
            std::future::ready(up)
        })
    };
    let health = Health::builder()
        .check(counted("orders", true).depends_on(["db"]))
        .check(counted("db", false))
        .check(counted("cache", true))
        .check(counted("sessions", true).depends_on(["cache"]))
        .build()
        .unwrap();
    let mut subscription = health.subscribe();
    let report = runtime
        .block_on(health.check_all_once(runtime.handle(), LONG))
        .unwrap();
    let statuses: Vec<_> = report
        .checks()
        .map(|check| (check.name(), check.status()))
        .collect();
    let expected = [
        ("orders", Status::Skipped),
        ("db", Status::Down),
        ("cache", Status::Up),
        ("sessions", Status::Up),
    ];
    assert_eq!(statuses, expected);
    assert_eq!(report.root_causes(), ["db"]);
    assert_eq!((report.transitions().len(), calls.load(Ordering::SeqCst)), (4, 3));

    assert_eq!(health.snapshot().check("db").unwrap().status(), Status::Unknown);
    assert!(subscription.try_recv().is_err());
    let text = health.respond_verbose(Endpoint::Ready, Detail::Status);
    assert!(text.body().starts_with(b"down: starting"), "{text:?}");

    // And again, and then in earnest.
    runtime
        .block_on(health.check_all_once(runtime.handle(), LONG))
        .unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 6);
    let running = health.start(runtime.handle()).unwrap();
    let error = runtime
        .block_on(health.check_all_once(runtime.handle(), LONG))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(subscription.recv_timeout(LONG).is_ok());
    running.stop();
}

#[test]
fn what_hangs_in_it_is_not_run_a_second_time() {
    let (runtime, calls) = (Runtime::new().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (release, released) = mpsc::channel::<()>();
    let hung = {
        let (released, calls) = (Mutex::new(released), Arc::clone(&calls));
        Check::blocking("nfs", move || {
            calls.fetch_add(1, Ordering::SeqCst);
            let _ = released.lock().unwrap().recv();
        })
    };
    let fast = Duration::from_millis(5);
    let lively = Check::blocking("disk", || true).every(fast);
    let health = Health::builder()
        .check(
            hung.timeout(Duration::from_hours(1))
                .stale_after(Duration::from_hours(2)),
        )
        .check(lively.stale_after(LONG))
        .build()
        .unwrap();
    let mut report = runtime
        .block_on(health.check_all_once(runtime.handle(), fast))
        .unwrap();
    while calls.load(Ordering::SeqCst) == 0 || report.check("disk").unwrap().status() == Status::Unknown {
        report = runtime
            .block_on(health.check_all_once(runtime.handle(), fast))
            .unwrap(); // on a busy machine
    }
    assert_eq!(report.check("nfs").unwrap().status(), Status::Unknown);

    let running = health.start(runtime.handle()).unwrap();
    until("the other check runs", || {
        let report = health.snapshot();
        report.check("disk").unwrap().runs().len() > 5
    });
    assert!(health.snapshot().check("nfs").unwrap().hung_since().is_some());
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    drop(release); // the call returns, and all that come after it do at once
    until("it runs when the call has returned", || {
        health.snapshot().check("nfs").unwrap().status() == Status::Up
    });
    assert_eq!(calls.load(Ordering::SeqCst), 2);
    let ready = health.respond(Endpoint::Ready, &HeaderMap::new(), Detail::None);
    assert_eq!(ready.status(), 200);
    running.stop();
}

#[test]
fn nobody_waits_for_a_dry_run() {
    let (runtime, calls) = (Runtime::new().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (release, released) = mpsc::channel::<()>();
    let check = {
        let (released, calls) = (Mutex::new(released), Arc::clone(&calls));
        Check::blocking("nfs", move || {
            calls.fetch_add(1, Ordering::SeqCst);
            let _ = released.lock().unwrap().recv();
        })
    };
    let health = Health::builder()
        .check(check.timeout(LONG).stale_after(3 * LONG))
        .build()
        .unwrap();
    let dry = {
        let (health, handle) = (health.clone(), runtime.handle().clone());
        runtime.spawn(async move { health.check_all_once(&handle, LONG).await })
    };
    until("it runs", || calls.load(Ordering::SeqCst) == 1);
    let refused = || runtime.block_on(health.run_now("nfs")).unwrap_err();
    assert_eq!(refused(), RunNowError::NotRunning);
    drop(release);
    let report = runtime.block_on(dry).unwrap().unwrap();
    assert_eq!(report.check("nfs").unwrap().status(), Status::Up);
    assert_eq!(refused(), RunNowError::NotRunning, "it is over");

    let running = health.start(runtime.handle()).unwrap();
    let report = runtime.block_on(health.run_now("nfs")).unwrap();
    assert_eq!(report.status(), Status::Up);
    running.stop();
}

#[test]
fn what_would_not_run_is_reported_at_once() {
    let runtime = Runtime::new().unwrap();
    let (release, released) = mpsc::channel::<()>();
    let hung = {
        let released = Mutex::new(released);
        Check::blocking("nfs", move || released.lock().unwrap().recv().is_err())
    };
    let health = Health::builder()
        .check(
            hung.timeout(Duration::from_millis(5))
                .every(LONG)
                .stale_after(2 * LONG),
        )
        .check(Check::from_fn("files", || async {}).depends_on(["nfs"]))
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    let status = |name| health.snapshot().check(name).unwrap().status();
    until("it hangs", || status("files") == Status::Skipped);
    let now = |name| runtime.block_on(health.run_now(name)).unwrap();
    assert_eq!(now("files").causes().collect::<Vec<_>>(), ["nfs"]);
    let nfs = now("nfs");
    assert_eq!(
        (nfs.status(), nfs.runs().len()),
        (Status::Down, 1),
        "there is no second run"
    );
    assert!(nfs.hung_since().is_some());
    drop(release);
    running.stop();
}
