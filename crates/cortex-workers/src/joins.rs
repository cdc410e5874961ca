use crate::job::{drop_quietly, quietly};
use std::cell::OnceCell;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{Builder, JoinHandle};

/// The threads of a pool, until somebody has waited for each to be gone.
///
/// A thread that ends joins those that are gone by then, so that few are left for the end of the pool however often
/// threads come and go. It waits for none that is still there: that one may hang. Those that are left are waited for at
/// the end, by a thread that is started for it.
#[derive(Default)]
pub(crate) struct Joins(Mutex<Threads>);

#[derive(Default)]
struct Threads {
    /// By the number of the seat.
    working: Vec<(usize, Thread)>,
    /// They do nothing more for the pool, or are about to.
    ended: Vec<Thread>,
    /// Those that work for the pool in no seat, and end once they are let go of.
    helpers: Helpers,
    /// Those that are waited for at the end of the pool, while they are.
    last: Option<Vec<Weak<()>>>,
}

/// A thread that was started.
pub(crate) struct Thread {
    handle: JoinHandle<()>,
    /// What it has as long as it is there. A [`JoinHandle`] says that a thread has finished before the destructors of its
    /// thread-locals run, which may take for ever.
    presence: Weak<()>,
}

thread_local! {
    /// The first that a thread is given, so the last that it drops.
    static PRESENCE: OnceCell<Arc<()>> = const { OnceCell::new() };
}

impl Thread {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// The operating system starts none.
    pub(crate) fn start(builder: Builder, run: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let own = Arc::new(());
        let presence = Arc::downgrade(&own);
        let handle = builder.spawn(move || {
            PRESENCE.with(|presence| drop(presence.set(own)));
            run();
        })?;
        Ok(Self { handle, presence })
    }

    fn is_gone(&self) -> bool {
        self.presence.strong_count() == 0
    }
}

/// Threads in no seat.
#[derive(Default)]
pub(crate) struct Helpers {
    pub(crate) threads: Vec<Thread>,
    /// Lets them end.
    pub(crate) let_go: Option<Box<dyn FnOnce() + Send>>,
}

impl Joins {
    /// Starts the thread of a seat. What starts may end before this returns.
    ///
    /// # Errors
    ///
    /// None could be started.
    pub(crate) fn start(&self, seat: usize, start: impl FnOnce() -> io::Result<Thread>) -> io::Result<()> {
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

    /// Takes note that the thread of a seat is about to end; while it has the seat, as another one may be started there after that.
    pub(crate) fn leave(&self, seat: usize) {
        let mut threads = self.lock();
        if let Some(at) = threads.working.iter().position(|(of, _)| *of == seat) {
            let (_, own) = threads.working.swap_remove(at);
            threads.ended.push(own);
        }
    }

    /// Joins those that are gone.
    pub(crate) fn sweep(&self) {
        let mut threads = self.lock();
        let ended = std::mem::take(&mut threads.ended).into_iter();
        let (gone, there) = ended.partition(Thread::is_gone);
        threads.ended = there;
        drop(threads);
        join(gone);
    }

    /// Takes those that are to be waited for now that all have ended; nothing while somebody does so.
    pub(crate) fn begin_last(&self) -> Option<Vec<Thread>> {
        let mut threads = self.lock();
        if threads.last.is_some() {
            return None;
        }
        let mut last = std::mem::take(&mut threads.ended);
        let helpers = std::mem::take(&mut threads.helpers);
        last.extend(helpers.threads);
        if !last.is_empty() {
            let presences = last.iter().map(|thread| Weak::clone(&thread.presence));
            threads.last = Some(presences.collect());
        }
        drop(threads);
        if let Some(let_go) = helpers.let_go {
            quietly(let_go);
        }
        Some(last)
    }

    /// Takes note that they were waited for.
    pub(crate) fn end_last(&self) {
        self.lock().last = None;
    }

    /// Returns how many threads are still there of those that are waited for at the end of the pool.
    pub(crate) fn awaited(&self) -> usize {
        let threads = self.lock();
        let last = threads.last.iter().flatten();
        last.filter(|presence| presence.strong_count() > 0).count()
    }

    fn lock(&self) -> MutexGuard<'_, Threads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until threads are gone.
pub(crate) fn join(threads: Vec<Thread>) {
    for thread in threads {
        if let Err(payload) = thread.handle.join() {
            drop_quietly(payload);
        }
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::sync::mpsc::{Receiver, channel};

    /// Waits when it is dropped.
    struct Waits(Receiver<()>);

    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.recv().ok();
        }
    }

    thread_local! {
        static LAST: RefCell<Option<Waits>> = const { RefCell::new(None) };
    }

    #[test]
    fn nobody_waits_for_one_that_is_still_there_before_the_end() {
        let joins = Joins::default();
        let (open, door) = channel();
        let waits = move || LAST.with_borrow_mut(|last| *last = Some(Waits(door)));
        joins.start(0, || Thread::start(Builder::new(), waits)).unwrap();
        for seat in 1..4 {
            joins
                .start(seat, || Thread::start(Builder::new(), || ()))
                .unwrap();
        }
        (0..4).for_each(|seat| joins.leave(seat));
        while joins.lock().ended.len() > 1 {
            joins.sweep();
            std::thread::yield_now();
        }
        assert_eq!(joins.awaited(), 0, "nobody waits yet");
        let last = joins.begin_last().expect("nobody waits yet");
        assert_eq!((last.len(), joins.awaited()), (1, 1));
        assert!(joins.begin_last().is_none());
        drop(open);
        join(last);
        assert_eq!(joins.awaited(), 0, "it is gone");
        joins.end_last();
        assert_eq!(joins.begin_last().map(|last| last.len()), Some(0));
    }
}
