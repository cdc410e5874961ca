use crate::decode::body::DecompressBody;
use crate::decode::codings::Codings;
use crate::decode::headers::{OriginalHeaders, announced};
use crate::decode::shared::Shared;
use http::header::{CONTENT_ENCODING, CONTENT_RANGE};
use http::{Response, StatusCode};
use http_body::Body;
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

pin_project! {
    /// The response of [`ResponseDecompression`](crate::ResponseDecompression), on its way.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the future of the inner service, and nothing else.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_compress::{ResponseDecompressionFuture, ResponseDecompressionLayer};
    /// use http::{Request, Response};
    /// use http_body_util::Empty;
    /// use std::convert::Infallible;
    /// use std::future::Ready;
    /// use tower::{Layer, Service, service_fn};
    ///
    /// type Answer = Result<Response<Empty<&'static [u8]>>, Infallible>;
    ///
    /// let mut service = ResponseDecompressionLayer::new()
    ///     .layer(service_fn(|_: Request<()>| std::future::ready::<Answer>(Ok(Response::default()))));
    /// let future: ResponseDecompressionFuture<Ready<Answer>> = service.call(Request::new(()));
    /// # let response = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
    /// # assert!(response.unwrap().status().is_success());
    /// ```
    pub struct ResponseDecompressionFuture<F> {
        #[pin]
        inner: F,
        shared: Arc<Shared>,
        has_body: bool,
    }
}

impl<F> ResponseDecompressionFuture<F> {
    pub(super) const fn new(inner: F, shared: Arc<Shared>, has_body: bool) -> Self {
        Self {
            inner,
            shared,
            has_body,
        }
    }
}

impl<F, R, E> Future for ResponseDecompressionFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Body + Unpin,
{
    type Output = Result<Response<DecompressBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx))?;
        Poll::Ready(Ok(if *this.has_body && may_be_decoded(&response) {
            decode(response, this.shared)
        } else {
            response.map(DecompressBody::identity)
        }))
    }
}

/// Not without content (RFC 9110, sections 15.2 to 15.4), nor as a part of something (14.4).
fn may_be_decoded<R>(response: &Response<R>) -> bool {
    let status = response.status();
    let without = status.is_informational()
        || matches!(
            status,
            StatusCode::NO_CONTENT
                | StatusCode::RESET_CONTENT
                | StatusCode::PARTIAL_CONTENT
                | StatusCode::NOT_MODIFIED
        );
    !without
        && !response.headers().contains_key(CONTENT_RANGE)
        && response.headers().contains_key(CONTENT_ENCODING)
}

fn decode<R: Body + Unpin>(response: Response<R>, shared: &Arc<Shared>) -> Response<DecompressBody<R>> {
    let codings = Codings::of(response.headers(), shared.codings(), shared.limits.codings);
    let (mut head, body) = response.into_parts();
    let body = match codings {
        Codings::Unknown | Codings::TooMany => DecompressBody::identity(body),
        Codings::None => {
            head.headers.remove(CONTENT_ENCODING);
            DecompressBody::identity(body)
        }
        Codings::Known(codings) => {
            let length = announced(&head.headers, &body);
            let original = OriginalHeaders::take_from(&mut head.headers);
            head.extensions.insert(original);
            DecompressBody::decode(body, shared, &codings, length)
        }
    };
    Response::from_parts(head, body)
}

impl<F> fmt::Debug for ResponseDecompressionFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseDecompressionFuture")
            .field("has_body", &self.has_body)
            .finish_non_exhaustive()
    }
}
