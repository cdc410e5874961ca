use super::breaker::Breaker;
use super::guarded::Guarded;
use crate::classify::Classify;
use crate::error::Error;
use crate::observer::Observer;
use cortex_core::Clock;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// A future behind a breaker; made by [`Breaker::call`].
    ///
    /// The breaker is asked at the first poll. A panic of the future is a failure.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner future, and then gives the permit back, as dropping a [`Permit`](super::Permit) does.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Call<'a, F, C, O: Observer, K: Clock> {
        #[pin]
        guarded: Guarded<&'a Breaker<C, O, K>, F>,
    }
}

impl<'a, F, C, O: Observer, K: Clock> Call<'a, F, C, O, K> {
    #[inline]
    pub(super) const fn new(breaker: &'a Breaker<C, O, K>, inner: F) -> Self {
        Self {
            guarded: Guarded::new(breaker, inner),
        }
    }
}

impl<F, T, E, C, O, K> Future for Call<'_, F, C, O, K>
where
    F: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
    O: Observer,
    K: Clock,
{
    type Output = Result<T, Error<E>>;

    /// # Panics
    ///
    /// It was ready before, or the inner future panics.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().guarded.poll(cx)
    }
}

impl<F, C, O: Observer, K: Clock> fmt::Debug for Call<'_, F, C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("breaker", self.guarded.breaker())
            .field("stage", &self.guarded.stage())
            .finish_non_exhaustive()
    }
}
