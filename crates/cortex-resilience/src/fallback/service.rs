use super::call::Call;
use super::handler::{Handler, Unset};
use super::policy::Fallback;
use crate::classify::{Classify, ErrIsFailure};
use crate::error::Error;
use crate::link::Link;
use crate::observer::Observer;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// A service with a fallback; made by [`FallbackLayer`](super::FallbackLayer).
///
/// That the inner service fails to become ready is passed on. A call without readiness is answered with [`Error::NotReady`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::fallback::{Fallback, FallbackLayer, FallbackService};
/// use tower::Layer;
///
/// let layer = FallbackLayer::new(Fallback::builder("search").build());
/// let service: FallbackService<&str> = layer.layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// ```
pub struct FallbackService<S, H = Unset, C = ErrIsFailure, O = ()> {
    inner: S,
    fallback: Fallback<H, C, O>,
    ready: bool,
}

impl<S, H, C, O> FallbackService<S, H, C, O> {
    pub(super) const fn new(inner: S, fallback: Fallback<H, C, O>) -> Self {
        Self {
            inner,
            fallback,
            ready: false,
        }
    }
}

impl<S, R, H, C, O> Service<R> for FallbackService<S, H, C, O>
where
    S: Service<R>,
    H: Handler<S::Response, S::Error> + 'static,
    C: Classify<S::Response, S::Error> + 'static,
    O: Observer + 'static,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future, H::Future, Fallback<H, C, O>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.ready = false;
        ready!(self.inner.poll_ready(cx)).map_err(Error::Inner)?;
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        if !std::mem::take(&mut self.ready) {
            return ResponseFuture { call: None };
        }
        let future = self.inner.call(request);
        let call = Call::new(Link::Owned(self.fallback.clone()), future);
        ResponseFuture { call: Some(call) }
    }
}

impl<S: Clone, H, C, O> Clone for FallbackService<S, H, C, O> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.fallback.clone())
    }
}

impl<S: fmt::Debug, H, C, O> fmt::Debug for FallbackService<S, H, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackService")
            .field("inner", &self.inner)
            .field("fallback", &self.fallback)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer of a [`FallbackService`].
    ///
    /// # Cancel safety
    ///
    /// As [`Call`].
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ResponseFuture<F, G, P>
    where
        P: 'static,
    {
        // None if the service was not ready.
        #[pin]
        call: Option<Call<'static, F, G, P>>,
    }
}

impl<F, T, E, H, C, O> Future for ResponseFuture<F, H::Future, Fallback<H, C, O>>
where
    F: Future<Output = Result<T, E>>,
    H: Handler<T, E> + 'static,
    C: Classify<T, E> + 'static,
    O: Observer + 'static,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().call.as_pin_mut() {
            Some(call) => call.poll(cx).map_err(Error::Inner),
            None => Poll::Ready(Err(Error::NotReady)),
        }
    }
}

impl<F, G, P> fmt::Debug for ResponseFuture<F, G, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("call", &self.call)
            .finish()
    }
}
