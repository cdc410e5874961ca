use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::routing::future::RouteFuture;
use bytes::Bytes;
use cortex_compress::CompressBody;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body as _;
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::event_stream::EventStream;
use super::exchange::Exchange;
use super::request_body::Breach;
use super::response_body::ResponseBody;
use crate::guard::{Refused, Verdict, problem};
use crate::lifecycle::Phase;
use crate::outcome::Outcome;

pub(crate) type AppFuture = cortex_compress::ResponseFuture<RouteFuture<Infallible>>;

pin_project! {
    /// The future of a response: the handler's, under the request's context, with panics and limits turned into
    /// answers.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the handler's future, under the request's context, and counts the request as cancelled by the
    /// client.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture {
        // None when there is nothing to run (any more).
        #[pin]
        app: Option<AppFuture>,
        // None once the response has been returned.
        exchange: Option<Box<Exchange>>,
        breach: Option<Arc<Breach>>,
        answer: Option<Answer>,
        verdict: Option<Verdict>,
        head_only: bool,
        // A body was refused without a look at it.
        unread: bool,
        // Made when the handler waits for the first time: most answer at once.
        timer: Option<Pin<Box<Sleep>>>,
    }

    impl PinnedDrop for ResponseFuture {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _guard = this.exchange.as_ref().map(|exchange| exchange.attach());
            *this.verdict = None;
            this.app.set(None); // before the exchange, which ends the span: what this traces or logs is part of it
        }
    }
}

impl ResponseFuture {
    pub(crate) const fn new(
        app: AppFuture,
        exchange: Box<Exchange>,
        breach: Option<Arc<Breach>>,
        head_only: bool,
        verdict: Option<Verdict>,
    ) -> Self {
        Self {
            app: Some(app),
            exchange: Some(exchange),
            breach,
            answer: None,
            verdict,
            head_only,
            unread: false,
            timer: None,
        }
    }

    /// Answers without running anything; `unread` says that the request has a body.
    pub(crate) const fn answered(
        answer: Answer,
        exchange: Box<Exchange>,
        head_only: bool,
        unread: bool,
        verdict: Option<Verdict>,
    ) -> Self {
        Self {
            app: None,
            exchange: Some(exchange),
            breach: None,
            answer: Some(answer),
            verdict,
            head_only,
            unread,
            timer: None,
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
        let polled = {
            let _guard = exchange.attach();
            let polled = catch_unwind(AssertUnwindSafe(|| {
                if let Some(verdict) = this.verdict.as_mut() {
                    ready!(verdict.poll(cx));
                }
                match this.app.as_mut().as_pin_mut() {
                    Some(app) => app.poll(cx).map(Some),
                    None => Poll::Ready(None),
                }
            }));
            match polled {
                Ok(Poll::Pending) => {
                    ready!(poll_deadline(exchange, this.timer, cx));
                    stop(&mut this.app, exchange);
                    // Whoever was waited for was too slow.
                    let awaited = this.breach.as_ref().is_some_and(|breach| breach.is_awaited());
                    *this.unread |= exchange.conn().is_unread();
                    Err(Answer::Refused(Refused::of(if awaited {
                        Outcome::Timeout
                    } else {
                        Outcome::Deadline
                    })))
                }
                Ok(Poll::Ready(Some(Ok(response)))) => {
                    this.app.set(None);
                    Ok(response)
                }
                Ok(Poll::Ready(None)) => Err(this
                    .answer
                    .take()
                    .expect("invariant: there is an answer or an app")),
                Err(payload) => {
                    exchange.panicked(&*payload);
                    drop_poisoned(&mut this.app, payload);
                    Err(Answer::Refused(Refused::of(Outcome::Panic)))
                }
            }
        };
        let exchange = this.exchange.take().expect("invariant: seen above");
        let head_only = *this.head_only;
        let breach = this.breach.as_ref().and_then(|breach| breach.get());
        let mut response = match (polled, breach) {
            // The handler could not know which limit the body broke; it may have said something kinder.
            (Ok(response), Some(outcome)) if !response.status().is_success() => {
                refuse(exchange, &Refused::of(outcome), head_only, true)
            }
            (Ok(response), _) => whole(exchange, response, head_only),
            (Err(Answer::Refused(refused)), _) => refuse(exchange, &refused, head_only, *this.unread),
            (Err(Answer::Preflight), _) => preflight(exchange, *this.unread),
        };
        if let Some(verdict) = this.verdict.take() {
            // Where it panicked before, it is dropped here.
            let _ = catch_unwind(AssertUnwindSafe(|| verdict.apply(response.headers_mut())));
        }
        Poll::Ready(Ok(response))
    }
}

/// What is answered without running anything.
pub(crate) enum Answer {
    Refused(Refused),
    /// With what the verdict says, and nothing else.
    Preflight,
}

/// Called when the handler waits: ready once the request's deadline has passed.
fn poll_deadline(exchange: &Exchange, timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(deadline) = exchange.captured().context().deadline() else {
        return Poll::Pending;
    };
    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.instant().into())));
    // A handler that uses up the budget of its task each time would never let its timer be seen.
    pin!(tokio::task::unconstrained(timer.as_mut())).poll(cx)
}

