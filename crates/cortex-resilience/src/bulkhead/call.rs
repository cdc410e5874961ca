use super::acquire::Acquire;
use super::priority::Priority;
use crate::error::Error;
use crate::observer::Observer;
use cortex_core::Clock;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// A future behind a bulkhead; made by [`Bulkhead::call`](super::Bulkhead::call).
    ///
    /// The permit is passed on as soon as the future is ready.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner future, and then passes the permit on or gives up the place in the queue.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Call<'a, F, O: Observer, K: Clock> {
        #[pin]
        inner: F,
        // After the future: what it holds is free before somebody else begins. The permit stays in it.
        #[pin]
        acquire: Acquire<'a, O, K>,
    }
}

impl<'a, F, O: Observer, K: Clock> Call<'a, F, O, K> {
    #[inline]
    pub(super) const fn new(acquire: Acquire<'a, O, K>, inner: F) -> Self {
        Self { inner, acquire }
    }

    /// Sets who comes first, before the first poll; by default it is a normal call.
    pub fn priority(self, priority: Priority) -> Self {
        Self {
            acquire: self.acquire.priority(priority),
            ..self
        }
    }
}

impl<F, T, E, O, K> Future for Call<'_, F, O, K>
where
    F: Future<Output = Result<T, E>>,
    O: Observer,
    K: Clock,
{
    type Output = Result<T, Error<E>>;

    /// # Panics
    ///
    /// It was ready before, has to wait for a limited time outside of a runtime of tokio with timers, or the inner future panics.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !this.acquire.is_holding() {
            ready!(this.acquire.as_mut().poll_hold(cx)).map_err(Error::Rejected)?;
        }
        let poll = this.inner.poll(cx);
        if poll.is_ready() {
            this.acquire.release();
        }
        poll.map_err(Error::Inner)
    }
}

impl<F, O: Observer, K: Clock> fmt::Debug for Call<'_, F, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("acquire", &self.acquire)
            .field("is_running", &self.acquire.is_holding())
            .finish_non_exhaustive()
    }
}
