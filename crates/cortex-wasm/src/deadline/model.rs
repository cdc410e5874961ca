//! What the watch and a guest do to one another, in every order that they may run in.

use super::cell::Word;
use super::watch::{StopWords, Watch, Watched};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicI64, Ordering};
use loom::thread;
use std::time::Duration;

/// A guest's global, for the model.
#[derive(Clone)]
struct Global(Arc<AtomicI64>);

impl Global {
    fn new() -> Self {
        Self(Arc::new(AtomicI64::new(0)))
    }
}

impl Word for Global {
    fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn acquire(&self) -> i64 {
        self.0.load(Ordering::Acquire)
    }

    fn release(&self, value: i64) {
        self.0.store(value, Ordering::Release);
    }
}

fn words() -> StopWords<Global> {
    StopWords {
        stop: Global::new(),
        call: Global::new(),
        hit: Global::new(),
    }
}

/// Does what compiled code does where it looks once; returns whether the call ends here.
fn guest_looks(words: &StopWords<Global>) -> bool {
    while words.stop.get() != 0 {
        if words.stop.get() == words.call.get() {
            words.hit.set(words.call.get());
            return true;
        }
        words.stop.set(0);
    }
    false
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

const FOR_EVER: Option<Duration> = None;

fn call(
    watched: &mut Watched<Global>,
    words: &StopWords<Global>,
    limit: Option<Duration>,
    looks: u32,
) -> bool {
    watched.begin(limit);
    for _ in 0..looks {
        if guest_looks(words) {
            break;
        }
    }
    watched.end()
}

/// A call that is over when the watch stops it does not take the next one with it.
#[test]
fn a_stop_that_comes_late_is_for_nobody() {
    model(|| {
        let watch = Watch::unwatched();
        let words = words();
        let mut watched = watch.watch(words.clone());
        let thread = {
            let watch = watch.clone();
            thread::spawn(move || {
                watch.face().guests().look(Duration::ZERO);
                watch.face().guests().look(Duration::ZERO);
            })
        };
        call(&mut watched, &words, Some(Duration::ZERO), 1);
        assert!(!call(&mut watched, &words, FOR_EVER, 2));
        thread.join().unwrap();
    });
}

/// A call whose stop a guest wipes away with an earlier one's is told again.
#[test]
fn a_call_is_told_until_it_stops() {
    model(|| {
        let watch = Watch::unwatched();
        let words = words();
        let mut watched = watch.watch(words.clone());
        words.stop.set(7); // of an earlier call
        watched.begin(Some(Duration::ZERO));
        let thread = {
            let words = words.clone();
            thread::spawn(move || guest_looks(&words))
        };
        watch.face().guests().look(Duration::ZERO);
        let has_stopped = thread.join().unwrap();
        watch.face().guests().look(Duration::ZERO);
        assert!(has_stopped || guest_looks(&words));
        assert!(watched.end());
    });
}

/// A thread that goes to sleep while a call begins either sees it or is woken; else the model would find it asleep
/// for ever.
#[test]
fn no_call_is_slept_through() {
    model(|| {
        let watch = Watch::unwatched();
        let words = words();
        let mut watched = watch.watch(words);
        let thread = {
            let watch = watch.clone();
            thread::spawn(move || {
                let face = watch.face();
                drop(face.sleep(face.guests(), Duration::ZERO));
            })
        };
        watched.begin(FOR_EVER);
        thread.join().unwrap();
        watched.end();
    });
}

/// What is cancelled is one call.
#[test]
fn a_cancelled_call_is_no_other() {
    model(|| {
        let watch = Watch::unwatched();
        let words = words();
        let mut watched = watch.watch(words.clone());
        watched.begin(FOR_EVER);
        let stopper = watched.stopper();
        let thread = {
            let watch = watch.clone();
            thread::spawn(move || {
                stopper.stop();
                watch.face().guests().look(Duration::ZERO);
            })
        };
        guest_looks(&words);
        watched.end();
        assert!(!call(&mut watched, &words, FOR_EVER, 1));
        thread.join().unwrap();
    });
}
