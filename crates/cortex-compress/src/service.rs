use crate::body::CompressBody;
use crate::future::ResponseFuture;
use crate::rules::Plan;
use crate::shared::Shared;
use http::{Request, Response};
use http_body::Body;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

/// Compresses the responses of an inner service; made by [`CompressionLayer`](crate::CompressionLayer).
///
/// The body of the inner responses has to be [`Unpin`], as those of axum and of most others are: box it otherwise.
///
/// # Performance
///
/// A request without `Accept-Encoding` costs a few look-ups in the two headers, no allocation and no lock.
///
/// # Examples
///
/// ```
/// use cortex_compress::{Compress, CompressionLayer};
/// use tower::Layer;
///
/// let service: Compress<&str> = CompressionLayer::new().layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// ```
#[derive(Clone, Debug)]
pub struct Compress<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Compress<S> {
    pub(crate) const fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, R, B> Service<Request<R>> for Compress<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    B: Body + Unpin,
{
    type Response = Response<CompressBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let plan = Plan::new(&request, &self.shared);
        ResponseFuture::new(self.inner.call(request), plan, Arc::clone(&self.shared))
    }
}
