use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::routing::future::RouteFuture;
use bytes::Bytes;
use cortex_compress::{CompressBody, Compressing, Encoding, Plan};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use http::response::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body as _;
use tokio::time::Sleep;

use super::event_stream::EventStream;
use super::exchange::Exchange;
use super::place::{HAS_EXCHANGE, Lease, guarded};
use super::request_body::Upload;
use super::response_body::ResponseBody;
use crate::guard::{Refused, problem};
use crate::outcome::Outcome;

pub(crate) type AppFuture = RouteFuture<Infallible>;

/// The future of a response: the handler's, under the request's context, with panics and limits turned into answers.
///
/// # Cancel safety
///
/// Dropping it drops the handler's future, under the request's context, and counts the request as cancelled by the
/// client.
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture {
    /// None once the response has been returned.
    lease: Option<Lease>,
}

impl ResponseFuture {
    #[inline]
    pub(super) fn new(mut lease: Lease, app: AppFuture, plan: Plan) -> Self {
        let mut place = lease.place_mut().project();
        place.app.set(Some(app));
        *place.plan = Some(plan);
        Self { lease: Some(lease) }
    }

    /// Answers without running anything; `unread` says that the request has a body.
    pub(super) fn answered(mut lease: Lease, answer: Answer, unread: bool) -> Self {
        let place = lease.place_mut().project();
        *place.answer = Some(answer);
        *place.unread = unread;
        Self { lease: Some(lease) }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let lease = self
            .lease
            .as_mut()
            .expect("invariant: not polled after it was ready");
        let stands_in = ready!(poll_answer(lease, cx));
        let lease = self.lease.take().expect("invariant: seen above");
        let is_plain = lease.exchange().upload().is_none() && lease.place().verdict.is_none();
        Poll::Ready(Ok(match stands_in {
            None if is_plain => whole(lease), // the usual case
            stands_in => answer(lease, stands_in),
        }))
    }
}

/// Makes the response, whatever stood in the way of the handler's.
#[cold]
fn answer(mut lease: Lease, stands_in: Option<Answer>) -> Response<ResponseBody> {
    let place = lease.place_mut().project();
    let (verdict, unread) = (place.verdict.take(), *place.unread);
    let succeeds = place.head.as_ref().is_some_and(|head| head.status.is_success());
    let breach = lease.exchange().upload().and_then(Upload::breach);
    let mut response = match (stands_in, breach) {
        // The handler could not know which limit the body broke; it may have said something kinder.
        (None, Some(outcome)) if !succeeds => refuse(lease, &Refused::of(outcome), true),
        (None, _) => whole(lease),
        (Some(Answer::Refused(refused)), _) => refuse(lease, &refused, unread),
        (Some(Answer::Preflight), _) => preflight(lease, unread),
        (Some(Answer::NotAcceptable(codings)), _) => not_acceptable(lease, &codings, unread),
    };
    if let Some(verdict) = verdict {
        // Where it panicked before, it is dropped here.
        let _ = catch_unwind(AssertUnwindSafe(|| verdict.apply(response.headers_mut())));
    }
    response
}

