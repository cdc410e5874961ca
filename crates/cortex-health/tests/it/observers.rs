use crate::wait::until;
use cortex_health::{Check, Event, Health, Observer, Status};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Blocks at its first event until the sender is gone.
struct Stuck(Mutex<mpsc::Receiver<()>>);

impl Observer for Stuck {
    fn on_event(&self, _: &Event) {
        let _ = self.0.lock().unwrap().recv();
    }
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Event>>>);

impl Observer for Heard {
    fn on_event(&self, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

#[test]
fn an_observer_that_blocks_stops_no_check_and_no_end() {
    let (runtime, calls) = (Runtime::new().unwrap(), Arc::new(AtomicUsize::new(0)));
    let (release, released) = mpsc::channel::<()>();
    let heard = Heard::default(); // behind the one that blocks
    let mut builder = Health::builder().observer((Stuck(Mutex::new(released)), heard.clone()));
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for name in names {
        let calls = Arc::clone(&calls);
        let check = Check::from_fn(name, move || {
            calls.fetch_add(1, Ordering::SeqCst);
            std::future::ready(true)
        });
        builder = builder.check(
            check
                .every(Duration::from_millis(1))
                .stale_after(Duration::from_mins(1)),
        );
    }
    let health = builder.build().unwrap();
    let other = Heard::default(); // beside it
    health.observe(other.clone());
    let mut subscription = health.subscribe();
    let running = health.start(runtime.handle()).unwrap();
    until("more runs than can wait", || calls.load(Ordering::SeqCst) > 3000);
    assert_eq!(health.snapshot().status(), Status::Up);
    assert!(subscription.recv_timeout(Duration::from_secs(30)).is_ok());
    assert!(heard.0.lock().unwrap().is_empty(), "one after the other");
    until("the other observer hears all that time", || {
        other.0.lock().unwrap().len() > 2000
    });
    until("somebody sees that one does not", || health.missed_events() > 0);

    assert!(
        !running.stop_within(Duration::from_millis(1)),
        "it was waited for"
    );
    until("the scheduler has ended", || {
        health.snapshot().status() != Status::Up
    });
    drop(release);
    let missed = |event: &Event| match event {
        Event::Missed { events, .. } => Some(*events),
        _ => None,
    };
    let is_last = || {
        let heard = heard.0.lock().unwrap();
        heard.iter().filter_map(missed).sum::<u64>() > 0 && heard.len() > 1024
    };
    until("they hear the rest", is_last);
    let heard = heard.0.lock().unwrap();
    let as_change = |event: &Event| match event {
        Event::Transition { check, to, .. } => Some((check.to_string(), *to)),
        _ => None,
    };
    let mut changes: Vec<_> = heard.iter().filter_map(as_change).collect();
    changes.sort_by(|one, other| one.0.cmp(&other.0));
    let all = names.map(|name| (name.to_owned(), Status::Up));
    assert_eq!(changes, all, "ends of runs gave way, no change did");
}

#[test]
fn an_end_waits_until_all_is_heard() {
    let runtime = Runtime::new().unwrap();
    let heard = Heard::default();
    let health = Health::builder()
        .observer(heard.clone())
        .check(Check::from_fn("db", || async {}))
        .build()
        .unwrap();
    let running = health.start(runtime.handle()).unwrap();
    until("it is up", || health.snapshot().status() == Status::Up);
    assert!(running.stop_within(Duration::from_secs(30)));
    let heard = heard.0.lock().unwrap();
    assert!(matches!(
        heard[..],
        [
            Event::RunFinished { .. },
            Event::Transition { to: Status::Up, .. }
        ]
    ));
}
