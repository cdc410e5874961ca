use crate::wait::until;
use cortex_health::{
    Check, Detail, Endpoint, Event, Group, Health, Observer, RunNowError, RunReason, Running, Status,
};
use cortex_testkit::ManualClock;
use http::HeaderMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time() // `run_now` keeps the deadline of its caller by it
        .build()
        .unwrap()
}

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Counts calls and how many of them are going on at once.
#[derive(Default)]
struct Calls {
    total: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Calls {
    fn enter(&self) -> impl Drop + '_ {
        struct Leave<'a>(&'a Calls);

        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.now.fetch_sub(1, Ordering::SeqCst);
            }
        }

        self.total.fetch_add(1, Ordering::SeqCst);
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Leave(self)
    }

    fn total(&self) -> usize {
        self.total.load(Ordering::SeqCst)
    }
}

fn status(health: &Health, check: &str) -> Status {
    health.snapshot().check(check).unwrap().status()
}

fn code(health: &Health, endpoint: Endpoint<'_>) -> u16 {
    health
        .respond(endpoint, &HeaderMap::new(), Detail::Full)
        .status()
        .as_u16()
}

#[test]
fn checks_run_from_start_to_stop() {
    let (runtime, calls) = (runtime(), Arc::new(Calls::default()));
    let check = {
        let calls = Arc::clone(&calls);
        Check::from_fn("db", move || {
            let calls = Arc::clone(&calls);
            async move { drop(calls.enter()) }
        })
    };
    let health = Health::builder()
        .check(check.every(millis(1)).stale_after(millis(5000)))
        .build()
        .unwrap();
    assert_eq!(
        (code(&health, Endpoint::Ready), status(&health, "db")),
        (503, Status::Unknown)
    );

    let running = health.start(runtime.handle()).unwrap();
    until("five runs", || {
        calls.total() >= 5 && status(&health, "db") == Status::Up
    });
    assert_eq!(code(&health, Endpoint::Ready), 200);
    let again = health.start(runtime.handle()).unwrap_err();
    assert_eq!(again.kind(), std::io::ErrorKind::AlreadyExists);

    running.stop();
    assert_eq!(
        (code(&health, Endpoint::Ready), status(&health, "db")),
        (503, Status::Unknown)
    );
    assert_eq!(code(&health, Endpoint::Startup), 200, "latched");
    assert_eq!(calls.most.load(Ordering::SeqCst), 1);
}

#[test]
fn dropping_it_stops_it() {
    let (runtime, observer) = (runtime(), Arc::new(()));
    let health = Health::builder().observer(Arc::clone(&observer)).build().unwrap();
    let running = health.start(runtime.handle()).unwrap();
    until("the first publication", || health.snapshot().seq() > 0);
    drop((running, health));
    until("the thread lets go", || Arc::strong_count(&observer) == 1);
}

#[test]
fn a_thousand_probes_run_no_check() {
    let (runtime, calls) = (runtime(), Arc::new(Calls::default()));
    let mut builder = Health::builder();
    for name in ["a", "b", "c", "d", "e"] {
        let calls = Arc::clone(&calls);
        builder = builder.check(Check::from_fn(name, move || {
            drop(calls.enter());
            std::future::ready(true)
        }));
    }
    let health = builder.build().unwrap();
    let running = health.start(runtime.handle()).unwrap();
    until("all are up", || health.snapshot().status() == Status::Up);
    assert_eq!(calls.total(), 5);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                for _ in 0..100 {
                    assert_eq!(code(&health, Endpoint::Ready), 200);
                }
            });
        }
    });
    assert_eq!(calls.total(), 5);
    running.stop();
}

