use super::acquire::Held;
use super::limiter::RateLimiter;
use crate::error::Error;
use crate::link::Link;
use crate::observer::Observer;
use crate::rejected::Rejected;
use crate::timer::Timer;
use cortex_core::{Clock, TscClock};
use pin_project_lite::pin_project;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tower_service::Service;

/// A service behind a rate limiter; made by [`RateLimitLayer`](super::RateLimitLayer).
///
/// It waits for a token before it asks the inner service, so that it holds none of its permits meanwhile. It holds one token at
/// most, however often it is asked, and gives it back as [`Acquire`](super::Acquire) does when it is dropped: one that is ready
/// and never called costs others one token, once. When it is refused it is ready at once, and answers the call with the
/// refusal. A call without readiness is answered with [`Error::NotReady`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::rate_limit::{RateLimitLayer, RateLimitService, RateLimiter};
/// use std::time::Duration;
/// use tower::Layer;
///
/// let layer = RateLimitLayer::new(RateLimiter::builder("mail").limit(1, Duration::from_secs(1)).build()?);
/// let service: RateLimitService<&str> = layer.layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub struct RateLimitService<S, O: 'static = (), K: 'static = TscClock> {
    inner: S,
    limiter: RateLimiter<O, K>,
    held: Held<'static, O, K>,
    ready: Readiness,
}

/// What the last look at readiness found; a clone has not looked.
#[derive(Debug)]
enum Readiness {
    Unknown,
    /// The token is there then.
    Waiting(Instant, Pin<Box<Timer>>),
    /// The token is there, the inner service is not ready.
    Token,
    /// The inner service waits for a call.
    Inner,
    Rejects(Rejected),
}

impl<S, O: 'static, K: 'static> RateLimitService<S, O, K> {
    pub(super) fn new(inner: S, limiter: RateLimiter<O, K>) -> Self {
        let held = Held::new(Link::Owned(Arc::clone(&limiter.inner)));
        Self {
            inner,
            limiter,
            held,
            ready: Readiness::Unknown,
        }
    }
}

impl<S, O: Observer + 'static, K: Clock + 'static> RateLimitService<S, O, K> {
    /// Looks whether a service that would answer with a refusal could do more by now. It said that it is ready, and stays so.
    fn look_again<R>(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error<S::Error>>>
    where
        S: Service<R>,
    {
        match self.held.try_take() {
            Err(rejected) => self.ready = Readiness::Rejects(rejected),
            Ok(()) => match self.inner.poll_ready(cx) {
                Poll::Ready(Ok(())) => self.ready = Readiness::Inner,
                Poll::Ready(Err(error)) => {
                    self.held.give_back();
                    return Poll::Ready(Err(Error::Inner(error)));
                }
                Poll::Pending => self.held.give_back(),
            },
        }
        Poll::Ready(Ok(()))
    }
}

/// Says whether the deadline of whoever waits now comes before the token, which another may have reserved.
fn is_too_late(there: Instant) -> bool {
    let deadline = cortex_core::Context::current().deadline();
    deadline.is_some_and(|deadline| deadline.instant() <= there)
}

impl<S, R, O, K> Service<R> for RateLimitService<S, O, K>
where
    S: Service<R>,
    O: Observer + 'static,
    K: Clock + 'static,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if matches!(self.ready, Readiness::Rejects(_)) {
            return self.look_again::<R>(cx);
        }
        if self.held.is_empty() {
            self.ready = match self.held.reserve(1) {
                Ok(None) => Readiness::Token,
                Ok(Some(there)) => Readiness::Waiting(there, Box::pin(Timer::new())),
                Err(rejected) => Readiness::Rejects(rejected),
            };
        }
        match &mut self.ready {
            Readiness::Rejects(_) => return Poll::Ready(Ok(())),
            Readiness::Waiting(there, _) if is_too_late(*there) => {
                let rejected = self.held.too_late(*there);
                self.held.give_back();
                self.ready = Readiness::Rejects(rejected);
                return Poll::Ready(Ok(()));
            }
            Readiness::Waiting(there, timer) => {
                ready!(timer.as_mut().poll(*there, cx));
            }
            Readiness::Unknown | Readiness::Token | Readiness::Inner => {}
        }
        self.ready = Readiness::Token; // an inner service that fails now is not called, whatever it said before
        ready!(self.inner.poll_ready(cx)).map_err(Error::Inner)?;
        self.ready = Readiness::Inner;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let result = match mem::replace(&mut self.ready, Readiness::Unknown) {
            Readiness::Inner => {
                self.held.spend();
                return ResponseFuture {
                    refused: None,
                    inner: Some(self.inner.call(request)),
                };
            }
            Readiness::Rejects(rejected) => Some(self.held.refuse(rejected)),
            other => {
                self.ready = other;
                None
            }
        };
        ResponseFuture {
            refused: result,
            inner: None,
        }
    }
}

impl<S: Clone, O: 'static, K: 'static> Clone for RateLimitService<S, O, K> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.limiter.clone())
    }
}

impl<S: fmt::Debug, O: 'static, K: 'static> fmt::Debug for RateLimitService<S, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitService")
            .field("inner", &self.inner)
            .field("limiter", &self.limiter)
            .field("ready", &self.ready)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer of a [`RateLimitService`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner future.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ResponseFuture<F> {
        refused: Option<Rejected>,
        #[pin]
        inner: Option<F>,
    }
}

impl<F, T, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll(cx).map_err(Error::Inner),
            None => Poll::Ready(Err(this.refused.map_or(Error::NotReady, Error::Rejected))),
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}
