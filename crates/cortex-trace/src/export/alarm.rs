//! Waking a task when its time is up, on any runtime or none.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use cortex_core::{Clock, SystemClock};

use super::completion::lock;

/// Wakes a task at a time, unless it is dropped before.
#[derive(Debug)]
pub(super) struct Alarm {
    alarms: &'static Alarms,
    at: Instant,
    /// What tells it apart from others at the same time, once it is set.
    id: Option<u64>,
}

/// All that are set, and the one thread that waits for them: it lives as long as there are any.
#[derive(Debug)]
struct Alarms {
    set: Mutex<Set>,
    /// Wakes the thread.
    wake: Condvar,
}

#[derive(Debug)]
struct Set {
    tasks: BTreeMap<(Instant, u64), Waker>,
    next_id: u64,
    /// The process whose thread it is: a fork takes what is here along, but no thread.
    thread_of: Option<u32>,
}

/// One for the process: however many wait, it takes one thread.
static ALARMS: Alarms = Alarms::new();

impl Alarm {
    pub(super) const fn at(at: Instant) -> Self {
        Self::of(&ALARMS, at)
    }

    const fn of(alarms: &'static Alarms, at: Instant) -> Self {
        Self { alarms, at, id: None }
    }

    /// Makes this the task that is woken.
    ///
    /// # Errors
    ///
    /// There is no thread yet, and the system does not start one.
    pub(super) fn set(&mut self, waker: &Waker) -> io::Result<()> {
        let (waker, process) = (waker.clone(), std::process::id());
        let mut set = lock(&self.alarms.set);
        let of_parent = match set.thread_of {
            Some(other) if other != process => {
                set.thread_of = None;
                std::mem::take(&mut set.tasks)
            }
            _ => BTreeMap::new(),
        };
        let id = *self.id.get_or_insert_with(|| {
            set.next_id += 1;
            set.next_id
        });
        let key = (self.at, id);
        let replaced = set.tasks.insert(key, waker);
        let mut result = Ok(());
        if set.thread_of.is_some() {
            let is_first = set.tasks.keys().next() == Some(&key);
            if is_first {
                self.alarms.wake.notify_one();
            }
        } else {
            let alarms = self.alarms;
            result = std::thread::Builder::new()
                .name("cortex-trace-alarm".into())
                .spawn(move || alarms.run())
                .map(|_| set.thread_of = Some(process));
        }
        drop(set);
        drop((replaced, of_parent)); // a waker is foreign, and the lock is free by now
        result
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let mut set = lock(&self.alarms.set);
        let waker = set.tasks.remove(&(self.at, id));
        if set.tasks.is_empty() {
            self.alarms.wake.notify_one(); // the thread ends
        }
        drop(set);
        drop(waker);
    }
}

impl Alarms {
    const fn new() -> Self {
        Self {
            set: Mutex::new(Set {
                tasks: BTreeMap::new(),
                next_id: 0,
                thread_of: None,
            }),
            wake: Condvar::new(),
        }
    }

    fn run(&self) {
        let mut set = lock(&self.set);
        while let Some((&(at, _), _)) = set.tasks.first_key_value() {
            let rest = at.saturating_duration_since(SystemClock.now());
            if !rest.is_zero() {
                let waited = self.wake.wait_timeout(set, rest);
                (set, _) = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let due = set.tasks.pop_first();
            drop(set);
            if let Some((_, waker)) = due {
                // What a runtime does then is its business, and the others have to be woken all the same.
                let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
            set = lock(&self.set);
        }
        set.thread_of = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};
    use std::task::Wake;
    use std::time::Duration;

    const AGES: Duration = Duration::from_mins(2);

    struct Rings(&'static str, Sender<&'static str>);

    impl Wake for Rings {
        fn wake(self: Arc<Self>) {
            let _ = self.1.send(self.0);
            if self.0 == "panics" {
                std::panic::resume_unwind(Box::new("seeded panic"));
            }
        }
    }

    #[test]
    fn everybody_is_woken_in_order_by_a_thread_that_ends() {
        static ALARMS: Alarms = Alarms::new();
        let (rings, rung) = channel();
        let now = SystemClock.now();
        let set = |name, millis| {
            let mut alarm = Alarm::of(&ALARMS, now + Duration::from_millis(millis));
            let waker = Waker::from(Arc::new(Rings(name, rings.clone())));
            alarm.set(Waker::noop()).unwrap(); // of an earlier poll
            alarm.set(&waker).unwrap();
            alarm
        };
        let never = set("never", 600_000);
        let set = [set("second", 20), set("first", 10), set("panics", 0)];
        drop(never);
        for name in ["panics", "first", "second"] {
            assert_eq!(rung.recv_timeout(AGES), Ok(name));
        }
        drop(set);
        let mut state = lock(&ALARMS.set);
        while state.thread_of.is_some() {
            drop(state);
            std::thread::yield_now();
            state = lock(&ALARMS.set);
        }
        assert!(state.tasks.is_empty());
    }

    #[test]
    fn a_thread_that_a_fork_left_behind_is_not_waited_for() {
        static ALARMS: Alarms = Alarms::new();
        let (rings, rung) = channel();
        let waker = |name| Waker::from(Arc::new(Rings(name, rings.clone())));
        let parent = std::process::id().wrapping_add(1);
        let now = SystemClock.now();
        {
            let mut state = lock(&ALARMS.set);
            state.thread_of = Some(parent);
            state.tasks.insert((now, u64::MAX), waker("of the parent"));
        }
        let mut alarm = Alarm::of(&ALARMS, now + Duration::from_millis(1));
        alarm.set(&waker("of the child")).unwrap();
        assert_eq!(rung.recv_timeout(AGES), Ok("of the child"));
    }
}
