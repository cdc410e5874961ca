use super::inner::{Inner, Wait};
use super::permit::Permit;
use super::priority::Priority;
use super::queue::State;
use crate::link::Link;
use crate::observer::Observer;
use crate::rejected::{Reason, Rejected};
use crate::timer::Timer;
use cortex_core::Clock;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

pin_project! {
    /// Waits for a permit; made by [`Bulkhead::acquire`](super::Bulkhead::acquire).
    ///
    /// Its place in the queue is that of its first poll.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives up the place; a permit that was granted meanwhile is passed on.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Acquire<'a, O: Observer, K: Clock> {
        bulkhead: Link<'a, Arc<Inner<O, K>>>,
        priority: Priority,
        stage: Stage,
        #[pin]
        timer: Timer,
    }

    impl<O: Observer, K: Clock> PinnedDrop for Acquire<'_, O, K> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            match *this.stage {
                Stage::Held => this.bulkhead.give_back(),
                Stage::Waiting(wait) => leave(this.bulkhead, wait),
                Stage::Idle | Stage::Done => {}
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Idle,
    Waiting(Wait),
    /// The permit stays here.
    Held,
    Done,
}

/// Gives up a place, and passes on what was granted to it.
#[cold]
fn leave<O: Observer, K: Clock>(bulkhead: &Inner<O, K>, wait: Wait) {
    if bulkhead.leave(wait.slot) == State::Granted {
        bulkhead.give_back();
    }
}

impl<'a, O: Observer, K: Clock> Acquire<'a, O, K> {
    #[inline]
    pub(super) const fn new(bulkhead: Link<'a, Arc<Inner<O, K>>>) -> Self {
        Self {
            bulkhead,
            priority: Priority::Normal,
            stage: Stage::Idle,
            timer: Timer::new(),
        }
    }

    /// Sets who comes first, before the first poll; by default it is a normal call.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Says whether a permit is here.
    #[inline]
    pub(super) const fn is_holding(&self) -> bool {
        matches!(self.stage, Stage::Held)
    }

    /// Passes on the permit that is here.
    #[inline]
    pub(super) fn release(self: Pin<&mut Self>) {
        let this = self.project();
        *this.stage = Stage::Done;
        this.bulkhead.give_back();
    }

    /// Waits for a permit, which stays here.
    #[inline]
    pub(super) fn poll_hold(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Rejected>> {
        let this = self.project();
        if matches!(this.stage, Stage::Idle) && this.bulkhead.try_take() {
            *this.stage = Stage::Held;
            return Poll::Ready(Ok(()));
        }
        let result = ready!(wait(this.bulkhead, *this.priority, this.stage, this.timer, cx));
        Poll::Ready(match result {
            Ok(()) => {
                *this.stage = Stage::Held;
                Ok(())
            }
            Err(reason) => Err(this.bulkhead.refuse(reason)),
        })
    }
}

impl<'a, O: Observer, K: Clock> Future for Acquire<'a, O, K> {
    type Output = Result<Permit<'a, O, K>, Rejected>;

    /// # Panics
    ///
    /// It was ready before, or has to wait for a limited time outside of a runtime of tokio with timers.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(self.as_mut().poll_hold(cx))?;
        let this = self.project();
        *this.stage = Stage::Done;
        Poll::Ready(Ok(Permit::new(this.bulkhead.clone())))
    }
}

#[inline(never)]
fn wait<O: Observer, K: Clock>(
    bulkhead: &Inner<O, K>,
    priority: Priority,
    stage: &mut Stage,
    timer: Pin<&mut Timer>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Reason>> {
    let (wait, found) = match *stage {
        Stage::Idle => {
            *stage = Stage::Done;
            let Some(wait) = bulkhead.wait(priority, cx.waker())? else {
                return Poll::Ready(Ok(()));
            };
            *stage = Stage::Waiting(wait);
            bulkhead.queued();
            (wait, State::Waiting)
        }
        Stage::Waiting(wait) => {
            let found = bulkhead.look(wait.slot, cx.waker());
            if found != State::Waiting {
                *stage = Stage::Done;
            }
            (wait, found)
        }
        Stage::Held | Stage::Done => panic!("a wait for a permit was polled after it was ready"),
    };
    match (found, wait.due) {
        (State::Granted, _) => Poll::Ready(Ok(())),
        (State::Refused, _) => Poll::Ready(Err(Reason::Full)),
        (State::Waiting, Some((at, reason))) if timer.poll(at, cx).is_ready() => {
            *stage = Stage::Done;
            Poll::Ready(match bulkhead.leave(wait.slot) {
                State::Granted => Ok(()),
                State::Refused => Err(Reason::Full),
                State::Waiting => Err(reason),
            })
        }
        (State::Waiting, _) => Poll::Pending,
    }
}

impl<O: Observer, K: Clock> fmt::Debug for Acquire<'_, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("bulkhead", &*self.bulkhead)
            .field("priority", &self.priority)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
