use super::error::Error;
use super::nested::Nested;
use pin_project_lite::pin_project;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// A call through a pipeline; made by [`Pipeline::call`](super::Pipeline::call).
    ///
    /// Nothing happens before its first poll.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the operation's future, and then gives back what each policy has given for it.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Call<F, S> {
        #[pin]
        inner: F,
        stages: PhantomData<fn() -> S>,
    }
}

impl<F, S> Call<F, S> {
    #[inline]
    pub(super) const fn new(inner: F) -> Self {
        Self {
            inner,
            stages: PhantomData,
        }
    }
}

impl<F, S, T, X> Future for Call<F, S>
where
    F: Future<Output = Result<T, X>>,
    X: Nested<S>,
{
    type Output = Result<T, Error<X::Own>>;

    /// # Panics
    ///
    /// It was ready before, or the operation panics, or a policy has to wait outside of a runtime of tokio with timers.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx).map_err(X::flatten)
    }
}

impl<F, S> fmt::Debug for Call<F, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").finish_non_exhaustive()
    }
}