/// Runs the handler until there is something to answer: what takes its place is its response, or what is returned.
fn poll_answer(lease: &mut Lease, cx: &mut Context<'_>) -> Poll<Option<Answer>> {
    let place = lease.place_mut().project();
    let (asked, mut app, exchange) = (place.verdict, place.app, place.exchange);
    let (plan, encoding) = (place.plan, place.encoding);
    let (head, body) = (place.head, place.body);
    let is_refused = matches!(place.answer, Some(Answer::Refused(_)));
    let exchange = exchange.as_mut().expect(HAS_EXCHANGE);
    let compressor = &exchange.conn().shared.compressor;
    let _guard = exchange.attach();
    let polled = catch_unwind(AssertUnwindSafe(|| {
        if let Some(verdict) = asked
            && verdict.poll(cx).is_pending()
        {
            // A refusal takes no time, whatever its answer would have borne.
            if !is_refused {
                return Poll::Pending;
            }
            *asked = None;
        }
        if let (Some(encoding), Some(head)) = (&mut *encoding, &mut *head) {
            *body = Some(ready!(encoding.poll(head, cx)));
            return Poll::Ready(true);
        }
        let Some(running) = app.as_mut().as_pin_mut() else {
            return Poll::Ready(false);
        };
        let Ok(response) = ready!(running.poll(cx));
        let (parts, inner) = response.into_parts();
        let head = head.insert(parts);
        // Not kept for as long as the body is sent: for a cache it holds on to the header of the request.
        let plan = plan.take().expect("invariant: made with the app");
        match compressor.respond(&plan, head, inner, cx) {
            Compressing::Done(done) => {
                *body = Some(done);
                Poll::Ready(true)
            }
            Compressing::Encoding(begun) => {
                *encoding = Some(begun);
                Poll::Pending
            }
        }
    }));
    Poll::Ready(match polled {
        Ok(Poll::Pending) => {
            ready!(poll_deadline(exchange, place.timer, cx));
            // Whoever was waited for was too slow.
            let awaited = exchange.upload().is_some_and(Upload::is_awaited);
            stop(&mut app, encoding, exchange);
            *place.unread |= exchange.upload().is_some_and(Upload::is_unread);
            Some(Answer::Refused(Refused::of(if awaited {
                Outcome::Timeout
            } else {
                Outcome::Deadline
            })))
        }
        Ok(Poll::Ready(true)) => {
            app.set(None);
            *encoding = None;
            None
        }
        Ok(Poll::Ready(false)) => {
            let answer = place.answer.take();
            Some(answer.expect("invariant: there is an answer or an app"))
        }
        Err(payload) => {
            exchange.panicked(&*payload);
            drop_poisoned(&mut app, payload);
            Some(Answer::Refused(Refused::of(Outcome::Panic)))
        }
    })
}

/// What is answered without running anything.
pub(crate) enum Answer {
    Refused(Refused),
    /// With what the verdict says, and nothing else.
    Preflight,
    /// None of the codings that the client accepts can be sent: the answer of the compressor.
    NotAcceptable(Box<Response<Bytes>>),
}

/// Called when the handler waits: ready once the request's deadline has passed.
fn poll_deadline(exchange: &Exchange, timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(deadline) = exchange.captured().context().deadline() else {
        return Poll::Pending;
    };
    let until = deadline.instant().into();
    let timer = timer.get_or_insert_with(|| {
        let kept = exchange.conn().take_timer();
        kept.unwrap_or_else(|| Box::pin(tokio::time::sleep_until(until)))
    });
    loop {
        // One of an earlier request wakes too early once, which costs less than to set it for each request.
        if timer.deadline() > until || timer.is_elapsed() && timer.deadline() < until {
            timer.as_mut().reset(until);
        }
        // A handler that uses up the budget of its task each time would never let its timer be seen.
        ready!(pin!(tokio::task::unconstrained(timer.as_mut())).poll(cx));
        if timer.deadline() >= until {
            return Poll::Ready(());
        }
    }
}

/// Drops a handler that is too late, wherever it waits.
#[cold]
fn stop(app: &mut Pin<&mut Option<AppFuture>>, encoding: &mut Option<Encoding<Body>>, exchange: &Exchange) {
    guarded(exchange, || app.set(None));
    guarded(exchange, || *encoding = None);
}

