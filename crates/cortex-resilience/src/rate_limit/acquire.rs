use super::limiter::Inner;
use super::quota::Claim;
use crate::link::Link;
use crate::observer::Observer;
use crate::rejected::Rejected;
use crate::timer::Timer;
use cortex_core::Clock;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

pin_project! {
    /// Waits for tokens; made by [`RateLimiter::acquire`](super::RateLimiter::acquire).
    ///
    /// The first poll takes or reserves them; so callers are served in the order of their first polls. Who would have to wait
    /// longer than it may is refused at once.
    ///
    /// # Cancel safety
    ///
    /// Dropping it while it waits gives the tokens back, if nobody has reserved later ones.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Acquire<'a, O, K> {
        tokens: u32,
        stage: Stage,
        held: Held<'a, O, K>,
        #[pin]
        timer: Timer,
    }
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Idle,
    Waiting(Instant),
    Done,
}

/// Tokens that are given back unless they are used.
pub(super) struct Held<'a, O, K> {
    limiter: Link<'a, Arc<Inner<O, K>>>,
    claim: Option<Claim>,
}

impl<'a, O, K> Held<'a, O, K> {
    #[inline]
    pub(super) const fn new(limiter: Link<'a, Arc<Inner<O, K>>>) -> Self {
        Self { limiter, claim: None }
    }

    #[cfg(feature = "tower")]
    pub(super) const fn is_empty(&self) -> bool {
        self.claim.is_none()
    }

    /// Gives the tokens back, if nobody has reserved later ones.
    pub(super) fn give_back(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.limiter.give_back(claim);
        }
    }

    /// Uses the tokens up; nobody gets them back.
    pub(super) const fn spend(&mut self) {
        self.claim = None;
    }
}

impl<O: Observer, K: Clock> Held<'_, O, K> {
    /// Takes or reserves tokens; says when they are there, if that is not now.
    pub(super) fn reserve(&mut self, tokens: u32) -> Result<Option<Instant>, Rejected> {
        let (claim, there) = self.limiter.reserve(tokens)?;
        self.claim = Some(claim);
        if there.is_some() {
            self.limiter.queued();
        }
        Ok(there)
    }

    /// Takes one token that is there.
    #[cfg(feature = "tower")]
    pub(super) fn try_take(&mut self) -> Result<(), Rejected> {
        self.claim = Some(self.limiter.try_claim(1)?);
        Ok(())
    }

    /// Refuses a call whose deadline comes before its token, or with it.
    #[cfg(feature = "tower")]
    pub(super) fn too_late(&self, there: Instant) -> Rejected {
        self.limiter.too_late(there)
    }

    pub(super) fn refuse(&self, rejected: Rejected) -> Rejected {
        self.limiter.refuse(rejected)
    }
}

impl<O, K> Drop for Held<'_, O, K> {
    #[inline]
    fn drop(&mut self) {
        self.give_back();
    }
}

impl<'a, O, K> Acquire<'a, O, K> {
    #[inline]
    pub(super) const fn new(limiter: Link<'a, Arc<Inner<O, K>>>, tokens: u32) -> Self {
        Self {
            tokens,
            stage: Stage::Idle,
            held: Held::new(limiter),
            timer: Timer::new(),
        }
    }
}

impl<O: Observer, K: Clock> Future for Acquire<'_, O, K> {
    type Output = Result<(), Rejected>;

    /// # Panics
    ///
    /// It was ready before, or has to wait outside of a runtime of tokio with timers.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let there = match *this.stage {
            Stage::Idle => match this.held.reserve(*this.tokens) {
                Ok(there) => there,
                Err(rejected) => {
                    *this.stage = Stage::Done;
                    return Poll::Ready(Err(this.held.refuse(rejected)));
                }
            },
            Stage::Waiting(there) => Some(there),
            Stage::Done => panic!("a wait for tokens was polled after it was ready"),
        };
        if let Some(there) = there {
            *this.stage = Stage::Waiting(there);
            ready!(this.timer.poll(there, cx));
        }
        *this.stage = Stage::Done;
        this.held.spend();
        Poll::Ready(Ok(()))
    }
}

impl<O, K> fmt::Debug for Acquire<'_, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire")
            .field("limiter", &*self.held.limiter)
            .field("tokens", &self.tokens)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
