use crate::job::{drop_quietly, quietly};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// The threads of a pool, until somebody has waited for each to be gone.
///
/// A thread that ends waits for those that ended before it: it has nothing else to do, so nobody is held up, and at
/// most a few are left for the end of the pool. Those are waited for by a thread that is started for it.
#[derive(Default)]
pub(crate) struct Joins(Mutex<Threads>);

#[derive(Default)]
struct Threads {
    /// By the number of the seat.
    working: Vec<(usize, JoinHandle<()>)>,
    /// They do nothing more for the pool.
    ended: Vec<JoinHandle<()>>,
    /// Those that work for the pool in no seat, and end once they are let go of.
    helpers: Helpers,
    /// How many are waited for at the end of the pool.
    awaited: usize,
}

/// Threads in no seat.
#[derive(Default)]
pub(crate) struct Helpers {
    pub(crate) threads: Vec<JoinHandle<()>>,
    /// Lets them end.
    pub(crate) let_go: Option<Box<dyn FnOnce() + Send>>,
}

impl Joins {
    /// Starts the thread of a seat. What starts may end before this returns.
    ///
    /// # Errors
    ///
    /// None could be started.
    pub(crate) fn start(
        &self,
        seat: usize,
        start: impl FnOnce() -> io::Result<JoinHandle<()>>,
    ) -> io::Result<()> {
        let mut threads = self.lock();
        let thread = start()?;
        threads.working.push((seat, thread));
        Ok(())
    }

    /// Takes note of threads that do not work in a seat, and end with the pool.
    #[cfg(feature = "rayon")]
    pub(crate) fn add(&self, helpers: Helpers) {
        self.lock().helpers = helpers;
    }

    /// Takes note that the thread of a seat is about to end, and waits for those that ended before; called on that
    /// thread.
    pub(crate) fn leave(&self, seat: usize) {
        let mut threads = self.lock();
        let before = std::mem::take(&mut threads.ended);
        if let Some(at) = threads.working.iter().position(|(of, _)| *of == seat) {
            let (_, own) = threads.working.swap_remove(at);
            threads.ended.push(own);
        }
        drop(threads);
        join(before);
    }

    /// Takes those that are to be waited for now that all have ended; nothing while somebody does so.
    pub(crate) fn begin_last(&self) -> Option<Vec<JoinHandle<()>>> {
        let mut threads = self.lock();
        if threads.awaited > 0 {
            return None;
        }
        let mut last = std::mem::take(&mut threads.ended);
        let helpers = std::mem::take(&mut threads.helpers);
        last.extend(helpers.threads);
        threads.awaited = last.len();
        drop(threads);
        if let Some(let_go) = helpers.let_go {
            quietly(let_go);
        }
        Some(last)
    }

    /// Takes note that they were waited for.
    pub(crate) fn end_last(&self) {
        self.lock().awaited = 0;
    }

    /// Returns how many threads are waited for at the end of the pool.
    pub(crate) fn awaited(&self) -> usize {
        self.lock().awaited
    }

    fn lock(&self) -> MutexGuard<'_, Threads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until threads are gone.
pub(crate) fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        if let Err(payload) = thread.join() {
            drop_quietly(payload);
        }
    }
}