/// Starts a health in which `hung` blocks in its call until the sender sends, and `lively` is another blocking check.
fn with_hung(
    make: impl FnOnce(Box<dyn Fn() -> bool + Send + Sync>) -> Check,
    runtime: &Runtime,
) -> (Health, Running, mpsc::Sender<()>, Arc<Calls>, Arc<Calls>) {
    let (release, released) = mpsc::channel::<()>();
    let (hung, lively) = (Arc::new(Calls::default()), Arc::new(Calls::default()));
    let (released, calls) = (Mutex::new(released), Arc::clone(&hung));
    let block = move || {
        let _call = calls.enter();
        released.lock().unwrap().recv().is_ok()
    };
    let calls = Arc::clone(&lively);
    let other = Check::blocking("lively", move || drop(calls.enter()));
    let health = Health::builder()
        .check(
            make(Box::new(block))
                .timeout(millis(5))
                .every(millis(1))
                .stale_after(millis(60_000)),
        )
        .check(other.every(millis(1)).stale_after(millis(60_000)))
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    (health, running, release, hung, lively)
}

fn costs_one(health: &Health, release: &mpsc::Sender<()>, hung: &Calls, lively: &Calls) {
    until("it is down", || {
        hung.total() == 1 && status(health, "hung") == Status::Down
    });
    let (seen, before) = (health.snapshot().seq(), lively.total());
    until("many intervals", || {
        health.snapshot().seq() > seen + 200 && lively.total() > before + 50
    });
    assert!(health.snapshot().check("hung").unwrap().hung_since().is_some());
    assert_eq!(hung.total(), 1, "it was started again while it hung");
    release.send(()).unwrap();
    until("it runs again at once", || hung.total() == 2);
    until("and is no longer seen as hung, or hangs again", || {
        release.send(()).unwrap();
        status(health, "hung") == Status::Up
    });
    assert_eq!(hung.most.load(Ordering::SeqCst), 1);
}

#[test]
fn a_hung_blocking_check_costs_one_thread() {
    let runtime = runtime();
    let make = |block: Box<dyn Fn() -> bool + Send + Sync>| Check::blocking("hung", block);
    let (health, running, release, hung, lively) = with_hung(make, &runtime);
    costs_one(&health, &release, &hung, &lively);
    running.stop();
    drop(release);
}

#[test]
fn a_hung_async_check_costs_one_task() {
    let runtime = runtime();
    let make = |block: Box<dyn Fn() -> bool + Send + Sync>| {
        let block = Arc::new(block);
        Check::from_fn("hung", move || {
            let block = Arc::clone(&block);
            async move { block() } // stuck inside `poll`: no abort reaches it
        })
    };
    let (health, running, release, hung, lively) = with_hung(make, &runtime);
    costs_one(&health, &release, &hung, &lively);
    running.stop();
    drop(release); // or the runtime waits for the worker
}

#[test]
fn stop_waits_for_no_check() {
    let runtime = runtime();
    let make = |block: Box<dyn Fn() -> bool + Send + Sync>| Check::blocking("hung", block);
    let (health, running, release, hung, _) = with_hung(make, &runtime);
    until("it hangs", || {
        let started = hung.now.load(Ordering::SeqCst) == 1; // a busy machine may start the thread after the timeout
        started && health.snapshot().check("hung").unwrap().hung_since().is_some()
    });
    running.stop();
    assert_eq!(hung.now.load(Ordering::SeqCst), 1);
    drop(release);
    until("the thread leaves by itself", || {
        hung.now.load(Ordering::SeqCst) == 0
    });
}

#[test]
fn an_async_check_that_waits_for_ever_is_aborted() {
    let (runtime, calls) = (runtime(), Arc::new(Calls::default()));
    let counted = Arc::clone(&calls);
    let check = Check::from_fn("db", move || {
        let calls = Arc::clone(&counted);
        async move {
            let _call = calls.enter();
            std::future::pending::<()>().await;
        }
    });
    let health = Health::builder()
        .check(check.timeout(millis(1)).every(millis(2)))
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    until("many timeouts", || {
        calls.total() > 20 && status(&health, "db") == Status::Down
    });
    running.stop();
    until("no run is left", || calls.now.load(Ordering::SeqCst) == 0);
    assert_eq!(calls.most.load(Ordering::SeqCst), 1);
}

