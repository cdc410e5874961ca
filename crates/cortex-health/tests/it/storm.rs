use crate::wait::until;
use cortex_health::{Check, Detail, Endpoint, Health, Status};
use http::HeaderMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
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
            .stale_after(minute);
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
