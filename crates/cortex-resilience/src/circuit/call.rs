use super::breaker::Breaker;
use super::error::Error;
use super::permit::{Handle, Permit};
use crate::classify::{Classify, Pushback};
use crate::observer::Observer;
use crate::outcome::Outcome;
#[cfg(feature = "tower")]
use crate::rejected::Rejected;
use cortex_core::Clock;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// A future behind a breaker; made by [`Breaker::call`].
    ///
    /// The breaker is asked at the first poll. A panic of the future is a failure.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner future and gives the permit back, see [`Permit`].
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Call<'a, F, C, O: Observer, K: Clock> {
        // Before the future: when the future panics as it is dropped, the permit is back.
        state: Stage<'a, C, O, K>,
        polling: bool,
        #[pin]
        inner: F,
    }

    impl<F, C, O: Observer, K: Clock> PinnedDrop for Call<'_, F, C, O, K> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            // Only an inner poll that did not return leaves the mark. Whether the thread panics says nothing: another panic
            // may be what drops this.
            if *this.polling
                && let Stage::Running(permit, _) = std::mem::replace(this.state, Stage::Done)
            {
                permit.failure();
            }
        }
    }
}

pub(super) enum Stage<'a, C, O: Observer, K: Clock> {
    Idle(&'a Breaker<C, O, K>),
    Running(Permit<'a, O, K>, Judge<'a, C>),
    #[cfg(feature = "tower")]
    Refused(Option<Rejected>),
    Done,
}

/// What judges the result: borrowed with the breaker, or shared.
pub(super) enum Judge<'a, C> {
    Borrowed(&'a C),
    #[cfg(feature = "tower")]
    Shared(C),
}

impl<'a, F, C, O: Observer, K: Clock> Call<'a, F, C, O, K> {
    pub(super) const fn new(state: Stage<'a, C, O, K>, inner: F) -> Self {
        Self {
            state,
            polling: false,
            inner,
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
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.state {
            Stage::Running(..) => {}
            Stage::Idle(breaker) => {
                let breaker: &Breaker<C, O, K> = breaker;
                match breaker.inner.admit() {
                    Ok(ticket) => {
                        let permit = Permit::new(Handle::Borrowed(&breaker.inner), ticket);
                        *this.state = Stage::Running(permit, Judge::Borrowed(&breaker.classify));
                    }
                    Err(rejected) => {
                        *this.state = Stage::Done;
                        return Poll::Ready(Err(Error::Rejected(rejected)));
                    }
                }
            }
            #[cfg(feature = "tower")]
            Stage::Refused(rejected) => {
                let error = rejected.map_or(Error::NotReady, Error::Rejected);
                *this.state = Stage::Done;
                return Poll::Ready(Err(error));
            }
            Stage::Done => panic!("a call was polled after it was ready, or had panicked"),
        }
        *this.polling = true;
        let poll = this.inner.poll(cx);
        *this.polling = false;
        let result = ready!(poll);
        if let Stage::Running(permit, judge) = std::mem::replace(this.state, Stage::Done) {
            let (outcome, pushback) = judge.judge(result.as_ref());
            let retry_after = match pushback {
                Some(Pushback::After(wait)) => Some(wait),
                Some(Pushback::Stop) | None => None,
            };
            permit.end(outcome, retry_after);
        }
        Poll::Ready(result.map_err(Error::Inner))
    }
}

impl<C> Judge<'_, C> {
    #[inline]
    fn judge<T, E>(&self, result: Result<&T, &E>) -> (Outcome, Option<Pushback>)
    where
        C: Classify<T, E>,
    {
        let classify = match self {
            Self::Borrowed(classify) => *classify,
            #[cfg(feature = "tower")]
            Self::Shared(classify) => classify,
        };
        let outcome = classify.outcome(result);
        let failed = outcome == Outcome::Failure;
        (outcome, if failed { classify.pushback(result) } else { None })
    }
}

impl<F, C, O: Observer, K: Clock> fmt::Debug for Call<'_, F, C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.state {
            Stage::Idle(_) => "idle",
            Stage::Running(..) => "running",
            #[cfg(feature = "tower")]
            Stage::Refused(_) => "refused",
            Stage::Done => "done",
        };
        f.debug_struct("Call")
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}