#[test]
fn answers_come_with_every_worker_blocked() {
    let (runtime, blocked) = (runtime(), Arc::new(Barrier::new(3)));
    let check = Check::from_fn("db", || async {})
        .timeout(millis(20))
        .every(millis(20));
    let health = Health::builder()
        .check(check.groups([Group::READY]))
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    until("it is up", || code(&health, Endpoint::Ready) == 200);
    for _ in 0..2 {
        let blocked = Arc::clone(&blocked);
        runtime.spawn(async move {
            blocked.wait(); // both workers are here
            blocked.wait();
        });
    }
    blocked.wait();
    until("readiness fails", || code(&health, Endpoint::Ready) == 503);
    assert_eq!(code(&health, Endpoint::Live), 200);
    blocked.wait();
    until("readiness comes back", || code(&health, Endpoint::Ready) == 200);
    running.stop();
}

#[test]
fn startup_is_latched() {
    let (runtime, up) = (runtime(), Arc::new(AtomicBool::new(false)));
    let db = {
        let up = Arc::clone(&up);
        Check::from_fn("db", move || std::future::ready(up.load(Ordering::SeqCst)))
    };
    let db = db
        .groups([Group::STARTUP, Group::READY])
        .every(millis(2))
        .stale_after(millis(60_000));
    let health = Health::builder().check(db).build().unwrap();
    assert_eq!(code(&health, Endpoint::Startup), 503);
    let running = health.start(runtime.handle()).unwrap();
    until("it is down", || status(&health, "db") == Status::Down);
    assert_eq!(
        (code(&health, Endpoint::Startup), code(&health, Endpoint::Ready)),
        (503, 503)
    );

    up.store(true, Ordering::SeqCst);
    until("it is up", || status(&health, "db") == Status::Up);
    assert_eq!(
        (code(&health, Endpoint::Startup), code(&health, Endpoint::Ready)),
        (200, 200)
    );

    up.store(false, Ordering::SeqCst);
    until("it is down again", || status(&health, "db") == Status::Down);
    assert_eq!(
        (code(&health, Endpoint::Startup), code(&health, Endpoint::Ready)),
        (200, 503)
    );
    running.stop();
}

#[test]
fn changes_reach_the_observer() {
    struct Changes(Mutex<mpsc::Sender<(String, Status, Status)>>);

    impl Observer for Changes {
        fn on_event(&self, event: &Event) {
            if let Event::Transition { check, from, to, .. } = event {
                let change = (check.to_string(), *from, *to);
                let _ = self.0.lock().unwrap().send(change);
            }
        }
    }

    let (runtime, (send, changes)) = (runtime(), mpsc::channel());
    let up = Arc::new(AtomicBool::new(true));
    let check = {
        let up = Arc::clone(&up);
        Check::blocking("db", move || up.load(Ordering::SeqCst))
    };
    let check = check.every(millis(2)).stale_after(millis(60_000));
    let health = Health::builder()
        .check(check)
        .observer(Changes(Mutex::new(send)))
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    let next = || changes.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(next(), ("db".into(), Status::Unknown, Status::Up));
    up.store(false, Ordering::SeqCst);
    assert_eq!(next(), ("db".into(), Status::Up, Status::Down));
    running.stop();
}

#[test]
fn changes_reach_a_task_and_a_thread() {
    let (runtime, up) = (runtime(), Arc::new(AtomicBool::new(true)));
    let check = {
        let up = Arc::clone(&up);
        Check::blocking("db", move || up.load(Ordering::SeqCst))
    };
    let check = check.every(millis(2)).stale_after(millis(60_000));
    let health = Health::builder().check(check).build().unwrap();
    let (mut thread, mut task) = (health.subscribe(), health.subscribe());
    let running = health.start(runtime.handle()).unwrap();
    let first = thread.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(
        (first.check(), first.from(), first.to()),
        ("db", Status::Unknown, Status::Up)
    );
    let all = runtime.spawn(async move {
        let mut all = Vec::new();
        while let Some(change) = task.recv().await {
            all.push(change.to());
        }
        all
    });
    up.store(false, Ordering::SeqCst);
    assert_eq!(
        thread.recv_timeout(Duration::from_secs(30)).unwrap().to(),
        Status::Down
    );
    running.stop();
    assert_eq!(runtime.block_on(all).unwrap(), [Status::Up, Status::Down]);
}

