use super::future::ResponseDecompressionFuture;
use crate::decode::body::DecompressBody;
use crate::decode::shared::Shared;
use http::header::{ACCEPT_ENCODING, RANGE};
use http::{HeaderValue, Method, Request, Response};
use http_body::Body;
use std::sync::Arc;
use std::task::{Context, Poll};
use tower_service::Service;

/// Decodes the responses of an inner service, a client; made by [`ResponseDecompressionLayer`].
///
/// The body of the inner responses has to be [`Unpin`], as that of hyper and most others are: box it otherwise.
///
/// [`ResponseDecompressionLayer`]: crate::ResponseDecompressionLayer
///
/// # Examples
///
/// ```
/// use cortex_compress::{ResponseDecompression, ResponseDecompressionLayer};
/// use tower::Layer;
///
/// let service: ResponseDecompression<&str> = ResponseDecompressionLayer::new().layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// ```
#[derive(Clone, Debug)]
pub struct ResponseDecompression<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> ResponseDecompression<S> {
    pub(super) const fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }
}

impl<S, B, R> Service<Request<B>> for ResponseDecompression<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Body + Unpin,
{
    type Response = Response<DecompressBody<R>>;
    type Error = S::Error;
    type Future = ResponseDecompressionFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let has_body = !matches!(*request.method(), Method::HEAD | Method::CONNECT);
        let is_tunnel = request.method() == Method::CONNECT;
        let headers = request.headers_mut();
        // A part of what is encoded cannot be decoded, nor what a proxy answers that is asked for a tunnel. Nothing said would
        // allow every coding (RFC 9110, section 12.5.3).
        let accepted = if is_tunnel || headers.contains_key(RANGE) {
            HeaderValue::from_static("identity")
        } else {
            self.shared.accept_encoding().clone()
        };
        headers.entry(ACCEPT_ENCODING).or_insert(accepted);
        ResponseDecompressionFuture::new(self.inner.call(request), Arc::clone(&self.shared), has_body)
    }
}
