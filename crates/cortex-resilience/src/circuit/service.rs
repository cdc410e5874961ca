use super::breaker::Breaker;
use super::guarded::Guarded;
use super::pending_vote::PendingVote;
use super::running::Running;
use crate::classify::{Classify, ErrIsFailure};
use crate::error::Error;
use crate::hold::{UntilAnswer, VoteWhen};
use crate::observer::Observer;
use crate::rejected::Rejected;
use cortex_core::{Clock, TscClock};
use pin_project_lite::pin_project;
use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use tower_service::Service;

/// A service behind a breaker; made by [`BreakerLayer`](super::BreakerLayer).
///
/// While the breaker rejects, it is ready at once and does not ask the inner service, so that it holds none of its permits; the
/// call is answered with the refusal. That the inner service is not ready, or fails to become so, is no vote. A call without
/// readiness is answered with [`Error::NotReady`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{Breaker, BreakerLayer, BreakerService};
/// use tower::Layer;
///
/// let layer = BreakerLayer::new(Breaker::builder("payments").build()?);
/// let service: BreakerService<&str> = layer.layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub struct BreakerService<S, C = ErrIsFailure, O = (), K = TscClock, H = UntilAnswer> {
    inner: S,
    breaker: Breaker<C, O, K>,
    ready: Readiness,
    when: PhantomData<fn() -> H>,
}

/// What the last look at readiness found; a clone has not looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Unknown,
    /// The inner service waits for a call.
    Inner,
    /// The breaker rejects, and the inner service was not asked.
    Rejects,
}

impl<S, C, O, K, H> BreakerService<S, C, O, K, H> {
    pub(super) const fn new(inner: S, breaker: Breaker<C, O, K>) -> Self {
        Self {
            inner,
            breaker,
            ready: Readiness::Unknown,
            when: PhantomData,
        }
    }
}

impl<S, R, C, O, K, H> Service<R> for BreakerService<S, C, O, K, H>
where
    S: Service<R>,
    C: Classify<S::Response, S::Error> + Clone,
    O: Observer,
    K: Clock,
    H: VoteWhen<S::Response, PendingVote<C, O, K, S::Response, S::Error>>,
{
    type Response = H::Answer;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future, C, O, K, H>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if self.breaker.inner.turns_away() {
            if self.ready != Readiness::Inner {
                self.ready = Readiness::Rejects;
            }
            return Poll::Ready(Ok(()));
        }
        let before = std::mem::replace(&mut self.ready, Readiness::Unknown);
        self.ready = match self.inner.poll_ready(cx) {
            Poll::Ready(Ok(())) => Readiness::Inner,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(Error::Inner(error))),
            // It said that it is ready, if only for a refusal, and stays so.
            Poll::Pending if before == Readiness::Rejects => Readiness::Rejects,
            Poll::Pending => return Poll::Pending,
        };
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        match self.ready {
            Readiness::Inner => match self.breaker.inner.admit() {
                Ok(ticket) => {
                    self.ready = Readiness::Unknown;
                    let running = Running::new(&self.breaker.inner, ticket);
                    let future = self.inner.call(request);
                    running.returned(); // the future has the ticket now
                    ResponseFuture {
                        refusal: None,
                        call: Some(Guarded::admitted(self.breaker.clone(), ticket, future)),
                        when: PhantomData,
                    }
                }
                // The inner service stays ready: the next call takes that up.
                Err(rejected) => ResponseFuture::refused(Some(rejected)),
            },
            Readiness::Rejects => {
                self.ready = Readiness::Unknown;
                ResponseFuture::refused(Some(self.breaker.inner.refuse()))
            }
            Readiness::Unknown => ResponseFuture::refused(None),
        }
    }
}

impl<S: Clone, C: Clone, O, K, H> Clone for BreakerService<S, C, O, K, H> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.breaker.clone())
    }
}

impl<S: fmt::Debug, C, O, K, H> fmt::Debug for BreakerService<S, C, O, K, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerService")
            .field("inner", &self.inner)
            .field("breaker", &self.breaker)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer of a [`BreakerService`].
    ///
    /// # Cancel safety
    ///
    /// As [`Call`](super::Call).
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ResponseFuture<F, C, O: Observer, K: Clock, H = UntilAnswer> {
        // Why there is no call: it was refused, or not ready. Taken by the answer.
        refusal: Option<Option<Rejected>>,
        #[pin]
        call: Option<Guarded<Breaker<C, O, K>, F>>,
        when: PhantomData<fn() -> H>,
    }
}

impl<F, C, O: Observer, K: Clock, H> ResponseFuture<F, C, O, K, H> {
    const fn refused(why: Option<Rejected>) -> Self {
        Self {
            refusal: Some(why),
            call: None,
            when: PhantomData,
        }
    }
}

impl<F, T, E, C, O, K, H> Future for ResponseFuture<F, C, O, K, H>
where
    F: Future<Output = Result<T, E>>,
    C: Classify<T, E> + Clone,
    O: Observer,
    K: Clock,
    H: VoteWhen<T, PendingVote<C, O, K, T, E>>,
{
    type Output = Result<H::Answer, Error<E>>;

    /// # Panics
    ///
    /// It was ready before, or the inner future panics.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match (this.call.as_pin_mut(), this.refusal.take()) {
            (Some(call), _) => call.poll_until::<H, T, E>(cx),
            (None, Some(why)) => Poll::Ready(Err(why.map_or(Error::NotReady, Error::Rejected))),
            (None, None) => panic!("a call was polled after it was ready"),
        }
    }
}

impl<F, C, O: Observer, K: Clock, H> fmt::Debug for ResponseFuture<F, C, O, K, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("refusal", &self.refusal)
            .field("stage", &self.call.as_ref().map(Guarded::stage))
            .finish_non_exhaustive()
    }
}
