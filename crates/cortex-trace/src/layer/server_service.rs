use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::body::ResponseBody;
use super::during::during;
use super::error_type::ErrorType;
use super::exchange::Exchange;
use super::server_future::ServerResponseFuture;
use super::server_layer::Shared;
use crate::{ServerSpan, Value};

/// Traces the requests that an inner service answers; made by [`TraceServerLayer`](super::TraceServerLayer).
///
/// It is ready when the inner service is. Errors and panics go on unchanged.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Tracer, layer::{TraceServer, TraceServerLayer}};
/// use tower::Layer;
///
/// let layer = TraceServerLayer::new(Tracer::propagate_only());
/// let service: TraceServer<&str> = layer.layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// ```
#[derive(Clone, Debug)]
pub struct TraceServer<S, C = ()> {
    inner: S,
    shared: Arc<Shared>,
    error_type: C,
}

impl<S, C> TraceServer<S, C> {
    pub(super) const fn new(inner: S, shared: Arc<Shared>, error_type: C) -> Self {
        Self {
            inner,
            shared,
            error_type,
        }
    }
}

impl<S, C, R, B> Service<Request<R>> for TraceServer<S, C>
where
    S: Service<Request<R>, Response = Response<B>>,
    B: Body,
    C: ErrorType<S::Error> + Clone,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ServerResponseFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let head_only = parts.method == Method::HEAD;
        let span = begin(&self.shared, &parts);
        let captured = span.captured().clone();
        let mut exchange = Exchange::new(span);
        if let Some(handle) = exchange.share() {
            parts.extensions.insert(handle);
        }
        let mut exchange = Some(exchange);
        let inner = during(&mut exchange, || {
            let _guard = captured.attach();
            self.inner.call(Request::from_parts(parts, body))
        });
        ServerResponseFuture::new(inner, captured, exchange, self.error_type.clone(), head_only)
    }
}

/// Starts the span of a request, and records what is known of it by now.
fn begin(shared: &Shared, parts: &Parts) -> ServerSpan {
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let route = (shared.route)(parts);
    let mut span = ServerSpan::begin(&shared.tracer, &parts.headers, &parts.method, target, None, route);
    if span.is_recording() {
        if shared.https {
            span.set_attribute("url.scheme", Value::constant("https"));
        }
        span.record_request_line(&parts.uri, parts.version);
    }
    span
}
