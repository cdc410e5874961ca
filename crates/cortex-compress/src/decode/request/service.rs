use super::body::RequestBody;
use super::future::RequestDecompressionFuture;
use super::refusal::{self, RefusalBody};
use crate::decode::body::DecompressBody;
use crate::decode::codings::Codings;
use crate::decode::headers::{OriginalHeaders, announced};
use crate::decode::shared::Shared;
use crate::observer::Event;
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{Request, Response};
use http_body::Body;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use tower_service::Service;

/// Decodes the requests to an inner service; made by [`RequestDecompressionLayer`].
///
/// The body of the requests has to be [`Unpin`], as those of axum and hyper are: box it otherwise.
///
/// # Performance
///
/// A request without `Content-Encoding` costs one look-up in its header, no allocation and no lock.
///
/// [`RequestDecompressionLayer`]: crate::RequestDecompressionLayer
///
/// # Examples
///
/// ```
/// use cortex_compress::{RequestDecompression, RequestDecompressionLayer};
/// use tower::Layer;
///
/// let service: RequestDecompression<&str> = RequestDecompressionLayer::new().layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// ```
#[derive(Clone, Debug)]
pub struct RequestDecompression<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> RequestDecompression<S> {
    pub(super) const fn new(inner: S, shared: Arc<Shared>) -> Self {
        Self { inner, shared }
    }

    /// Decides before anything of the body is read, so that `Expect: 100-continue` is of use (section 10.1.1).
    fn admit<B>(
        &self,
        request: Request<B>,
        starved: &mut Option<Arc<AtomicBool>>,
    ) -> Result<Request<RequestBody<B>>, Box<Response<Bytes>>>
    where
        B: Body + Unpin,
    {
        let identity =
            |request: Request<B>| request.map(|body| RequestBody::identity(DecompressBody::identity(body)));
        if !request.headers().contains_key(CONTENT_ENCODING) || request.body().is_end_stream() {
            return Ok(identity(request));
        }
        let limits = &self.shared.limits;
        match Codings::of(request.headers(), self.shared.codings(), limits.codings) {
            Codings::Unknown => Err(refusal::unsupported(&self.shared)),
            Codings::TooMany => Err(refusal::too_many(&self.shared)),
            Codings::None => {
                let mut request = request;
                request.headers_mut().remove(CONTENT_ENCODING);
                Ok(identity(request))
            }
            Codings::Known(codings) => {
                let length = announced(request.headers(), request.body());
                if length > limits.encoded {
                    return Err(refusal::too_long(&self.shared));
                }
                let (mut head, body) = request.into_parts();
                let original = OriginalHeaders::take_from(&mut head.headers);
                head.extensions.insert(original);
                let body = DecompressBody::decode(body, &self.shared, &codings, length);
                let starved = Arc::clone(starved.insert(Arc::default()));
                Ok(Request::from_parts(head, RequestBody::decoded(body, starved)))
            }
        }
    }
}

impl<S, B, R> Service<Request<B>> for RequestDecompression<S>
where
    S: Service<Request<RequestBody<B>>, Response = Response<R>>,
    B: Body + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    R: Body,
{
    type Response = Response<RefusalBody<R>>;
    type Error = S::Error;
    type Future = RequestDecompressionFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut starved = None;
        match self.admit(request, &mut starved) {
            Ok(request) => RequestDecompressionFuture::inner(self.inner.call(request), starved),
            Err(refusal) => {
                let status = refusal.status();
                self.shared.tell(|| Event::Refused { status });
                RequestDecompressionFuture::refusal(refusal)
            }
        }
    }
}
