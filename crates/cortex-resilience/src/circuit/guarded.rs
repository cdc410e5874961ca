use super::admit::Ticket;
use super::breaker::Breaker;
use crate::classify::{Classify, Pushback};
use crate::error::Error;
use crate::observer::Observer;
use crate::outcome::Outcome;
use cortex_core::Clock;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

/// A breaker that is borrowed, which is free, or held.
pub(super) trait Hold {
    type Classify;
    type Observer: Observer;
    type Clock: Clock;

    fn breaker(&self) -> &Breaker<Self::Classify, Self::Observer, Self::Clock>;
}

impl<C, O: Observer, K: Clock> Hold for &Breaker<C, O, K> {
    type Classify = C;
    type Observer = O;
    type Clock = K;

    #[inline]
    fn breaker(&self) -> &Breaker<C, O, K> {
        self
    }
}

#[cfg(feature = "tower")]
impl<C, O: Observer, K: Clock> Hold for Breaker<C, O, K> {
    type Classify = C;
    type Observer = O;
    type Clock = K;

    #[inline]
    fn breaker(&self) -> &Self {
        self
    }
}

pin_project! {
    /// A future behind a breaker, whoever holds that.
    pub(super) struct Guarded<B: Hold, F> {
        breaker: B,
        // Both are changed in place: moving permits about would cost as much as the breaker.
        stage: Stage,
        ticket: Ticket,
        #[pin]
        inner: F,
    }

    impl<B: Hold, F> PinnedDrop for Guarded<B, F> {
        #[inline]
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            if matches!(this.stage, Stage::Polling | Stage::Running) {
                abandon(this.breaker.breaker(), *this.stage, *this.ticket);
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    Idle,
    Running,
    Polling,
    Done,
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

impl<B: Hold, F> Guarded<B, F> {
    /// Makes a call that asks at its first poll.
    #[inline]
    pub(super) const fn new(breaker: B, inner: F) -> Self {
        Self {
            breaker,
            stage: Stage::Idle,
            ticket: Ticket::NONE,
            inner,
        }
    }

    /// Makes a call that was let through.
    #[cfg(feature = "tower")]
    pub(super) const fn admitted(breaker: B, ticket: Ticket, inner: F) -> Self {
        Self {
            breaker,
            stage: Stage::Running,
            ticket,
            inner,
        }
    }

    pub(super) fn breaker(&self) -> &Breaker<B::Classify, B::Observer, B::Clock> {
        self.breaker.breaker()
    }

    pub(super) const fn stage(&self) -> Stage {
        self.stage
    }

    #[inline]
    pub(super) fn poll<T, E>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Error<E>>>
    where
        F: Future<Output = Result<T, E>>,
        B::Classify: Classify<T, E>,
    {
        let this = self.project();
        let breaker = this.breaker.breaker();
        match *this.stage {
            Stage::Running => {}
            Stage::Idle => match breaker.inner.admit() {
                Ok(ticket) => *this.ticket = ticket,
                Err(rejected) => {
                    *this.stage = Stage::Done;
                    return Poll::Ready(Err(Error::Rejected(rejected)));
                }
            },
            Stage::Polling | Stage::Done => panic!("a call was polled after it was ready, or had panicked"),
        }
        *this.stage = Stage::Polling;
        let poll = this.inner.poll(cx);
        *this.stage = Stage::Running; // also while the result is judged: if that panics, it says nothing
        let result = ready!(poll);
        let (outcome, retry_after) = judge(&breaker.classify, result.as_ref());
        *this.stage = Stage::Done;
        breaker.inner.record(*this.ticket, outcome, retry_after);
        Poll::Ready(result.map_err(Error::Inner))
    }
}

/// Says what a result is, and what the dependency said of further attempts.
#[inline]
pub(super) fn judge<T, E>(
    classify: &impl Classify<T, E>,
    result: Result<&T, &E>,
) -> (Outcome, Option<Duration>) {
    let outcome = classify.outcome(result);
    if outcome != Outcome::Failure {
        return (outcome, None);
    }
    match classify.pushback(result) {
        Some(Pushback::After(wait)) => (outcome, Some(wait)),
        Some(Pushback::Stop) | None => (outcome, None),
    }
}
