use crate::decode::shared::Shared;
use bytes::{Buf, Bytes};
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

pin_project! {
    /// The body of a response of [`RequestDecompression`](crate::RequestDecompression): that of the inner service, or a
    /// line of text that says why the request was refused.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "gzip")] {
    /// use cortex_compress::{Coding, RefusalBody, RequestBody, RequestDecompressionLayer};
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt, Empty, Full};
    /// use std::convert::Infallible;
    /// use tower::{ServiceBuilder, ServiceExt};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let service = ServiceBuilder::new()
    ///     .layer(RequestDecompressionLayer::new().codings(&[Coding::Gzip]))
    ///     .service_fn(async |_: Request<RequestBody<Full<&'static [u8]>>>| {
    ///         Ok::<_, Infallible>(Response::new(Empty::<&'static [u8]>::new()))
    ///     });
    /// let request = Request::builder().header("content-encoding", "lzma").body(Full::from(&b"?"[..])).unwrap();
    /// let body: RefusalBody<Empty<_>> = service.oneshot(request).await.unwrap().into_body();
    /// let text = body.collect().await.unwrap().to_bytes();
    /// assert_eq!(text, "Unsupported Content-Encoding: only gzip can be decoded.\n");
    /// # });
    /// # }
    /// ```
    pub struct RefusalBody<B> {
        #[pin]
        inner: Option<B>,
        text: Option<Bytes>,
    }
}

impl<B> RefusalBody<B> {
    pub(super) const fn inner(body: B) -> Self {
        Self {
            inner: Some(body),
            text: None,
        }
    }

    pub(super) const fn refusal(text: Bytes) -> Self {
        Self {
            inner: None,
            text: Some(text),
        }
    }
}

impl<B: Body> Body for RefusalBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        match this.inner.as_pin_mut() {
            Some(inner) => inner.poll_frame(cx).map(|next| {
                next.map(|frame| {
                    frame.map(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
                })
            }),
            None => Poll::Ready(this.text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Some(inner) => inner.is_end_stream(),
            None => self.text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Some(inner) => inner.size_hint(),
            None => SizeHint::with_exact(self.text.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}

impl<B> fmt::Debug for RefusalBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusalBody")
            .field("text", &self.text)
            .finish_non_exhaustive()
    }
}

/// RFC 9110, section 15.5.16: the answer names what would have been understood.
pub(super) fn unsupported(shared: &Shared) -> Box<Response<Bytes>> {
    let text = match shared.accept_encoding().to_str() {
        Ok(names) if !shared.codings().is_empty() => {
            format!("Unsupported Content-Encoding: only {names} can be decoded.\n")
        }
        _ => String::from("Unsupported Content-Encoding: none can be decoded.\n"),
    };
    with_accept_encoding(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text), shared)
}

pub(super) fn too_many(shared: &Shared) -> Box<Response<Bytes>> {
    let text = format!(
        "Unsupported Content-Encoding: too many codings, the limit is {}.\n",
        shared.limits.codings
    );
    with_accept_encoding(refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text), shared)
}

/// RFC 9110, section 15.5.14.
pub(super) fn too_long(shared: &Shared) -> Box<Response<Bytes>> {
    let text = format!(
        "The encoded content is too large: at most {} bytes are read.\n",
        shared.limits.encoded
    );
    refuse(StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// RFC 9110, section 15.6.4.
pub(super) fn starved() -> Box<Response<Bytes>> {
    let text = "There is no memory left to decode the content: try again later.\n";
    refuse(StatusCode::SERVICE_UNAVAILABLE, text.into())
}

fn with_accept_encoding(mut response: Box<Response<Bytes>>, shared: &Shared) -> Box<Response<Bytes>> {
    let accepted = shared.accept_encoding().clone();
    response.headers_mut().insert(ACCEPT_ENCODING, accepted);
    response
}

fn refuse(status: StatusCode, text: String) -> Box<Response<Bytes>> {
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    Box::new(response)
}
