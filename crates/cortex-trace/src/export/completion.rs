use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::Abort;
use crate::{ExportError, FlushError};

/// Several workers being asked for the same, and somebody who waits for all of them.
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
}

impl Completion {
    pub(crate) fn new(pending: Vec<&'static str>, aborts: Vec<Abort>) -> Arc<Self> {
        Arc::new(Self {
            progress: Mutex::new(Progress {
                pending,
                failed: Vec::new(),
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
            self.done.notify_all();
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

    /// Waits until all have answered or the time is up.
    ///
    /// There may be no runtime, and so no timer, but a thread that waits: a flush is rare enough for that.
    pub(crate) async fn settled(self: Arc<Self>, timeout: Duration) -> Result<(), FlushError> {
        if self.progress().pending.is_empty() {
            return self.progress().result();
        }
        let answer = Arc::new(Mutex::new(Answer::default()));
        let thread = std::thread::Builder::new()
            .name("cortex-trace-flush".into())
            .stack_size(64 << 10)
            .spawn({
                let answer = Arc::clone(&answer);
                move || {
                    let result = self.wait(timeout);
                    let waker = {
                        let mut answer = lock(&answer);
                        answer.result = Some(result);
                        answer.waker.take()
                    };
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                }
            });
        if let Err(error) = thread {
            return Err(FlushError {
                thread: Some(Arc::new(error)),
                ..FlushError::default()
            });
        }
        poll_fn(|cx| {
            let mut answer = lock(&answer);
            if let Some(result) = answer.result.take() {
                return Poll::Ready(result);
            }
            answer.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
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

#[derive(Debug, Default)]
struct Answer {
    result: Option<Result<(), FlushError>>,
    waker: Option<Waker>,
}

/// Locks what no panic can leave half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
