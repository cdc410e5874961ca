//! `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-resilience --lib --release model`

use super::gate::{Entry, Gate};
use super::queue::Settings;
use super::{Bulkhead, Priority};
use loom::thread;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rang(&self) -> bool {
        self.0.swap(0, Ordering::SeqCst) > 0
    }
}

fn poll<F: Future>(future: Pin<&mut F>, bell: &Arc<Bell>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(bell));
    future.poll(&mut Context::from_waker(&waker))
}

fn bulkhead(limit: u32) -> Bulkhead {
    Bulkhead::builder("test")
        .max_concurrent(limit)
        .queue(2)
        .build()
        .expect("the settings make sense")
}

/// All orders with up to three preemptions, which is where the errors of such code are.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// A permit that comes back while somebody begins to wait: it is found, or the bell rings.
#[test]
fn model_of_a_bulkhead_no_wake_up_is_lost() {
    explore(|| {
        let bulkhead = bulkhead(1);
        let permit = bulkhead.try_acquire_owned().unwrap();
        let other = thread::spawn(move || drop(permit));
        let bell = Arc::new(Bell::default());
        let mut acquire = Box::pin(bulkhead.acquire());
        let first = poll(acquire.as_mut(), &bell);
        other.join().unwrap();
        if first.is_pending() {
            assert!(bell.rang());
            assert!(bulkhead.try_acquire().is_err()); // it is promised
            assert!(matches!(poll(acquire.as_mut(), &bell), Poll::Ready(Ok(_))));
        }
        drop((first, acquire));
        assert_eq!((bulkhead.snapshot().in_use, bulkhead.snapshot().waiting), (0, 0));
    });
}

/// Who goes away while a permit is on its way to it passes that on to the next.
#[test]
fn model_of_a_bulkhead_who_goes_away_takes_no_permit_along() {
    explore(|| {
        let bulkhead = bulkhead(1);
        let permit = bulkhead.try_acquire_owned().unwrap();
        let bells = [(); 2].map(|()| Arc::new(Bell::default()));
        let mut goes = Box::pin(bulkhead.acquire_owned());
        let mut stays = Box::pin(bulkhead.acquire_owned());
        assert!(poll(goes.as_mut(), &bells[0]).is_pending());
        assert!(poll(stays.as_mut(), &bells[1]).is_pending());
        let other = thread::spawn(move || drop(permit));
        drop(goes);
        other.join().unwrap();
        assert!(bells[1].rang());
        let permit = poll(stays.as_mut(), &bells[1]);
        assert!(matches!(permit, Poll::Ready(Ok(_))));
        drop(permit);
        assert_eq!((bulkhead.snapshot().in_use, bulkhead.snapshot().waiting), (0, 0));
    });
}

/// The only one who waits goes away while the permit comes back: it is there for the next.
#[test]
fn model_of_a_bulkhead_the_last_who_goes_away_leaves_no_mark() {
    explore(|| {
        let bulkhead = bulkhead(1);
        let permit = bulkhead.try_acquire_owned().unwrap();
        let mut goes = Box::pin(bulkhead.acquire_owned());
        assert!(poll(goes.as_mut(), &Arc::default()).is_pending());
        let other = thread::spawn(move || drop(permit));
        drop(goes);
        other.join().unwrap();
        assert_eq!((bulkhead.snapshot().in_use, bulkhead.snapshot().waiting), (0, 0));
        assert!(bulkhead.try_acquire().is_ok());
    });
}

/// Two come for one permit, one of them only to try: there is never more than one out, and none is lost.
#[test]
fn model_of_a_bulkhead_one_permit_is_one() {
    explore(|| {
        let bulkhead = bulkhead(1);
        let other = {
            let bulkhead = bulkhead.clone();
            thread::spawn(move || bulkhead.try_acquire_owned().ok())
        };
        let bell = Arc::new(Bell::default());
        let mut acquire = Box::pin(bulkhead.acquire_owned());
        let mine = poll(acquire.as_mut(), &bell);
        let theirs = other.join().unwrap();
        assert!(mine.is_pending() == theirs.is_some());
        drop(theirs);
        assert_eq!(mine.is_pending(), bell.rang());
        drop((mine, acquire));
        assert!(bulkhead.try_acquire().is_ok());
    });
}

