use crate::body::CompressBody;
use crate::compressor::Compressor;
use crate::future::ResponseFuture;
use http::{Request, Response};
use http_body::Body;
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
    compressor: Compressor,
}

impl<S> Compress<S> {
    pub(crate) const fn new(inner: S, compressor: Compressor) -> Self {
        Self { inner, compressor }
    }
}

impl<S, R, B> Service<Request<R>> for Compress<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    B: Body + Unpin,
{
    type Response = Response<CompressBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<R>) -> Self::Future {
        let method = request.method().clone();
        let mut plan = self.compressor.plan(&method, request.headers_mut());
        self.compressor
            .identify(&mut plan, request.uri(), request.headers());
        match self.compressor.refusal(&plan) {
            None => ResponseFuture::new(self.inner.call(request), plan, self.compressor.clone()),
            Some(refusal) => ResponseFuture::refused(refusal, plan, self.compressor.clone()),
        }
    }
}
