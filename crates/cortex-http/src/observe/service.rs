use std::any::Any;
use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use bytes::Bytes;
use cortex_compress::Compress;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tower_service::Service;

use super::exchange::Exchange;
use super::future::{Answer, ResponseFuture};
use super::place::Lease;
use super::request_body::RequestBody;
use super::response_body::ResponseBody;
use crate::address::Via;
use crate::guard::{CrossOrigin, Refused, grpc_answer_type};
use crate::outcome::Outcome;
use crate::serve::refusal;
use crate::shared::Conn;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The service that hyper calls: metrics, trace context, panics, limits and compression around the router.
///
/// One service outside the router instead of a stack of layers inside it: each `Router::layer` costs about 130 ns a
/// request. A [`Server`](crate::Server) makes one per connection; take one with
/// [`Server::service`](crate::Server::service) to call it without a socket.
pub struct Observed {
    app: Compress<Router>,
    conn: Arc<Conn>,
    cors: Option<CrossOrigin>,
}

impl Observed {
    pub(crate) fn new(app: Compress<Router>, conn: Arc<Conn>) -> Self {
        let cors = conn.shared.guards.cors.clone();
        Self { app, conn, cors }
    }
}

impl Clone for Observed {
    /// Makes a service with a connection of its own.
    fn clone(&self) -> Self {
        let conn = Conn::new(Arc::clone(&self.conn.shared), None);
        Self::new(self.app.clone(), Arc::new(conn))
    }
}

impl<B> Service<Request<B>> for Observed
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // a router is always ready
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        self.answer(request, None)
    }
}

impl Observed {
    /// Answers a request, unless it is one that HTTP does not allow.
    #[inline]
    fn answer<B>(&mut self, mut request: Request<B>, forbidden: Option<Refused>) -> ResponseFuture
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let head_only = request.method() == Method::HEAD;
        let mut lease = Lease::new(Exchange::begin(&self.conn, &mut request), head_only);
        if request.method() == Method::POST {
            *lease.place_mut().project().grpc = grpc_answer_type(request.headers());
        }
        if let Some(refused) = forbidden {
            return forbid(lease, refused);
        }
        // hyper leaves this in requests that ask for an upgrade, and nothing in others: those cost no allocation.
        if request.extensions().get::<OnUpgrade>().is_some() {
            let closing = self.conn.shared.closing.clone();
            request.extensions_mut().insert(closing);
        }
        let has_body = !request.body().is_end_stream();
        let guarded = guard(lease.exchange_mut(), &request, has_body);
        if let Some(rules) = &mut self.cors {
            let asked = ask(rules, request, &mut lease);
            request = match guarded.map_err(Answer::Refused).and(asked) {
                Ok(request) => request,
                Err(answer) => return ResponseFuture::answered(lease, answer, has_body),
            };
        } else if let Err(refused) = guarded {
            return ResponseFuture::answered(lease, Answer::Refused(refused), has_body);
        }
        if !self.conn.shared.addresses.client.is_none() {
            request.extensions_mut().insert(Via(Arc::clone(&self.conn)));
        }
        #[cfg(feature = "tls")]
        if let Some(certificate) = self.conn.client_certificate() {
            request.extensions_mut().insert(certificate.clone());
        }
        let (head, body) = request.into_parts();
        let body = RequestBody::bound(body, lease.exchange_mut());
        let mut request = Request::from_parts(head, body);
        if has_body && self.conn.shared.limits.extractors {
            // Theirs is 2 MB. Only where there is a body: it allocates.
            DefaultBodyLimit::disable().apply(&mut request);
        }
        let app = {
            let _guard = lease.exchange().attach();
            self.app.call(request)
        };
        ResponseFuture::new(lease, app)
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed")
            .field("conn", &self.conn)
            .finish_non_exhaustive()
    }
}

/// An [`Observed`] for hyper, which calls by `&self`: no clone of the router for a request.
#[derive(Debug)]
pub(crate) struct PerConnection(RefCell<Observed>);

impl PerConnection {
    pub(crate) const fn new(observed: Observed) -> Self {
        Self(RefCell::new(observed))
    }
}

impl hyper::service::Service<Request<Incoming>> for PerConnection {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn call(&self, request: Request<Incoming>) -> ResponseFuture {
        let forbidden = refusal(&request);
        self.0.borrow_mut().answer(request, forbidden)
    }
}

/// Refuses a request that is not to be believed, nor what follows it on its connection.
#[cold]
fn forbid(lease: Lease, refused: Refused) -> ResponseFuture {
    if refused.outcome() == Outcome::BadRequest
        && let Some(metrics) = &lease.exchange().conn().shared.metrics
    {
        metrics.connection_error("bad_request"); // as those that hyper cannot read
    }
    let http2 = lease.exchange().conn().http2.load(Ordering::Relaxed);
    ResponseFuture::answered(lease, Answer::Refused(refused), !http2)
}

/// Says how a request is refused that must not get to its handler.
///
/// The deadline comes first: whatever is asked about the request runs under it, and one that is over on arrival takes
/// nothing from others, neither a place nor a token.
#[inline]
fn guard<B>(exchange: &mut Exchange, request: &Request<B>, has_body: bool) -> Result<(), Refused> {
    let limit = exchange
        .conn()
        .shared
        .guards
        .deadlines
        .find(request.version(), request.headers());
    if let Some(limit) = limit
        && !exchange.limit(limit)
    {
        return Err(Refused::of(Outcome::Deadline));
    }
    if !exchange.conn().shared.guards.admit_all() {
        admit(exchange, request)?;
    }
    if has_body && declared_length(request.headers()) > exchange.conn().shared.limits.body_bytes {
        return Err(Refused::of(Outcome::TooLarge));
    }
    Ok(())
}

/// Asks the admissions, whose code may be the user's.
fn admit<B>(exchange: &mut Exchange, request: &Request<B>) -> Result<(), Refused> {
    let admitted = {
        let _guard = exchange.attach();
        catch_unwind(AssertUnwindSafe(|| exchange.admit(request)))
    };
    admitted.unwrap_or_else(|payload| Err(panicked(exchange, payload)))
}

/// Asks the rules for other origins, which may call the user's code; returns the request unless it is a preflight.
fn ask<B>(rules: &mut CrossOrigin, request: Request<B>, lease: &mut Lease) -> Result<Request<B>, Answer> {
    let (head, body) = request.into_parts();
    let asked = {
        let _guard = lease.exchange().attach();
        catch_unwind(AssertUnwindSafe(|| rules.ask(head)))
    };
    let asked = asked.map_err(|payload| Answer::Refused(panicked(lease.exchange(), payload)));
    let (verdict, head) = asked?;
    *lease.place_mut().project().verdict = Some(verdict);
    head.map(|head| Request::from_parts(head, body))
        .ok_or(Answer::Preflight)
}

/// Answers a panic of a guard as one of a handler.
#[cold]
fn panicked(exchange: &Exchange, payload: Box<dyn Any + Send>) -> Refused {
    exchange.panicked(&*payload);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
    Refused::of(Outcome::Panic)
}

/// Returns the declared length of the body. hyper has refused what is no number, and several that differ.
fn declared_length(headers: &HeaderMap) -> u64 {
    let length = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    length.unwrap_or(0)
}
