use super::admission::{Abandoned, Gate, Judge};
use crate::error::Error;
use crate::link::Link;
#[cfg(feature = "tower")]
use crate::rejected::Rejected;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

pin_project! {
    /// A future behind a gate.
    ///
    /// The gate is asked at the first poll.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner future and tells the gate that there is no result, as dropping a
    /// [`Permit`](super::Permit) does.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Call<'a, F, G: Gate> {
        gate: Link<'a, G>,
        // Changed in place: moving tickets about would cost as much as the gate.
        stage: Stage<G::Ticket>,
        #[pin]
        inner: F,
    }

    impl<F, G: Gate> PinnedDrop for Call<'_, F, G> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            match this.stage {
                // Only an inner poll that did not return leaves this. Whether the thread panics says nothing: another panic
                // may be what drops this.
                Stage::Polling(ticket) => this.gate.abandon(*ticket, Abandoned::Panicked),
                Stage::Running(ticket) => this.gate.abandon(*ticket, Abandoned::Dropped),
                _ => {}
            }
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
        Self {
            gate: Link::Borrowed(gate),
            stage: Stage::Idle,
            inner: future,
        }
    }

    /// Makes a call that was let through.
    #[cfg(feature = "tower")]
    pub(super) const fn admitted(gate: G, ticket: G::Ticket, inner: F) -> Self {
        Self {
            gate: Link::Owned(gate),
            stage: Stage::Running(ticket),
            inner,
        }
    }

    /// Makes a call that was refused, or was not ready.
    #[cfg(feature = "tower")]
    pub(super) const fn refused(gate: G, why: Option<Rejected>, inner: F) -> Self {
        Self {
            gate: Link::Owned(gate),
            stage: Stage::Refused(why),
            inner,
        }
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
        let ticket = match *this.stage {
            Stage::Running(ticket) => ticket,
            Stage::Idle => match this.gate.admit() {
                Ok(ticket) => ticket,
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
            Stage::Polling(_) | Stage::Done => {
                panic!("a call was polled after it was ready, or had panicked")
            }
        };
        *this.stage = Stage::Polling(ticket);
        let poll = this.inner.poll(cx);
        *this.stage = Stage::Running(ticket); // also while the result is judged: if that panics, it says nothing
        let result = ready!(poll);
        let outcome = this.gate.judge(result.as_ref());
        *this.stage = Stage::Done;
        this.gate.finish(ticket, outcome);
        Poll::Ready(result.map_err(Error::Inner))
    }
}

impl<F, G: Gate> fmt::Debug for Call<'_, F, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
