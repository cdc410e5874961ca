use super::parallel::{Parallel, Stopped};
use super::progress::Progress;
use crate::call::Call;
use crate::cancel::CancelToken;
use crate::error::{Error, Stage};
use crate::overflow::Overflow;
use crate::priority::Priority;
use crate::stop::Stop;
use crate::worker::Closures;
use cortex_core::Deadline;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A call to a [`CpuPool`](crate::CpuPool), as a [`Call`] to a pool. What was not begun comes back with the error: the items, or the
/// closure.
///
/// # Cancel safety
///
/// Dropping it cancels the task: one that waits never runs, one that runs stops before its next chunk.
#[must_use = "calls do nothing unless they are awaited, waited for or detached"]
pub struct CpuCall<'a, Q, F, T>(pub(super) Call<'a, Closures, Parallel<Q, F, T>>)
where
    Q: Send + 'static,
    F: Send + 'static,
    T: Send + 'static;

impl<Q, F, T> CpuCall<'_, Q, F, T>
where
    Q: Send + 'static,
    F: Send + 'static,
    T: Send + 'static,
{
    /// Sets which tasks it comes before; [`Priority::Normal`] by default.
    pub fn priority(self, priority: Priority) -> Self {
        Self(self.0.priority(priority))
    }

    /// Sets until when somebody waits for the answer; the earlier of this and the deadline of the context counts.
    pub fn deadline(self, deadline: Deadline) -> Self {
        Self(self.0.deadline(deadline))
    }

    /// Sets how long it may run, counted from when it is begun; in place of the pool's.
    pub fn run_timeout(self, time: Duration) -> Self {
        Self(self.0.run_timeout(time))
    }

    /// Sets what happens if the queue is full; in place of the pool's.
    pub fn overflow(self, overflow: Overflow) -> Self {
        Self(self.0.overflow(overflow))
    }

    /// Has it cancelled with this token, also once it is detached; in place of one that was given before.
    pub fn cancel_with(self, token: &CancelToken) -> Self {
        Self(self.0.cancel_with(token))
    }

    /// Says whose task it is, as [`Call::submitter`].
    pub fn submitter(self, number: u64) -> Self {
        Self(self.0.submitter(number))
    }

    /// Has this told of how many items are done, and of how many: when the first chunk is done, then every 100 ms at most, and at the
    /// end. It is called by a thread that computes, by one at a time, and the others do not wait for it. [`CpuPool::run`] tells nothing.
    ///
    /// [`CpuPool::run`]: crate::CpuPool::run
    ///
    /// # Panics
    ///
    /// If it panics, so does the task.
    pub fn progress(self, tell: impl Fn(usize, usize) + Send + Sync + 'static) -> Self {
        self.progress_every(Duration::from_millis(100), tell)
    }

    /// As [`progress`](Self::progress), at most so often.
    pub fn progress_every(
        mut self,
        time: Duration,
        tell: impl Fn(usize, usize) + Send + Sync + 'static,
    ) -> Self {
        if let Some(work) = self.0.work() {
            work.progress = Some(Progress::new(time, Box::new(tell)));
        }
        self
    }

    /// Returns the same call with a handle of its own on the pool, as a task that is spawned needs.
    pub fn owned(self) -> CpuCall<'static, Q, F, T> {
        CpuCall(self.0.owned())
    }

    /// Waits for the answer on this thread. On one of the same pool the task runs at once, and the other threads help.
    ///
    /// # Errors
    ///
    /// As a call that is awaited.
    pub fn wait(self) -> Result<T, Error<Q>> {
        self.0.wait().map_err(plain)
    }

    /// Has the task done without waiting for the answer; it ends on its own. It never waits for a place in the queue.
    ///
    /// # Errors
    ///
    /// It was not accepted.
    pub fn detach(self) -> Result<(), Error<Q>> {
        self.0.detach().map_err(plain)
    }
}

/// Makes the error of the caller of that of a task which saw that it was to stop before its caller was told why.
fn plain<Q>(error: Error<Q, Stopped>) -> Error<Q> {
    error.or_failed(|Stopped { why, ran }| match why {
        Stop::Deadline => Error::Deadline {
            stage: Stage::Running,
            work: None,
        },
        Stop::RunTimeout => Error::RunTimeout { ran },
        Stop::Cancelled => Error::Cancelled {
            stage: Stage::Running,
            work: None,
        },
        Stop::Shutdown => Error::Shutdown,
    })
}

impl<Q, F, T> Future for CpuCall<'_, Q, F, T>
where
    Q: Send + 'static,
    F: Send + 'static,
    T: Send + 'static,
{
    type Output = Result<T, Error<Q>>;

    /// # Panics
    ///
    /// It was ready before.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|answer| answer.map_err(plain))
    }
}

impl<Q, F, T> fmt::Debug for CpuCall<'_, Q, F, T>
where
    Q: Send + 'static,
    F: Send + 'static,
    T: Send + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CpuCall").field(&self.0).finish()
    }
}
