use super::acquire::Acquire;
use crate::error::Error;
use crate::observer::Observer;
use cortex_core::Clock;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// A future behind a rate limiter; made by [`RateLimiter::call`](super::RateLimiter::call).
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner future. Before that was polled, it gives the token back as [`Acquire`] does.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Call<'a, F, O, K> {
        is_running: bool,
        #[pin]
        inner: F,
        #[pin]
        acquire: Acquire<'a, O, K>,
    }
}

impl<'a, F, O, K> Call<'a, F, O, K> {
    #[inline]
    pub(super) const fn new(acquire: Acquire<'a, O, K>, inner: F) -> Self {
        Self {
            is_running: false,
            inner,
            acquire,
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
    /// It was ready before, has to wait outside of a runtime of tokio with timers, or the inner future panics.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if !*this.is_running {
            ready!(this.acquire.poll(cx)).map_err(Error::Rejected)?;
            *this.is_running = true;
        }
        let poll = this.inner.poll(cx);
        *this.is_running = poll.is_pending(); // after the end, another poll is told that it is one too many
        poll.map_err(Error::Inner)
    }
}

impl<F, O, K> fmt::Debug for Call<'_, F, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("acquire", &self.acquire)
            .field("is_running", &self.is_running)
            .finish_non_exhaustive()
    }
}
