use super::call::Call;
use super::error::Error;
use super::nested::Nested;
use std::fmt;
use std::marker::PhantomData;
use std::task::{Context, Poll};
use tower_service::Service;

/// A service behind the policies of a pipeline; made by [`PipelineLayer`](super::PipelineLayer).
///
/// It is ready when they all are, and its clones are as theirs: without readiness, and without what a policy has given for it.
pub struct PipelineService<I, S> {
    inner: I,
    stages: PhantomData<fn() -> S>,
}

impl<I, S> PipelineService<I, S> {
    pub(super) const fn new(inner: I) -> Self {
        Self {
            inner,
            stages: PhantomData,
        }
    }
}

impl<I, S, R, X> Service<R> for PipelineService<I, S>
where
    I: Service<R, Error = X>,
    X: Nested<S>,
{
    type Response = I::Response;
    type Error = Error<X::Own>;
    type Future = ResponseFuture<I::Future, S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(X::flatten)
    }

    fn call(&mut self, request: R) -> Self::Future {
        Call::new(self.inner.call(request))
    }
}

/// The answer of a [`PipelineService`].
pub type ResponseFuture<F, S> = Call<F, S>;

impl<I: Clone, S> Clone for PipelineService<I, S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone())
    }
}

impl<I: fmt::Debug, S> fmt::Debug for PipelineService<I, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PipelineService")
            .field("inner", &self.inner)
            .finish()
    }
}
