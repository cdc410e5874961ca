use super::policy::Hedge;
use super::race::{Link, Make, Race};
use crate::attempt::Attempt;
use crate::classify::Classify;
use crate::error::Error;
use crate::observer::Observer;
use cortex_core::Clock;
use pin_project_lite::pin_project;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

impl<C, O: Observer, K: Clock> Hedge<C, O, K> {
    /// Calls what makes a future, and again if that takes long.
    ///
    /// # Errors
    ///
    /// As [`Error`] says. A result that is `Ok` is returned as it is, also where the classifier takes it for a failure.
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    #[inline]
    pub const fn call<M, F>(&self, operation: M) -> Call<'_, M, F, C, O, K>
    where
        M: FnMut(Attempt) -> F,
        F: Future,
    {
        let operation = Operation {
            operation,
            future: PhantomData,
        };
        Call {
            race: Race::new(Link::Borrowed(self), operation),
        }
    }
}

pin_project! {
    /// A call with hedges; made by [`Hedge::call`].
    ///
    /// The first attempt is made at the first poll. All of them live in this future: nothing is spawned. To wait needs a
    /// runtime of tokio with a timer; where the first attempt is ready at once there is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops all attempts.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Call<'a, M, F: Future, C, O, K> {
        #[pin]
        race: Race<'a, Operation<M, F>, F, C, O, K>,
    }
}

impl<M, F, T, E, C, O, K> Future for Call<'_, M, F, C, O, K>
where
    M: FnMut(Attempt) -> F,
    F: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
    O: Observer,
    K: Clock,
{
    type Output = Result<T, Error<E>>;

    /// # Panics
    ///
    /// It was ready before, or an attempt panics, or has to wait without a runtime of tokio.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().race.poll(cx)
    }
}

impl<M, F: Future, C, O, K> fmt::Debug for Call<'_, M, F, C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.race).finish()
    }
}

/// A function that makes attempts, and can at all times.
struct Operation<M, F> {
    operation: M,
    future: PhantomData<fn() -> F>,
}

impl<M, F, T, E> Make for Operation<M, F>
where
    M: FnMut(Attempt) -> F,
    F: Future<Output = Result<T, E>>,
{
    type Future = F;

    fn make(&mut self, attempt: Attempt) -> Option<F> {
        Some((self.operation)(attempt))
    }
}
