use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use cortex_compress::{CompressBody, CompressError};
use cortex_trace::Captured;
use http_body::{Body, Frame, SizeHint};

use super::event_stream::EventStream;
use super::exchange::Exchange;
use crate::outcome::Outcome;

/// The body of every response: it ends the request's measurement when its last frame is handed over, or when it is
/// dropped before. The handler's body runs, and is dropped, under the request's context.
pub struct ResponseBody {
    inner: Inner,
    captured: Captured,
    /// None once the request has ended.
    exchange: Option<Box<Exchange>>,
    /// None for all but streams of events.
    stream: Option<Box<EventStream>>,
}

enum Inner {
    App(CompressBody<axum::body::Body>),
    Own(Option<Bytes>),
}

impl ResponseBody {
    pub(crate) fn new(
        app: CompressBody<axum::body::Body>,
        exchange: Box<Exchange>,
        head_only: bool,
        stream: Option<Box<EventStream>>,
    ) -> Self {
        let mut this = Self::ending(Inner::App(app), exchange, head_only);
        this.stream = stream;
        this
    }

    /// Takes a body of our own instead of the handler's.
    pub(crate) fn own(body: Bytes, exchange: Box<Exchange>, head_only: bool) -> Self {
        Self::ending(
            Inner::Own(Some(body).filter(|body| !body.is_empty())),
            exchange,
            head_only,
        )
    }

    fn ending(inner: Inner, mut exchange: Box<Exchange>, head_only: bool) -> Self {
        let mut this = Self {
            inner,
            captured: exchange.captured().clone(),
            exchange: None,
            stream: None,
        };
        if head_only || this.is_end_stream() {
            exchange.finish(Outcome::Ok); // nobody will poll this body
        } else {
            this.exchange = Some(exchange);
        }
        this
    }

    fn finish(&mut self, outcome: Outcome) {
        if let Some(mut exchange) = self.exchange.take() {
            exchange.finish(outcome);
        }
    }

    /// Polls a stream of events, and ends it between two events once the service closes.
    #[cold]
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let over = |stream: &mut Option<Box<EventStream>>, pends, cx: &mut Context<'_>| {
            stream.as_mut().is_some_and(|stream| stream.is_over(pends, cx))
        };
        if !over(&mut self.stream, false, cx) {
            let polled = self.poll_inner(cx);
            if let (Poll::Ready(Some(Ok(frame))), Some(stream)) = (&polled, &mut self.stream) {
                stream.passed(frame);
            }
            if polled.is_ready() || !over(&mut self.stream, true, cx) {
                return polled;
            }
        }
        let _guard = self.captured.attach();
        self.inner = Inner::Own(None);
        Poll::Ready(None)
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.inner {
            Inner::Own(body) => Poll::Ready(body.take().map(|body| Ok(Frame::data(body)))),
            Inner::App(body) => {
                let _guard = self.captured.attach();
                match catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx))) {
                    Ok(frame) => frame.map(|frame| frame.map(|frame| frame.map_err(BodyError::App))),
                    Err(payload) => {
                        if let Some(exchange) = &self.exchange {
                            exchange.panicked(&*payload);
                        }
                        self.finish(Outcome::Panic);
                        Poll::Ready(Some(Err(BodyError::Panic)))
                    }
                }
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let polled = match &mut this.stream {
            None => this.poll_inner(cx),
            Some(_) => this.poll_stream(cx),
        };
        let frame = ready!(polled);
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(exchange)) = (frame.data_ref(), &mut this.exchange) {
                    exchange.sent(data.len());
                }
                // hyper does not poll again to hear of the end, and nothing comes after trailers.
                if frame.is_trailers() || this.is_end_stream() {
                    this.finish(Outcome::Ok);
                }
            }
            Some(Err(_)) => this.finish(Outcome::Aborted),
            None => this.finish(Outcome::Ok),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Inner::App(body) => body.is_end_stream(),
            Inner::Own(body) => body.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Inner::App(body) => body.size_hint(),
            Inner::Own(body) => SizeHint::with_exact(body.as_ref().map_or(0, |body| body.len() as u64)),
        }
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        let _guard = self.captured.attach();
        self.inner = Inner::Own(None); // before the exchange, which ends the span: what this traces or logs is part of it
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody")
            .field("ended", &self.exchange.is_none())
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
