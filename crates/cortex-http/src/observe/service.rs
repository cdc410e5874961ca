use std::any::Any;
use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::request::Parts;
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
    app: Router,
    conn: Arc<Conn>,
    cors: Option<CrossOrigin>,
}

impl Observed {
    pub(crate) fn new(app: Router, conn: Arc<Conn>) -> Self {
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
        let (mut head, body) = request.into_parts();
        match self.begin(&mut head, !body.is_end_stream(), None) {
            Ok(lease) => self.run(lease, head, body),
            Err(answered) => answered,
        }
    }
}

impl Observed {
    /// Begins with a request, unless it is one that HTTP does not allow or that is not let in.
    #[inline]
    fn begin(
        &mut self,
        head: &mut Parts,
        has_body: bool,
        forbidden: Option<Refused>,
    ) -> Result<Lease, ResponseFuture> {
        let mut lease = Lease::new();
        let place = lease.place_mut().project();
        Exchange::begin(place.exchange, &self.conn, head);
        *place.head_only = head.method == Method::HEAD;
        if head.method == Method::POST {
            *place.grpc = grpc_answer_type(&head.headers);
        }
        if let Some(refused) = forbidden {
            return Err(forbid(lease, refused));
        }
        // hyper leaves this in requests that ask for an upgrade, and nothing in others: those cost no allocation.
        if head.extensions.get::<OnUpgrade>().is_some() {
            head.extensions.insert(self.conn.shared.closing.clone());
        }
        let guarded = guard(lease.exchange_mut(), head, has_body).map_err(Answer::Refused);
        let admitted = match &mut self.cors {
            Some(rules) => guarded.and(ask(rules, head, &mut lease)),
            None => guarded,
        };
        if let Err(answer) = admitted {
            return Err(ResponseFuture::answered(lease, answer, has_body));
        }
        if !self.conn.shared.addresses.client.is_none() {
            head.extensions.insert(Via(Arc::clone(&self.conn)));
        }
        #[cfg(feature = "tls")]
        if let Some(certificate) = self.conn.client_certificate() {
            head.extensions.insert(certificate.clone());
        }
        Ok(lease)
    }

    /// Calls the handler. Not inlined: the head, which is large, would be moved once more.
    #[inline(never)]
    fn run<B>(&mut self, mut lease: Lease, mut head: Parts, body: B) -> ResponseFuture
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let shared = &self.conn.shared;
        let mut plan = shared.compressor.plan(&head.method, &mut head.headers);
        shared.compressor.identify(&mut plan, &head.uri, &head.headers);
        if let Some(refusal) = shared.compressor.refusal(&plan) {
            let answer = Answer::NotAcceptable(Box::new(refusal));
            return ResponseFuture::answered(lease, answer, !body.is_end_stream());
        }
        let theirs = !body.is_end_stream() && shared.limits.extractors;
        let body = RequestBody::bound(body, lease.exchange_mut());
        let app = {
            let _guard = lease.exchange().attach();
            if theirs {
                // Theirs is 2 MB. They count what they read, which may have been decoded and be many times what was
                // sent. Only where there is a body: it allocates.
                let most = usize::try_from(shared.limits.body_bytes).unwrap_or(usize::MAX);
                let mut request = Request::from_parts(head, body);
                DefaultBodyLimit::max(most).apply(&mut request);
                self.app.call(request)
            } else {
                self.app.call(Request::from_parts(head, body))
            }
        };
        ResponseFuture::new(lease, app, plan)
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
        let (mut head, body) = request.into_parts();
        let forbidden = refusal(&head);
        let mut observed = self.0.borrow_mut();
        match observed.begin(&mut head, !body.is_end_stream(), forbidden) {
            Ok(lease) => observed.run(lease, head, body),
            Err(answered) => answered,
        }
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
    let http2 = lease.exchange().is_http2();
    ResponseFuture::answered(lease, Answer::Refused(refused), !http2)
}

/// Says how a request is refused that must not get to its handler.
///
/// The deadline comes first: whatever is asked about the request runs under it, and one that is over on arrival takes
/// nothing from others, neither a place nor a token.
#[inline]
fn guard(exchange: &mut Exchange, request: &Parts, has_body: bool) -> Result<(), Refused> {
    let limit = exchange
        .conn()
        .shared
        .guards
        .deadlines
        .find(request.version, &request.headers);
    if let Some(limit) = limit
        && !exchange.limit(limit)
    {
        return Err(Refused::of(Outcome::Deadline));
    }
    if !exchange.conn().shared.guards.admit_all() {
        admit(exchange, request)?;
    }
    if has_body && declared_length(&request.headers) > exchange.conn().shared.limits.body_bytes {
        return Err(Refused::of(Outcome::TooLarge));
    }
    Ok(())
}

/// Asks the admissions, whose code may be the user's.
fn admit(exchange: &mut Exchange, request: &Parts) -> Result<(), Refused> {
    let admitted = {
        let _guard = exchange.attach();
        catch_unwind(AssertUnwindSafe(|| exchange.admit(request)))
    };
    admitted.unwrap_or_else(|payload| Err(panicked(exchange, payload)))
}

/// Asks the rules for other origins, which may call the user's code, and may take the head of a preflight.
fn ask(rules: &mut CrossOrigin, head: &mut Parts, lease: &mut Lease) -> Result<(), Answer> {
    let (nothing, ()) = Request::new(()).into_parts();
    let taken = std::mem::replace(head, nothing);
    let asked = {
        let _guard = lease.exchange().attach();
        catch_unwind(AssertUnwindSafe(|| rules.ask(taken)))
    };
    let (verdict, given_back) =
        asked.map_err(|payload| Answer::Refused(panicked(lease.exchange(), payload)))?;
    *lease.place_mut().project().verdict = Some(verdict);
    *head = given_back.ok_or(Answer::Preflight)?;
    Ok(())
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