/// More permits and one that comes back: both who wait begin.
#[test]
fn model_of_a_bulkhead_more_permits_wake_all_they_are_for() {
    explore(|| {
        let bulkhead = bulkhead(1);
        let permit = bulkhead.try_acquire_owned().unwrap();
        let bells = [(); 2].map(|()| Arc::new(Bell::default()));
        let mut waits = [(); 2].map(|()| Box::pin(bulkhead.acquire_owned()));
        for (wait, bell) in waits.iter_mut().zip(&bells) {
            assert!(poll(wait.as_mut(), bell).is_pending());
        }
        let other = thread::spawn(move || drop(permit));
        bulkhead.resize(2).unwrap();
        other.join().unwrap();
        let permits: Vec<_> = waits
            .iter_mut()
            .zip(&bells)
            .map(|(wait, bell)| (bell.rang(), poll(wait.as_mut(), bell)))
            .collect();
        assert!(
            permits
                .iter()
                .all(|(rang, poll)| *rang && matches!(poll, Poll::Ready(Ok(_))))
        );
        assert_eq!(bulkhead.snapshot().in_use, 2);
    });
}

/// Somebody comes while there become more permits: that one is of who waits.
#[test]
fn model_of_a_bulkhead_nobody_overtakes_in_a_resize() {
    explore(|| {
        let bulkhead = bulkhead(1);
        let permit = bulkhead.try_acquire_owned().unwrap();
        let bell = Arc::new(Bell::default());
        let mut waits = Box::pin(bulkhead.acquire_owned());
        assert!(poll(waits.as_mut(), &bell).is_pending());
        let other = {
            let bulkhead = bulkhead.clone();
            thread::spawn(move || bulkhead.try_acquire_owned().is_err())
        };
        bulkhead.resize(2).unwrap();
        assert!(bell.rang() && other.join().unwrap());
        assert!(matches!(poll(waits.as_mut(), &bell), Poll::Ready(Ok(_))));
        drop(permit);
    });
}

/// Who is put out of the queue for somebody more important hears of it, unless it was its turn just before.
#[test]
fn model_of_a_bulkhead_who_has_to_go_is_told() {
    explore(|| {
        let bulkhead = Bulkhead::builder("test")
            .max_concurrent(1)
            .queue(1)
            .build()
            .unwrap();
        let permit = bulkhead.try_acquire_owned().unwrap();
        let bells = [(); 2].map(|()| Arc::new(Bell::default()));
        let mut low = Box::pin(bulkhead.acquire_owned().priority(Priority::Low));
        assert!(poll(low.as_mut(), &bells[0]).is_pending());
        let other = thread::spawn(move || drop(permit));
        let mut high = Box::pin(bulkhead.acquire_owned().priority(Priority::High));
        let first = poll(high.as_mut(), &bells[1]);
        other.join().unwrap();
        assert!(bells[0].rang());
        match (poll(low.as_mut(), &bells[0]), first) {
            (Poll::Ready(Ok(permit)), Poll::Pending) => drop(permit),
            (Poll::Ready(Err(_)), Poll::Pending | Poll::Ready(Ok(_))) => {}
            other => panic!("{other:?}"),
        }
        drop((low, high));
        assert_eq!((bulkhead.snapshot().in_use, bulkhead.snapshot().waiting), (0, 0));
    });
}

fn split_gate() -> Arc<Gate> {
    let settings = Settings {
        capacity: 2,
        older_than: None,
    };
    Arc::new(Gate::split(4, settings, 2))
}

fn give_back(gate: &Gate, thread: usize) {
    if !gate.try_give_back_as(thread)
        && let Some(waker) = gate.hand_over(0)
    {
        waker.wake();
    }
}

/// A thread takes and gives back where another collects all: whoever is refused, all were out.
#[test]
fn model_of_a_bulkhead_permits_at_hand_are_found() {
    explore(|| {
        let gate = split_gate();
        assert!((0..2).all(|_| gate.try_take_as(0)));
        give_back(&gate, 0); // it is at hand of the first thread
        assert_eq!(gate.permits(), (4, 1));
        let other = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || {
                assert!(gate.try_take_as(0)); // there are enough for both
                give_back(&gate, 0);
            })
        };
        assert!((0..2).all(|_| gate.try_take_as(1)));
        other.join().unwrap();
        assert!(gate.try_take_as(1) && !gate.try_take_as(1) && !gate.try_take_as(0));
        assert_eq!(gate.permits(), (4, 4));
    });
}

/// A permit comes back to a thread while somebody begins to wait: it is found, or the bell rings.
#[test]
fn model_of_a_bulkhead_a_permit_at_hand_wakes_who_waits() {
    explore(|| {
        let gate = split_gate();
        assert!([0, 0, 1, 1].iter().all(|thread| gate.try_take_as(*thread)));
        let other = {
            let gate = Arc::clone(&gate);
            thread::spawn(move || give_back(&gate, 0))
        };
        let bell = Arc::new(Bell::default());
        let entry = gate.enter(Priority::Normal, 0, Waker::from(Arc::clone(&bell)));
        other.join().unwrap();
        assert_eq!(bell.rang(), matches!(entry, Entry::Waits { .. }));
        assert_eq!(gate.permits(), (4, 4));
    });
}