/// Makes the response of what the handler has left.
#[inline]
fn whole(mut lease: Lease) -> Response<ResponseBody> {
    let place = lease.place_mut().project();
    let exchange = place.exchange.as_mut().expect(HAS_EXCHANGE);
    let head = place.head.as_mut().expect("invariant: the handler's");
    let body = place.body.as_ref().expect("invariant: the handler's");
    let status = head.status;
    exchange.answer(status, &mut head.headers);
    if !exchange.upgrades(status) {
        dress(exchange, &mut head.headers);
    }
    if is_bare(head, body) {
        return explain(lease);
    }
    // What has a length ends by itself; only of other bodies it matters what they are.
    *place.stream = match body.size_hint().exact() {
        None => EventStream::of(&head.headers, &exchange.conn().shared),
        Some(_) => None,
    };
    *place.head_only |=
        status.is_informational() || [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    let head = place.head.take().expect("invariant: seen above");
    Response::from_parts(head, ResponseBody::new(lease))
}

/// Says whether an error came without a word, as those of axum's own fallbacks do.
#[inline]
fn is_bare(head: &Parts, body: &CompressBody<Body>) -> bool {
    (head.status == StatusCode::NOT_FOUND || head.status == StatusCode::METHOD_NOT_ALLOWED)
        && body.is_end_stream()
        && !head.headers.contains_key(CONTENT_TYPE)
}

#[cold]
fn explain(mut lease: Lease) -> Response<ResponseBody> {
    let head = lease.place_mut().project().head.take();
    let mut head = head.expect("invariant: the handler's");
    let (own, body) = problem(head.status, lease.exchange().captured().context())
        .respond::<Bytes>()
        .into_parts();
    head.headers.remove(CONTENT_LENGTH);
    for (name, value) in own.headers {
        if let Some(name) = name {
            head.headers.entry(name).or_insert(value);
        }
    }
    Response::from_parts(head, ResponseBody::own(lease, body))
}

/// Answers in place of a handler. What is `unread` of the request's body is not read, so the connection ends here.
#[cold]
fn refuse(mut lease: Lease, refused: &Refused, unread: bool) -> Response<ResponseBody> {
    let (grpc, head_only) = (lease.place().grpc, lease.place().head_only);
    let exchange = lease.exchange_mut();
    let mut response = match grpc {
        Some(content_type) => refused.respond_to_grpc(content_type),
        None => refused.respond::<Bytes>(exchange.captured().context()),
    };
    if unread {
        exchange.conn().leave_unread();
    }
    dress(exchange, response.headers_mut());
    if unread {
        close_after(exchange, response.headers_mut());
    }
    exchange.answer(response.status(), response.headers_mut());
    if !head_only {
        exchange.sent(response.body().len()); // it ends here, with a body that is there
    }
    exchange.finish(refused.outcome());
    response.map(|body| ResponseBody::own(lease, body))
}

#[cold]
fn preflight(mut lease: Lease, unread: bool) -> Response<ResponseBody> {
    *lease.place_mut().project().head_only = false;
    unhandled(lease, Response::new(Bytes::new()), unread)
}

/// Says what the compressor says in the way of all problems.
#[cold]
fn not_acceptable(lease: Lease, refusal: &Response<Bytes>, unread: bool) -> Response<ResponseBody> {
    let detail = String::from_utf8_lossy(refusal.body());
    let problem = problem(refusal.status(), lease.exchange().captured().context());
    let mut response = problem.detail(detail.trim_end().to_owned()).respond::<Bytes>();
    if let Some(vary) = refusal.headers().get(VARY) {
        response.headers_mut().insert(VARY, vary.clone());
    }
    unhandled(lease, response, unread)
}

/// Answers where no handler was asked, and nothing is wrong with that.
fn unhandled(mut lease: Lease, mut response: Response<Bytes>, unread: bool) -> Response<ResponseBody> {
    let exchange = lease.exchange_mut();
    dress(exchange, response.headers_mut());
    if unread {
        exchange.conn().leave_unread();
        close_after(exchange, response.headers_mut());
    }
    exchange.answer(response.status(), response.headers_mut());
    response.map(|body| ResponseBody::own(lease, body))
}

/// Adds what every answer bears.
#[inline]
fn dress(exchange: &Exchange, headers: &mut HeaderMap) {
    let conn = exchange.conn();
    if conn.is_ending() {
        close_after(exchange, headers);
    }
    if let Some(security) = &conn.shared.guards.security {
        security.apply(headers, conn.is_tls());
    }
}

/// Ends the connection after this response; HTTP/2 says so with GOAWAY instead of a header.
#[cold]
fn close_after(exchange: &Exchange, headers: &mut HeaderMap) {
    if !exchange.is_http2() {
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
            .field("exchange", &self.lease)
            .finish_non_exhaustive()
    }
}