#[test]
fn those_who_ask_at_once_share_one_run() {
    let (runtime, calls) = (runtime(), Arc::new(Calls::default()));
    let (release, released) = tokio::sync::watch::channel(true);
    let check = {
        let calls = Arc::clone(&calls);
        Check::from_fn("db", move || {
            let (calls, mut released) = (Arc::clone(&calls), released.clone());
            async move {
                let _call = calls.enter();
                let _ = released.wait_for(|released| *released).await;
            }
        })
    };
    let hour = Duration::from_hours(1);
    let health = Health::builder()
        .check(check.every(hour).timeout(hour))
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    until("the first run", || status(&health, "db") == Status::Up);
    assert_eq!(calls.total(), 1);

    release.send(false).unwrap();
    let mut asking: Vec<_> = (0..100).map(|_| Box::pin(health.run_now("db"))).collect();
    for ask in &mut asking {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(ask.as_mut().poll(&mut cx).is_pending(), "asked, and waiting");
    }
    until("a run by hand", || calls.total() == 2);
    let late = {
        let context = cortex_core::Context::new().with_deadline(cortex_core::Deadline::after(
            cortex_core::Clock::now(&cortex_core::SystemClock),
            millis(5),
        ));
        let health = health.clone();
        let ask = async move { health.run_now("db").await.unwrap_err() };
        runtime.spawn(cortex_core::FutureExt::with_context(ask, context))
    };
    assert_eq!(runtime.block_on(late).unwrap(), RunNowError::DeadlineExceeded);
    release.send(true).unwrap();
    runtime.block_on(async {
        for ask in asking {
            let report = ask.await.unwrap();
            assert_eq!((report.status(), report.runs().len()), (Status::Up, 2));
        }
        assert_eq!(
            health.run_now("nobody").await.unwrap_err(),
            RunNowError::UnknownCheck
        );
    });
    assert_eq!((calls.total(), calls.most.load(Ordering::SeqCst)), (2, 1));
    running.stop();
    let error = runtime.block_on(health.run_now("db")).unwrap_err();
    assert_eq!(error, RunNowError::NotRunning);
    assert!(error.to_string().starts_with("run the check: "), "{error}");
}

#[test]
fn nothing_runs_before_the_start() {
    let runtime = runtime();
    let health = Health::builder()
        .check(Check::from_fn("db", || async {}))
        .build()
        .unwrap();
    assert_eq!(
        runtime.block_on(health.run_now("db")).unwrap_err(),
        RunNowError::NotRunning
    );
}

#[test]
fn a_run_is_told_of_itself_and_of_its_end() {
    let (runtime, (send, seen)) = (runtime(), mpsc::channel());
    let send = Mutex::new(send);
    let check = Check::blocking_with_context("db", move |cx| {
        let told = (
            cx.name().to_owned(),
            cx.last(),
            cx.attempt(),
            cx.reason(),
            cx.is_cancelled(),
        );
        send.lock().unwrap().send(told).unwrap();
        let deadline = cortex_core::Context::current().deadline().unwrap();
        assert_eq!(deadline.instant(), cx.deadline());
        if cx.attempt() == 2 {
            until("the run is given up", || cx.is_cancelled());
        }
    });
    let health = Health::builder()
        .check(check.timeout(millis(20)).every(millis(21)))
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    let next = || seen.recv_timeout(Duration::from_secs(30)).unwrap();
    assert_eq!(
        next(),
        ("db".into(), Status::Unknown, 1, RunReason::Scheduled, false)
    );
    assert_eq!(next().2, 2);
    assert_eq!(next().2, 3);
    running.stop();
}

#[test]
fn a_clock_that_is_set_by_hand_is_no_stop_of_the_process() {
    let (runtime, clock) = (runtime(), ManualClock::new());
    let (_heartbeat, check) = Check::heartbeat("loop", Duration::from_secs(10));
    let health = Health::builder()
        .clock(clock.clone())
        .check(check.groups([Group::LIVE]))
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    until("it begins to listen", || health.snapshot().status() == Status::Up);
    clock.advance(Duration::from_secs(11)); // which is silence: the process was there
    until("it hears nothing", || {
        health.snapshot().check("loop").unwrap().status() == Status::Down
    });
    running.stop();
}
