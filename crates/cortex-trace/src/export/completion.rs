use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use cortex_core::{Clock, SystemClock};

use super::Abort;
use super::alarm::Alarm;
use crate::{ExportError, FlushError};

/// Several workers being asked for the same, and the one who waits for all of them.
#[derive(Debug)]
pub(crate) struct Completion {
    progress: Mutex<Progress>,
    done: Condvar,
    /// What to tell those who are late.
    aborts: Vec<Abort>,
}

#[derive(Debug)]
struct Progress {
    /// Who has not answered yet.
    pending: Vec<&'static str>,
    failed: Vec<(&'static str, ExportError)>,
    /// Who waits, if that is a task.
    waker: Option<Waker>,
}

impl Completion {
    pub(crate) fn new(pending: Vec<&'static str>, aborts: Vec<Abort>) -> Arc<Self> {
        Arc::new(Self {
            progress: Mutex::new(Progress {
                pending,
                failed: Vec::new(),
                waker: None,
            }),
            done: Condvar::new(),
            aborts,
        })
    }

    /// Notes a worker's answer.
    pub(crate) fn report(&self, name: &'static str, result: Result<(), ExportError>) {
        let mut progress = self.progress();
        if let Some(at) = progress.pending.iter().position(|pending| *pending == name) {
            progress.pending.swap_remove(at);
        }
        if let Err(error) = result {
            progress.failed.push((name, error));
        }
        if progress.pending.is_empty() {
            let waker = progress.waker.take();
            drop(progress);
            self.done.notify_all();
            if let Some(waker) = waker {
                // What a runtime does then is its business; the worker that answers goes on.
                let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
        }
    }

    /// Blocks until all have answered or the time is up.
    pub(crate) fn wait(&self, timeout: Duration) -> Result<(), FlushError> {
        let (progress, _) = self
            .done
            .wait_timeout_while(self.progress(), timeout, |progress| !progress.pending.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let result = progress.result();
        drop(progress);
        if result.as_ref().is_err_and(FlushError::is_timeout) {
            for abort in &self.aborts {
                abort.raise(); // nothing to those who are done
            }
        }
        result
    }

    /// Waits until all have answered or the time is up. Needs no runtime.
    pub(crate) async fn settled(self: Arc<Self>, timeout: Duration) -> Result<(), FlushError> {
        let end = SystemClock.now().checked_add(timeout); // none: the time is never up
        let mut alarm = end.map(Alarm::at);
        poll_fn(|cx| {
            if self.note_waker(cx.waker()) || end.is_some_and(|end| SystemClock.now() >= end) {
                return Poll::Ready(self.wait(Duration::ZERO));
            }
            match alarm.as_mut().map_or(Ok(()), |alarm| alarm.set(cx.waker())) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(FlushError {
                    thread: Some(Arc::new(error)),
                    ..FlushError::default()
                })),
            }
        })
        .await
    }

    /// Notes who is to be woken when all have answered; says whether they have.
    fn note_waker(&self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut progress = self.progress();
        if progress.pending.is_empty() {
            return true;
        }
        let replaced = progress.waker.replace(waker);
        drop(progress);
        drop(replaced); // a waker is foreign, and the lock is free by now
        false
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        lock(&self.progress)
    }
}

impl Progress {
    fn result(&self) -> Result<(), FlushError> {
        if self.pending.is_empty() && self.failed.is_empty() {
            return Ok(());
        }
        Err(FlushError {
            late: self.pending.clone(),
            failed: self.failed.clone(),
            thread: None,
            logs: false,
        })
    }
}

/// Locks what no panic can leave half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Wake};

    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("seeded panic"));
        }
    }

    #[test]
    fn a_waker_that_panics_does_not_hold_up_who_answers() {
        let completion = Completion::new(vec!["one", "two"], Vec::new());
        let mut settled = pin!(Arc::clone(&completion).settled(Duration::from_mins(2)));
        let waker = Waker::from(Arc::new(Panics));
        let mut cx = Context::from_waker(&waker);
        assert!(settled.as_mut().poll(&mut cx).is_pending());
        completion.report("one", Ok(()));
        completion.report("two", Ok(()));
        assert!(matches!(settled.poll(&mut cx), Poll::Ready(Ok(()))));
    }
}
