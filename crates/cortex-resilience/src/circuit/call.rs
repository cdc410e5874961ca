use super::admit::Ticket;
use super::breaker::Breaker;
use super::error::Error;
use crate::classify::{Classify, Pushback};
use crate::observer::Observer;
use crate::outcome::Outcome;
#[cfg(feature = "tower")]
use crate::rejected::Rejected;
use cortex_core::Clock;
use pin_project_lite::pin_project;
use std::fmt;
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

pin_project! {
    /// A future behind a breaker; made by [`Breaker::call`].
    ///
    /// The breaker is asked at the first poll. A panic of the future is a failure.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner future and gives the permit back, as dropping a [`Permit`](super::Permit) does.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Call<'a, F, C, O: Observer, K: Clock> {
        breaker: Link<'a, C, O, K>,
        // Both are changed in place: moving permits about would cost as much as the breaker.
        stage: Stage,
        ticket: Ticket,
        #[pin]
        inner: F,
    }

    impl<F, C, O: Observer, K: Clock> PinnedDrop for Call<'_, F, C, O, K> {
        #[inline]
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if matches!(this.stage, Stage::Polling | Stage::Running) {
                abandon(this.breaker, *this.stage, *this.ticket);
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Idle,
    Running,
    Polling,
    #[cfg(feature = "tower")]
    Refused(Option<Rejected>),
    Done,
}

/// A breaker that is borrowed, which is free, or shared.
pub(super) enum Link<'a, C, O, K> {
    Borrowed(&'a Breaker<C, O, K>),
    #[cfg(feature = "tower")]
    Shared(Breaker<C, O, K>),
}

impl<C, O, K> Deref for Link<'_, C, O, K> {
    type Target = Breaker<C, O, K>;

    #[inline]
    fn deref(&self) -> &Breaker<C, O, K> {
        match self {
            Self::Borrowed(breaker) => breaker,
            #[cfg(feature = "tower")]
            Self::Shared(breaker) => breaker,
        }
    }
}

/// Tells of a call that did not end.
#[cold]
fn abandon<C, O: Observer, K: Clock>(breaker: &Breaker<C, O, K>, stage: Stage, ticket: Ticket) {
    match stage {
        // Only an inner poll that did not return leaves this. Whether the thread panics says nothing: another panic may be what
        // drops this.
        Stage::Polling => breaker.inner.record(ticket, Outcome::Failure, None),
        _ => breaker.inner.dropped(ticket),
    }
}

impl<'a, F, C, O: Observer, K: Clock> Call<'a, F, C, O, K> {
    /// Makes a call that asks at its first poll.
    #[inline]
    pub(super) const fn new(breaker: Link<'a, C, O, K>, inner: F) -> Self {
        Self {
            breaker,
            stage: Stage::Idle,
            ticket: Ticket::NONE,
            inner,
        }
    }

    /// Makes a call that was let through.
    #[cfg(feature = "tower")]
    pub(super) const fn admitted(breaker: Link<'a, C, O, K>, ticket: Ticket, inner: F) -> Self {
        Self {
            breaker,
            stage: Stage::Running,
            ticket,
            inner,
        }
    }

    /// Makes a call that was refused, or was not ready.
    #[cfg(feature = "tower")]
    pub(super) const fn refused(breaker: Link<'a, C, O, K>, why: Option<Rejected>, inner: F) -> Self {
        Self {
            breaker,
            stage: Stage::Refused(why),
            ticket: Ticket::NONE,
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
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match *this.stage {
            Stage::Running => {}
            Stage::Idle => match this.breaker.inner.admit() {
                Ok(ticket) => *this.ticket = ticket,
                Err(rejected) => {
                    *this.stage = Stage::Done;
                    return Poll::Ready(Err(Error::Rejected(rejected)));
                }
            },
            #[cfg(feature = "tower")]
            Stage::Refused(rejected) => {
                *this.stage = Stage::Done;
                return Poll::Ready(Err(rejected.map_or(Error::NotReady, Error::Rejected)));
            }
            Stage::Polling | Stage::Done => panic!("a call was polled after it was ready, or had panicked"),
        }
        *this.stage = Stage::Polling;
        let poll = this.inner.poll(cx);
        *this.stage = Stage::Running; // also while the result is judged: if that panics, it says nothing
        let result = ready!(poll);
        let (outcome, retry_after) = judge(&this.breaker.classify, result.as_ref());
        *this.stage = Stage::Done;
        this.breaker.inner.record(*this.ticket, outcome, retry_after);
        Poll::Ready(result.map_err(Error::Inner))
    }
}

#[inline]
fn judge<T, E>(classify: &impl Classify<T, E>, result: Result<&T, &E>) -> (Outcome, Option<Duration>) {
    let outcome = classify.outcome(result);
    if outcome != Outcome::Failure {
        return (outcome, None);
    }
    match classify.pushback(result) {
        Some(Pushback::After(wait)) => (outcome, Some(wait)),
        Some(Pushback::Stop) | None => (outcome, None),
    }
}

impl<F, C, O: Observer, K: Clock> fmt::Debug for Call<'_, F, C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("breaker", &*self.breaker)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
