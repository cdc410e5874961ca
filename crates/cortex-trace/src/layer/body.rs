use std::fmt;
use std::pin::Pin;
use std::task::{Poll, ready};

use bytes::Buf;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::during::during;
use super::exchange::{End, Exchange};
use crate::Captured;

pin_project! {
    /// The body of a traced response: the inner one, frame by frame under its span, until its end ends the span.
    ///
    /// # Cancel safety
    ///
    /// Dropping it before its end records the request as cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::layer::ResponseBody;
    /// use http_body::Body;
    ///
    /// fn is_body<B: Body>() -> bool {
    ///     std::mem::needs_drop::<ResponseBody<B>>() // the drop is an end, too
    /// }
    /// assert!(is_body::<http_body_util::Full<&[u8]>>());
    /// ```
    pub struct ResponseBody<B> {
        // None only while this is dropped.
        #[pin]
        inner: Option<B>,
        captured: Captured,
        // None once the request has ended, or if it is not recorded.
        exchange: Option<Exchange>,
        // How many bytes end it.
        length: Option<u64>,
    }

    impl<B> PinnedDrop for ResponseBody<B> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _guard = this.captured.attach();
            this.inner.set(None); // before the span ends, so that what it traces or logs is part of it
        }
    }
}

impl<B: Body> ResponseBody<B> {
    pub(super) fn wrap(
        response: Response<B>,
        captured: Captured,
        exchange: Option<Exchange>,
        head_only: bool,
    ) -> Response<Self> {
        let (head, inner) = response.into_parts();
        let mut exchange = exchange.filter(Exchange::is_recording);
        let mut length = None;
        if let Some(exchange) = &mut exchange {
            exchange.answer(head.status);
        }
        if exchange.is_some() {
            if head_only || has_no_body(head.status) || inner.is_end_stream() {
                end(&mut exchange, End::Whole); // nobody will poll this body
            } else {
                length = declared(&head.headers, &inner);
                if length == Some(0) {
                    end(&mut exchange, End::Whole); // nor one that has not noticed yet that it is empty
                }
            }
        }
        let body = Self {
            inner: Some(inner),
            captured,
            exchange,
            length,
        };
        Response::from_parts(head, body)
    }
}

/// RFC 9110, section 6.4.1.
fn has_no_body(status: StatusCode) -> bool {
    status.is_informational() || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status)
}

/// Returns how many bytes the body will have. A connection drops a body after the last of them without asking it for
/// its end; of a file, say, which is a stream with a `Content-Length`.
fn declared(headers: &HeaderMap, body: &impl Body) -> Option<u64> {
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
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let _guard = this.captured.attach();
        let Some(mut inner) = this.inner.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let frame = ready!(during(this.exchange, || inner.as_mut().poll_frame(cx)));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(exchange) = this.exchange {
                    let sent = exchange.sent(frame.data_ref().map_or(0, Buf::remaining));
                    let all = this.length.is_some_and(|length| sent >= length);
                    // A connection does not poll again to hear of the end, and nothing comes after trailers.
                    if all || frame.is_trailers() || inner.is_end_stream() {
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
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("captured", &self.captured)
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}
