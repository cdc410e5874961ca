use super::admit::Ticket;
use super::breaker::Breaker;
#[cfg(feature = "tower")]
use super::pending_vote::PendingVote;
use crate::classify::{Classify, Pushback};
use crate::error::Error;
#[cfg(feature = "tower")]
use crate::hold::VoteWhen;
use crate::observer::Observer;
use crate::outcome::Outcome;
use cortex_core::Clock;
use pin_project_lite::pin_project;
use std::pin::Pin;
use std::task::{Context, Poll};
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
        #[pin]
        inner: F,
        // After the future: what it holds is free before its permit is.
        turn: Turn<B>,
    }
}

/// A call's turn at a breaker. It is changed in place: moving permits about would cost as much as the breaker.
struct Turn<B: Hold> {
    breaker: B,
    stage: Stage,
    ticket: Ticket,
}

impl<B: Hold> Drop for Turn<B> {
    #[inline]
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Polling | Stage::Running) {
            abandon(self.breaker.breaker(), self.stage, self.ticket);
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
        Self::at(Stage::Idle, breaker, Ticket::NONE, inner)
    }

    /// Makes a call that was let through.
    #[cfg(feature = "tower")]
    pub(super) const fn admitted(breaker: B, ticket: Ticket, inner: F) -> Self {
        Self::at(Stage::Running, breaker, ticket, inner)
    }

    #[inline]
    const fn at(stage: Stage, breaker: B, ticket: Ticket, inner: F) -> Self {
        let turn = Turn {
            breaker,
            stage,
            ticket,
        };
        Self { inner, turn }
    }

    pub(super) fn breaker(&self) -> &Breaker<B::Classify, B::Observer, B::Clock> {
        self.turn.breaker.breaker()
    }

    pub(super) const fn stage(&self) -> Stage {
        self.turn.stage
    }

    #[inline]
    pub(super) fn poll<T, E>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Error<E>>>
    where
        F: Future<Output = Result<T, E>>,
        B::Classify: Classify<T, E>,
    {
        let this = self.project();
        let Turn {
            breaker,
            stage,
            ticket,
        } = this.turn;
        let breaker = breaker.breaker();
        match *stage {
            Stage::Running => {}
            Stage::Idle => match breaker.inner.admit() {
                Ok(admitted) => *ticket = admitted,
                Err(rejected) => {
                    *stage = Stage::Done;
                    return Poll::Ready(Err(Error::Rejected(rejected)));
                }
            },
            Stage::Polling | Stage::Done => panic!("a call was polled after it was ready, or had panicked"),
        }
        *stage = Stage::Polling;
        let poll = this.inner.poll(cx);
        *stage = Stage::Running; // also while the result is judged: if that panics, it says nothing
        // Looked at where it is: to move it first takes longer than all else here.
        let Poll::Ready(result) = &poll else {
            return Poll::Pending;
        };
        let (outcome, retry_after) = judge(&breaker.classify, result.as_ref());
        *stage = Stage::Done;
        breaker.inner.record(*ticket, outcome, retry_after);
        poll.map_err(Error::Inner)
    }
}

#[cfg(feature = "tower")]
impl<C, O: Observer, K: Clock, F> Guarded<Breaker<C, O, K>, F> {
    /// Polls a call that was let through, of a service that may wait with the vote until the answer has ended.
    #[inline]
    pub(super) fn poll_until<H, T, E>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<H::Answer, Error<E>>>
    where
        F: Future<Output = Result<T, E>>,
        C: Classify<T, E> + Clone,
        H: VoteWhen<T, PendingVote<C, O, K, T, E>>,
    {
        let this = self.project();
        let Turn {
            breaker,
            stage,
            ticket,
        } = this.turn;
        let is_running = matches!(stage, Stage::Running);
        assert!(
            is_running,
            "a call was polled after it was ready, or had panicked"
        );
        *stage = Stage::Polling;
        let poll = this.inner.poll(cx);
        *stage = Stage::Running; // also while the result is judged: if that panics, it says nothing
        let Poll::Ready(result) = poll else {
            return Poll::Pending;
        };
        let (outcome, retry_after) = judge(&breaker.classify, result.as_ref());
        Poll::Ready(match result {
            Ok(answer) if H::WAITS && outcome == Outcome::Success => {
                let breaker = breaker.clone();
                *stage = Stage::Done; // the vote has the ticket now
                let vote = PendingVote::new(breaker, *ticket, H::TIMED);
                Ok(H::answer(answer, Some(vote)))
            }
            result => {
                *stage = Stage::Done;
                breaker.inner.record(*ticket, outcome, retry_after);
                result.map(|answer| H::answer(answer, None)).map_err(Error::Inner)
            }
        })
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
