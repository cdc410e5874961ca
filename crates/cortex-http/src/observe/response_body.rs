use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use cortex_compress::CompressError;
use http_body::{Body, Frame, SizeHint};

use super::place::{Lease, guarded};
use crate::outcome::Outcome;

/// The body of every response: it ends the request's measurement when its last frame is handed over, or when it is
/// dropped before. The handler's body runs, and is dropped, under the request's context.
pub struct ResponseBody {
    lease: Lease,
}

impl ResponseBody {
    /// Takes the body that the handler has left in its place.
    #[inline]
    pub(super) fn new(lease: Lease) -> Self {
        let mut this = Self { lease };
        if this.lease.place().head_only || this.is_end_stream() {
            this.lease.exchange_mut().finish(Outcome::Ok); // nobody will poll this body
        }
        this
    }

    /// Takes a body of our own instead.
    pub(super) fn own(mut lease: Lease, body: Bytes) -> Self {
        drop_body(&mut lease);
        *lease.place_mut().project().own = Some(body).filter(|body| !body.is_empty());
        Self::new(lease)
    }

    /// Polls a stream of events, and ends it between two events once the service closes.
    #[cold]
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let over = |lease: &mut Lease, pends, cx: &mut Context<'_>| {
            let stream = lease.place_mut().project().stream;
            stream.as_mut().is_some_and(|stream| stream.is_over(pends, cx))
        };
        if !over(&mut self.lease, false, cx) {
            let polled = self.poll_inner(cx);
            if let (Poll::Ready(Some(Ok(frame))), Some(stream)) =
                (&polled, self.lease.place_mut().project().stream)
            {
                stream.passed(frame);
            }
            if polled.is_ready() || !over(&mut self.lease, true, cx) {
                return polled;
            }
        }
        drop_body(&mut self.lease);
        Poll::Ready(None)
    }

    #[inline]
    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (app, exchange) = self.lease.place_mut().body();
        let Some(body) = app else {
            let own = self.lease.place_mut().project().own.take();
            return Poll::Ready(own.map(|body| Ok(Frame::data(body))));
        };
        let _guard = exchange.attach();
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut *body).poll_frame(cx))) {
            Ok(frame) => {
                // hyper does not poll again to hear of the end. What the body still holds ends here, inside the span.
                if body.is_end_stream() || matches!(frame, Poll::Ready(None)) {
                    guarded(exchange, || *app = None);
                }
                frame.map(|frame| frame.map(|frame| frame.map_err(BodyError::App)))
            }
            Err(payload) => {
                exchange.panicked(&*payload);
                exchange.finish(Outcome::Panic);
                Poll::Ready(Some(Err(BodyError::Panic)))
            }
        }
    }
}

/// Drops the handler's body, under the request's context.
#[cold]
fn drop_body(lease: &mut Lease) {
    let (body, exchange) = lease.place_mut().body();
    let _guard = exchange.attach();
    guarded(exchange, || *body = None);
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = match this.lease.place().stream {
            None => this.poll_inner(cx),
            Some(_) => this.poll_stream(cx),
        };
        let frame = ready!(polled);
        let is_end = this.is_end_stream();
        let exchange = this.lease.exchange_mut();
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    exchange.sent(data.len());
                }
                if frame.is_trailers() || is_end {
                    exchange.finish(Outcome::Ok);
                }
            }
            Some(Err(_)) => exchange.finish(Outcome::Aborted),
            None => exchange.finish(Outcome::Ok),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let place = self.lease.place();
        match &place.body {
            Some(body) => body.is_end_stream(),
            // hyper keeps the body back from the answer to HEAD over HTTP/1 alone, where its length is told.
            None => place.own.is_none() || place.head_only && self.lease.exchange().is_http2(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let place = self.lease.place();
        match &place.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(place.own.as_ref().map_or(0, |body| body.len() as u64)),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("exchange", &self.lease)
            .finish_non_exhaustive()
    }
}

/// Says why a response body broke off; the connection is reset, so that the client does not take it for whole.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// The handler's body failed.
    App(CompressError<axum::Error>),
    /// The handler's body panicked.
    Panic,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::App(_) => "produce the response body",
            Self::Panic => "produce the response body: it panicked",
        })
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::App(source) => Some(source),
            Self::Panic => None,
        }
    }
}
