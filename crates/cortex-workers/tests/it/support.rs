use cortex_workers::{Builder, Closures, Pool, Snapshot, Worker};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};

/// A door that tasks wait at until it is opened, and that says how many have come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Door(Arc<(Mutex<(bool, usize)>, Condvar)>);

impl Door {
    pub(crate) fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().expect("nobody panics there");
        state.1 += 1;
        changed.notify_all();
        while !state.0 {
            state = changed.wait(state).expect("nobody panics there");
        }
    }

    pub(crate) fn open(&self) {
        let (state, changed) = &*self.0;
        state.lock().expect("nobody panics there").0 = true;
        changed.notify_all();
    }

    /// Waits until so many have come.
    pub(crate) fn await_arrivals(&self, count: usize) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().expect("nobody panics there");
        while state.1 < count {
            state = changed.wait(state).expect("nobody panics there");
        }
    }
}

pub(crate) fn closures(set: impl FnOnce(Builder<Closures>) -> Builder<Closures>) -> Pool<Closures> {
    let builder = Pool::<Closures>::builder("test").threads(1);
    set(builder).build_blocking().expect("the settings make sense")
}

/// Occupies the threads of a pool, all of them, until the door is opened.
pub(crate) fn occupy(pool: &Pool<Closures>, threads: usize) -> Door {
    let door = Door::default();
    for _ in 0..threads {
        let here = door.clone();
        pool.run(move |_, _| here.pass())
            .detach()
            .expect("there is a place");
    }
    door.await_arrivals(threads);
    door
}

pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Waits until nothing runs, and asserts that all tasks are accounted for: a worker tells of a task when it comes for the next one.
pub(crate) fn at_rest<W: Worker>(pool: &Pool<W>) -> Snapshot {
    loop {
        let snapshot = pool.snapshot();
        assert_balanced(&snapshot);
        if snapshot.threads.busy + snapshot.threads.stuck == 0 {
            return snapshot;
        }
        std::thread::yield_now();
    }
}

/// Asserts that all tasks are accounted for.
pub(crate) fn assert_balanced(snapshot: &Snapshot) {
    assert!(snapshot.is_balanced(), "{snapshot:#?}");
}