/// Drops a handler that is too late, wherever it waits.
#[cold]
fn stop(app: &mut Pin<&mut Option<AppFuture>>, exchange: &Exchange) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| app.set(None))) {
        exchange.panicked(&*payload);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    }
}

fn whole(
    mut exchange: Box<Exchange>,
    mut response: Response<CompressBody<Body>>,
    head_only: bool,
) -> Response<ResponseBody> {
    let status = response.status();
    exchange.answer(status.as_u16());
    if !exchange.upgrades(status) {
        dress(&exchange, response.headers_mut());
    }
    if is_bare(&response) {
        return explain(exchange, response, head_only);
    }
    let bodyless =
        status.is_informational() || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    // What has a length ends by itself; only of other bodies it matters what they are.
    let stream = match response.body().size_hint().exact() {
        None => EventStream::of(response.headers(), &exchange.conn().shared),
        Some(_) => None,
    };
    response.map(|body| ResponseBody::new(body, exchange, head_only || bodyless, stream))
}

/// Says whether an error came without a word, as those of axum's own fallbacks do.
#[inline]
fn is_bare(response: &Response<CompressBody<Body>>) -> bool {
    let status = response.status();
    (status == StatusCode::NOT_FOUND || status == StatusCode::METHOD_NOT_ALLOWED)
        && response.body().is_end_stream()
        && !response.headers().contains_key(CONTENT_TYPE)
}

#[cold]
fn explain(
    exchange: Box<Exchange>,
    response: Response<CompressBody<Body>>,
    head_only: bool,
) -> Response<ResponseBody> {
    let (mut head, bare) = response.into_parts();
    {
        let _guard = exchange.attach();
        drop(bare);
    }
    let (own, body) = problem(head.status, exchange.captured().context())
        .respond::<Bytes>()
        .into_parts();
    head.headers.remove(CONTENT_LENGTH);
    for (name, value) in own.headers {
        if let Some(name) = name {
            head.headers.entry(name).or_insert(value);
        }
    }
    Response::from_parts(head, ResponseBody::own(body, exchange, head_only))
}

/// Answers in place of a handler. What is `unread` of the request's body is not read, so the connection ends here.
#[cold]
fn refuse(
    mut exchange: Box<Exchange>,
    refused: &Refused,
    head_only: bool,
    unread: bool,
) -> Response<ResponseBody> {
    let mut response = refused.respond::<Bytes>(exchange.captured().context());
    if unread {
        exchange.conn().leave_unread();
    }
    dress(&exchange, response.headers_mut());
    if unread {
        close_after(&exchange, response.headers_mut());
    }
    exchange.answer(response.status().as_u16());
    exchange.finish(refused.outcome());
    response.map(|body| ResponseBody::own(body, exchange, head_only))
}

#[cold]
fn preflight(mut exchange: Box<Exchange>, unread: bool) -> Response<ResponseBody> {
    let mut response = Response::new(Bytes::new());
    dress(&exchange, response.headers_mut());
    if unread {
        exchange.conn().leave_unread();
        close_after(&exchange, response.headers_mut());
    }
    exchange.answer(response.status().as_u16());
    response.map(|body| ResponseBody::own(body, exchange, false))
}

/// Adds what every answer bears.
#[inline]
fn dress(exchange: &Exchange, headers: &mut HeaderMap) {
    let conn = exchange.conn();
    if conn.shared.phase.reached(Phase::Draining) {
        close_after(exchange, headers);
    }
    if let Some(security) = &conn.shared.guards.security {
        security.apply(headers, conn.is_tls());
    }
}

/// Ends the connection after this response; HTTP/2 says so with GOAWAY instead of a header.
#[cold]
fn close_after(exchange: &Exchange, headers: &mut HeaderMap) {
    if !exchange.conn().http2.load(Ordering::Relaxed) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

/// Drops what panicked; that may panic again, and must not take the connection with it.
#[cold]
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
