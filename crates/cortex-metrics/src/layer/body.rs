use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::during::during;
use super::exchange::{End, Exchange};

pin_project! {
    /// The body of a measured response: the inner one, frame by frame, until its end ends the measurement.
    ///
    /// # Cancel safety
    ///
    /// Dropping it before its end counts a served request as `aborted`.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_metrics::layer::ResponseBody;
    /// use http_body::Body;
    ///
    /// fn is_body<B: Body>() -> bool {
    ///     std::mem::needs_drop::<ResponseBody<B>>() // the drop is an end, too
    /// }
    /// assert!(is_body::<http_body_util::Full<&[u8]>>());
    /// ```
    pub struct ResponseBody<B> {
        #[pin]
        inner: B,
        // None once the request has ended.
        exchange: Option<Exchange>,
        // How many bytes end it.
        length: Option<u64>,
    }
}

impl<B: Body> ResponseBody<B> {
    pub(super) fn wrap(response: Response<B>, exchange: Option<Exchange>, head_only: bool) -> Response<Self> {
        let (head, inner) = response.into_parts();
        let mut this = Self {
            inner,
            exchange,
            length: None,
        };
        let Some(exchange) = &mut this.exchange else {
            return Response::from_parts(head, this);
        };
        exchange.answer(head.status);
        if head_only || has_no_body(head.status) || this.inner.is_end_stream() {
            end(&mut this.exchange, End::Whole); // nobody will poll this body
        } else {
            this.length = length(&head.headers, &this.inner);
            if this.length == Some(0) {
                end(&mut this.exchange, End::Whole); // nor one that has not noticed yet that it is empty
            }
        }
        Response::from_parts(head, this)
    }
}

/// RFC 9110, section 6.4.1.
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
}

/// Returns how many bytes the body will have. A connection drops a body after the last of them without asking it for
/// its end; of a file, say, which is a stream with a `Content-Length`.
fn length(headers: &HeaderMap, body: &impl Body) -> Option<u64> {
    let declared = || headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
    body.size_hint().exact().or_else(declared)
}

fn end(exchange: &mut Option<Exchange>, how: End) {
    if let Some(exchange) = exchange.take() {
        exchange.end(how);
    }
}

impl<B: Body> Body for ResponseBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(during(this.exchange, || this.inner.as_mut().poll_frame(cx)));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(exchange) = this.exchange {
                    let sent = exchange.sent(frame.data_ref().map_or(0, Buf::remaining));
                    let all = this.length.is_some_and(|length| sent >= length);
                    // A connection does not poll again to hear of the end, and nothing comes after trailers.
                    if all || frame.is_trailers() || this.inner.is_end_stream() {
                        end(this.exchange, End::Whole);
                    }
                }
            }
            Some(Err(_)) => end(this.exchange, End::Aborted),
            None => end(this.exchange, End::Whole),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}
