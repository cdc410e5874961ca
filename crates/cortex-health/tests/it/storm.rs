use crate::wait::until;
use cortex_health::{Check, Detail, Endpoint, Health, RunNowError, Status};
use http::HeaderMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// A door that checks wait at, and a count of those that came.
#[derive(Default)]
struct Gate {
    arrived: AtomicUsize,
    open: Mutex<bool>,
    opened: Condvar,
    async_opened: tokio::sync::Notify,
}

impl Gate {
    fn arrived(&self) -> usize {
        self.arrived.load(Ordering::SeqCst)
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
        self.async_opened.notify_waiters();
    }
}

/// A hundred thousand probes while every check is under way, half of them on threads and half of them on the runtime,
/// and all of them long due again: none is started by a probe, and none twice.
#[test]
fn probes_during_a_refresh_run_each_check_once() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let gate = Arc::new(Gate::default());
    let mut builder = Health::builder();
    for (index, name) in NAMES.into_iter().enumerate() {
        let gate = Arc::clone(&gate);
        let check = if index % 2 == 0 {
            Check::blocking(name, move || {
                gate.arrived.fetch_add(1, Ordering::SeqCst);
                let open = gate.open.lock().unwrap();
                drop(gate.opened.wait_while(open, |open| !*open).unwrap());
            })
        } else {
            Check::from_fn(name, move || {
                let gate = Arc::clone(&gate);
                async move {
                    let opened = gate.async_opened.notified(); // before anyone is told that it waits
                    gate.arrived.fetch_add(1, Ordering::SeqCst);
                    opened.await;
                }
            })
        };
        let minute = Duration::from_mins(1);
        let check = check
            .every(Duration::from_millis(1))
            .timeout(minute)
            .stale_after(2 * minute);
        builder = builder.check(check);
    }
    let health = builder.build().unwrap();
    let running = health.start(runtime.handle()).unwrap();
    until("all are under way", || gate.arrived() == NAMES.len());

    let endpoints = [
        Endpoint::Ready,
        Endpoint::Live,
        Endpoint::Health,
        Endpoint::Check("a"),
    ];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for probe in 0..25_000 {
                    let endpoint = endpoints[probe % endpoints.len()];
                    let response = health.respond(endpoint, &HeaderMap::new(), Detail::Full);
                    let expected = if endpoint == Endpoint::Live { 200 } else { 503 };
                    assert_eq!(response.status(), expected, "{endpoint:?}");
                }
            });
        }
    });
    assert_eq!(
        gate.arrived(),
        NAMES.len(),
        "a probe ran a check, or one was started twice"
    );
    gate.open();
    until("all are up", || {
        health.snapshot().status() == Status::Up || {
            gate.async_opened.notify_waiters(); // for the runs that come after
            false
        }
    });
    running.stop();
}

/// A hundred thousand who wait for a run that does not end: the scheduler gives its signs of life beside them.
#[test]
fn those_who_wait_for_a_run_keep_no_other_check_from_running() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let minute = Duration::from_mins(1);
    let hung = Check::from_fn("hung", std::future::pending::<()>).timeout(minute);
    let lively = Check::from_fn("lively", move || {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(())
    });
    let health = Health::builder()
        .check(hung.groups([]))
        .check(lively.every(Duration::from_millis(5)))
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    let ready = || {
        health
            .respond(Endpoint::Ready, &HeaderMap::new(), Detail::None)
            .status()
            == 200
    };
    until("it is ready", ready);
    let refused = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut waiting = Vec::new();
                for _ in 0..25_000 {
                    let mut call = Box::pin(health.run_now("hung"));
                    match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        Poll::Pending => waiting.push(call),
                        Poll::Ready(answer) => {
                            assert_eq!(answer.unwrap_err(), RunNowError::TooManyWaiting);
                            refused.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    assert!(ready(), "nobody refreshes the checks any more");
                }
            });
        }
    });
    assert!(refused.load(Ordering::SeqCst) >= 100_000 - 4096);
    let before = runs.load(Ordering::SeqCst);
    until("the other check runs on", || {
        runs.load(Ordering::SeqCst) > before + 5
    });
    assert!(ready());
    running.stop();
}
