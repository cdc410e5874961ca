use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::routing::future::RouteFuture;
use bytes::Bytes;
use cortex_compress::CompressBody;
use http::header::CONNECTION;
use http::{HeaderValue, Response, StatusCode};
use pin_project_lite::pin_project;

use super::exchange::Exchange;
use super::request_body::Breach;
use super::response_body::ResponseBody;
use crate::lifecycle::Phase;
use crate::outcome::Outcome;
use crate::problem::problem;

pub(crate) type AppFuture = cortex_compress::ResponseFuture<RouteFuture<Infallible>>;

pin_project! {
    /// The future of a response: the handler's, under the request's context, with panics and limits turned into
    /// answers.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the handler's future and counts the request as cancelled by the client.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture {
        // None when there is nothing to run (any more).
        #[pin]
        app: Option<AppFuture>,
        // None once the response has been returned.
        exchange: Option<Exchange>,
        breach: Option<Arc<Breach>>,
        answer: Option<Outcome>,
        head_only: bool,
    }
}

impl ResponseFuture {
    pub(crate) const fn new(
        app: AppFuture,
        exchange: Exchange,
        breach: Option<Arc<Breach>>,
        head_only: bool,
    ) -> Self {
        Self {
            app: Some(app),
            exchange: Some(exchange),
            breach,
            answer: None,
            head_only,
        }
    }

    /// Answers without running anything.
    pub(crate) const fn refused(outcome: Outcome, exchange: Exchange, head_only: bool) -> Self {
        Self {
            app: None,
            exchange: Some(exchange),
            breach: None,
            answer: Some(outcome),
            head_only,
        }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let exchange = this
            .exchange
            .as_ref()
            .expect("invariant: not polled after it was ready");
        let polled = if this.answer.is_some() {
            Ok(None)
        } else {
            let app = this
                .app
                .as_mut()
                .as_pin_mut()
                .expect("invariant: set until it is ready");
            let _guard = exchange.context().attach();
            match catch_unwind(AssertUnwindSafe(|| app.poll(cx))) {
                Ok(Poll::Pending) => return Poll::Pending,
                Ok(Poll::Ready(Ok(response))) => Ok(Some(response)),
                Err(payload) => Err(payload),
            }
        };
        let mut exchange = this.exchange.take().expect("invariant: seen above");
        let mut response = match polled {
            Ok(Some(response)) => match this.breach.as_ref().and_then(|breach| breach.get()) {
                // The handler could not know which limit the body broke; it may have said something kinder.
                Some(outcome) if !response.status().is_success() => {
                    refuse(exchange, outcome, *this.head_only)
                }
                _ => whole(exchange, response, *this.head_only),
            },
            Ok(None) => refuse(
                exchange,
                this.answer.unwrap_or(Outcome::TooLarge),
                *this.head_only,
            ),
            Err(payload) => {
                exchange.panicked(&*payload);
                drop_poisoned(&mut this.app, payload);
                exchange.answer(500);
                exchange.finish(Outcome::Panic);
                ours(exchange, StatusCode::INTERNAL_SERVER_ERROR, *this.head_only)
            }
        };
        this.app.set(None);
        if response.1 {
            response
                .0
                .headers_mut()
                .insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Poll::Ready(Ok(response.0))
    }
}

/// A response, and whether the connection is to close after it.
type Answer = (Response<ResponseBody>, bool);

fn whole(mut exchange: Exchange, response: Response<CompressBody<Body>>, head_only: bool) -> Answer {
    let status = response.status();
    exchange.answer(status.as_u16());
    let bodyless =
        status.is_informational() || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    let conn = exchange.conn();
    let close = conn.shared.phase.reached(Phase::Draining) && !is_http2(&exchange) && status.as_u16() != 101;
    (
        response.map(|body| ResponseBody::new(body, exchange, head_only || bodyless)),
        close,
    )
}

fn refuse(mut exchange: Exchange, outcome: Outcome, head_only: bool) -> Answer {
    let status = if outcome == Outcome::Timeout {
        StatusCode::REQUEST_TIMEOUT
    } else {
        StatusCode::PAYLOAD_TOO_LARGE
    };
    exchange.answer(status.as_u16());
    exchange.conn().leave_unread();
    let close = !is_http2(&exchange);
    exchange.finish(outcome);
    (ours(exchange, status, head_only).0, close)
}

fn ours(exchange: Exchange, status: StatusCode, head_only: bool) -> Answer {
    let close = exchange.conn().shared.phase.reached(Phase::Draining) && !is_http2(&exchange);
    (
        problem::<Bytes>(status).map(|body| ResponseBody::own(body, exchange, head_only)),
        close,
    )
}

fn is_http2(exchange: &Exchange) -> bool {
    exchange.conn().http2.load(std::sync::atomic::Ordering::Relaxed)
}

/// Drops what panicked; that may panic again, and must not take the connection with it.
fn drop_poisoned(app: &mut Pin<&mut Option<AppFuture>>, payload: Box<dyn Any + Send>) {
    let _ = catch_unwind(AssertUnwindSafe(|| app.set(None)));
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}
