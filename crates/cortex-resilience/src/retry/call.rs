use super::error::Error;
use super::policy::Retry;
use super::progress::Link;
use super::run::{Make, Run};
use crate::attempt::Attempt;
use crate::classify::Classify;
use crate::observer::Observer;
use cortex_core::Clock;
use pin_project_lite::pin_project;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

impl<C, O: Observer, K: Clock> Retry<C, O, K> {
    /// Calls what makes a future until one succeeds or there are no more attempts.
    ///
    /// # Errors
    ///
    /// As [`Error`] says. A result that is `Ok` is returned as it is, also where the classifier takes it for a failure.
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_resilience::retry::Retry;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let retry = Retry::builder("payments").max_attempts(3).build()?;
    /// let receipt = retry.call(|attempt| async move {
    ///     if attempt.is_retry() { Ok(attempt.number()) } else { Err(std::fmt::Error) }
    /// });
    /// assert_eq!(receipt.await?, 2);
    /// # Ok(())
    /// # }
    /// ```
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
            run: Run::new(Link::Borrowed(self), operation),
        }
    }
}

pin_project! {
    /// A call with retries; made by [`Retry::call`].
    ///
    /// The first attempt is made at the first poll. Delays need a runtime of tokio with a timer; where the first attempt
    /// succeeds there is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the attempt that runs, and gives back what a budget gave for one that has not begun.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Call<'a, M, F: Future, C, O, K> {
        #[pin]
        run: Run<'a, Operation<M, F>, F, C, O, K>,
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
        self.project().run.poll(cx)
    }
}

impl<M, F: Future, C, O, K> fmt::Debug for Call<'_, M, F, C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Call").field(&self.run).finish()
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
    type Error = E;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), E>> {
        Poll::Ready(Ok(()))
    }

    fn make(&mut self, attempt: Attempt) -> F {
        (self.operation)(attempt)
    }
}
