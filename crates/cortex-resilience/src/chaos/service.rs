use super::call::Call;
use super::fault::Fault;
use super::policy::Chaos;
use super::source::{Source, Target, Unset};
use crate::error::Error;
use crate::link::Link;
use crate::maybe::Maybe;
use crate::observer::Observer;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tower_service::Service;

/// A service that is exposed to faults; made by [`ChaosLayer`](super::ChaosLayer).
///
/// It is ready when the inner service is. A call without readiness is answered with [`Error::NotReady`].
///
/// For a call that is late, the inner service is called at once and its future is polled late. For one that hangs, fails or is
/// answered otherwise it is not called, and stays ready.
///
/// # Examples
///
/// ```
/// use cortex_resilience::chaos::{Chaos, ChaosLayer, ChaosService};
/// use tower::Layer;
///
/// let layer = ChaosLayer::new(Chaos::builder("search").build()?);
/// let service: ChaosService<&str> = layer.layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub struct ChaosService<S, E = Unset, A = Unset, W = Unset, O = ()> {
    inner: S,
    chaos: Chaos<E, A, W, O>,
    ready: bool,
}

impl<S, E, A, W, O> ChaosService<S, E, A, W, O> {
    pub(super) const fn new(inner: S, chaos: Chaos<E, A, W, O>) -> Self {
        Self {
            inner,
            chaos,
            ready: false,
        }
    }
}

impl<S, R, E, A, W, O> Service<R> for ChaosService<S, E, A, W, O>
where
    S: Service<R>,
    E: Source<S::Response, S::Error> + 'static,
    A: Source<S::Response, S::Error> + 'static,
    W: Target<R> + 'static,
    O: Observer + 'static,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future, Chaos<E, A, W, O>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.ready = false;
        ready!(self.inner.poll_ready(cx)).map_err(Error::Inner)?;
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        if !self.ready {
            return ResponseFuture { call: None };
        }
        let plan = self.chaos.plan(&request);
        let is_called = matches!(plan.then, None | Some(Fault::Loss));
        // What is not called stays ready for the next.
        self.ready = !is_called;
        let future = is_called.then(|| self.inner.call(request));
        let call = Call::new(Link::Owned(self.chaos.clone()), plan, Maybe { future });
        ResponseFuture { call: Some(call) }
    }
}

impl<S: Clone, E, A, W, O> Clone for ChaosService<S, E, A, W, O> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.chaos.clone())
    }
}

impl<S: fmt::Debug, E, A, W, O> fmt::Debug for ChaosService<S, E, A, W, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosService")
            .field("inner", &self.inner)
            .field("chaos", &self.chaos)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer of a [`ChaosService`].
    ///
    /// # Cancel safety
    ///
    /// As [`Call`].
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ResponseFuture<F, P>
    where
        P: 'static,
    {
        // None if the service was not ready.
        #[pin]
        call: Option<Call<'static, Maybe<F>, P>>,
    }
}

impl<F, T, E, Er, A, W, O> Future for ResponseFuture<F, Chaos<Er, A, W, O>>
where
    F: Future<Output = Result<T, E>>,
    Er: Source<T, E> + 'static,
    A: Source<T, E> + 'static,
    W: 'static,
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

impl<F, P> fmt::Debug for ResponseFuture<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("call", &self.call)
            .finish()
    }
}
