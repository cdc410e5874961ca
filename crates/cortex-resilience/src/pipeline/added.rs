use super::around::Around;
use super::policy::{Policy, Wrap};
use super::stages::Stages;
use crate::chaos::{self, Chaos, Target};
use crate::classify::Classify;
use crate::error::Error;
use crate::fallback::{self, Fallback, Handler};
use crate::observer::Observer;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// A future whose error is that of a call, as it is behind the services of the same policies.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Added<F> {
        #[pin]
        inner: F,
    }
}

impl<F, T, E> Future for Added<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, Error<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx).map_err(Error::Inner)
    }
}

impl<F> fmt::Debug for Added<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Added").finish_non_exhaustive()
    }
}

impl<H, C, O> Policy for Fallback<H, C, O> {
    type Over<Rest: Stages> = Around<Self, Rest>;

    /// It does not look through the policies inside: their refusals are failures to it, too.
    fn over<Rest: Stages>(self, rest: Rest) -> Around<Self, Rest> {
        Around { policy: self, rest }
    }
}

impl<F, T, E, H, C, O> Wrap<F> for Fallback<H, C, O>
where
    F: Future<Output = Result<T, E>>,
    H: Handler<T, E>,
    C: Classify<T, E>,
    O: Observer,
{
    type Call<'a>
        = Added<fallback::Call<'a, F, H::Future, Self>>
    where
        Self: 'a;

    #[inline]
    fn wrap(&self, future: F) -> Self::Call<'_> {
        Added {
            inner: self.call(future),
        }
    }
}

impl<E, A, W, O> Policy for Chaos<E, A, W, O> {
    type Over<Rest: Stages> = Around<Self, Rest>;

    fn over<Rest: Stages>(self, rest: Rest) -> Around<Self, Rest> {
        Around { policy: self, rest }
    }
}

impl<F, E, A, W: Target<()>, O: Observer> Wrap<F> for Chaos<E, A, W, O> {
    type Call<'a>
        = Added<chaos::Call<'a, F, Self>>
    where
        Self: 'a;

    #[inline]
    fn wrap(&self, future: F) -> Self::Call<'_> {
        Added {
            inner: self.call(future),
        }
    }
}
