use super::admission::{Abandoned, Gate, Judge};
#[cfg(feature = "tower")]
use super::pending_vote::PendingVote;
#[cfg(feature = "tower")]
use super::permit::Permit;
use crate::error::Error;
#[cfg(feature = "tower")]
use crate::hold::VoteWhen;
use crate::link::Link;
#[cfg(feature = "tower")]
use crate::outcome::Outcome;
#[cfg(feature = "tower")]
use crate::rejected::Rejected;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// A future behind a gate.
    ///
    /// The gate is asked at the first poll.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner future, and then tells the gate that there is no result, as dropping a
    /// [`Permit`](super::Permit) does.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Call<'a, F, G: Gate> {
        #[pin]
        inner: F,
        // After the future: what it holds is free before the gate hears of its end.
        turn: Turn<'a, G>,
    }
}

/// A call's turn at a gate. It is changed in place: moving tickets about would cost as much as the gate.
struct Turn<'a, G: Gate> {
    gate: Link<'a, G>,
    stage: Stage<G::Ticket>,
}

impl<G: Gate> Drop for Turn<'_, G> {
    fn drop(&mut self) {
        match self.stage {
            // Only an inner poll that did not return leaves this. Whether the thread panics says nothing: another panic may be
            // what drops this.
            Stage::Polling(ticket) => self.gate.abandon(ticket, Abandoned::Panicked),
            Stage::Running(ticket) => self.gate.abandon(ticket, Abandoned::Dropped),
            _ => {}
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Stage<T> {
    Idle,
    Running(T),
    Polling(T),
    #[cfg(feature = "tower")]
    Refused(Option<Rejected>),
    Done,
}

impl<'a, F, G: Gate> Call<'a, F, G> {
    /// Puts a future behind a gate.
    ///
    /// # Errors
    ///
    /// The future's error, or [`Error::Rejected`]: then it was not polled.
    #[inline]
    pub const fn new(gate: &'a G, future: F) -> Self {
        Self::at(Link::Borrowed(gate), Stage::Idle, future)
    }

    /// Makes a call that was let through.
    #[cfg(feature = "tower")]
    pub(super) const fn admitted(gate: G, ticket: G::Ticket, inner: F) -> Self {
        Self::at(Link::Owned(gate), Stage::Running(ticket), inner)
    }

    /// Makes a call that was refused, or was not ready.
    #[cfg(feature = "tower")]
    pub(super) const fn refused(gate: G, why: Option<Rejected>, inner: F) -> Self {
        Self::at(Link::Owned(gate), Stage::Refused(why), inner)
    }

    #[inline]
    const fn at(gate: Link<'a, G>, stage: Stage<G::Ticket>, inner: F) -> Self {
        let turn = Turn { gate, stage };
        Self { inner, turn }
    }
}

impl<F, T, E, G> Future for Call<'_, F, G>
where
    F: Future<Output = Result<T, E>>,
    G: Judge<T, E>,
{
    type Output = Result<T, Error<E>>;

    /// # Panics
    ///
    /// It was ready before, or the inner future panics.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Turn { gate, stage } = this.turn;
        let ticket = match *stage {
            Stage::Running(ticket) => ticket,
            Stage::Idle => match gate.admit() {
                Ok(ticket) => ticket,
                Err(rejected) => {
                    *stage = Stage::Done;
                    return Poll::Ready(Err(Error::Rejected(rejected)));
                }
            },
            _ => panic!("a call was polled after it was ready, or had panicked"),
        };
        *stage = Stage::Polling(ticket);
        let poll = this.inner.poll(cx);
        *stage = Stage::Running(ticket); // also while the result is judged: if that panics, it says nothing
        // Looked at where it is: to move it first takes longer than all else here.
        let Poll::Ready(result) = &poll else {
            return Poll::Pending;
        };
        let outcome = gate.judge(result.as_ref());
        *stage = Stage::Done;
        gate.finish(ticket, outcome);
        poll.map_err(Error::Inner)
    }
}

#[cfg(feature = "tower")]
impl<F, G: Gate> Call<'static, F, G> {
    /// Polls a call of a service, which may wait with telling the gate until the answer has ended.
    #[inline]
    pub(super) fn poll_until<H, T, E>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<H::Answer, Error<E>>>
    where
        F: Future<Output = Result<T, E>>,
        G: Judge<T, E> + Clone,
        H: VoteWhen<T, PendingVote<G, T, E>>,
    {
        let this = self.project();
        let Turn { gate, stage } = this.turn;
        let ticket = match *stage {
            Stage::Running(ticket) => ticket,
            Stage::Refused(rejected) => {
                *stage = Stage::Done;
                return Poll::Ready(Err(rejected.map_or(Error::NotReady, Error::Rejected)));
            }
            _ => panic!("a call was polled after it was ready, or had panicked"),
        };
        *stage = Stage::Polling(ticket);
        let poll = this.inner.poll(cx);
        *stage = Stage::Running(ticket); // also while the result is judged: if that panics, it says nothing
        let Poll::Ready(result) = poll else {
            return Poll::Pending;
        };
        let outcome = gate.judge(result.as_ref());
        Poll::Ready(match result {
            Ok(answer) if H::WAITS && outcome == Outcome::Success => {
                let permit = Permit::of(G::clone(gate), ticket);
                *stage = Stage::Done;
                Ok(H::answer(answer, Some(PendingVote::new(permit))))
            }
            result => {
                *stage = Stage::Done;
                gate.finish(ticket, outcome);
                result.map(|answer| H::answer(answer, None)).map_err(Error::Inner)
            }
        })
    }
}

impl<F, G: Gate> fmt::Debug for Call<'_, F, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("stage", &self.turn.stage)
            .finish_non_exhaustive()
    }
}
