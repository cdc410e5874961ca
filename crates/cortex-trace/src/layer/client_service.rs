use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{HeaderMap, Request, Response};
use tower_service::Service;

use super::client_future::ClientResponseFuture;
use super::client_layer::Shared;
use super::during::during;
use super::error_type::ErrorType;
use super::resend::ResendCount;
use super::target;
use crate::Span;

/// Traces the requests that an inner service sends; made by [`TraceClientLayer`](super::TraceClientLayer).
///
/// It is ready when the inner service is. Responses, errors and panics go on unchanged.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Tracer, layer::{TraceClient, TraceClientLayer}};
/// use tower::Layer;
///
/// let layer = TraceClientLayer::new(Tracer::propagate_only());
/// let service: TraceClient<&str> = layer.layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// ```
#[derive(Clone, Debug)]
pub struct TraceClient<S, C = ()> {
    inner: S,
    shared: Arc<Shared>,
    error_type: C,
}

impl<S, C> TraceClient<S, C> {
    pub(super) const fn new(inner: S, shared: Arc<Shared>, error_type: C) -> Self {
        Self {
            inner,
            shared,
            error_type,
        }
    }
}

impl<S, C, R, B> Service<Request<R>> for TraceClient<S, C>
where
    S: Service<Request<R>, Response = Response<B>>,
    C: ErrorType<S::Error> + Clone,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = ClientResponseFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        let span = begin(&self.shared, &mut parts);
        let captured = span.captured();
        let mut span = Some(span);
        let inner = during(&mut span, || {
            let _guard = captured.attach();
            self.inner.call(Request::from_parts(parts, body))
        });
        ClientResponseFuture::new(inner, captured, span, self.error_type.clone())
    }
}

/// Starts the span of a request, and puts its ids into the headers.
fn begin(shared: &Shared, parts: &mut Parts) -> Span {
    let allowed = shared
        .propagate_to
        .as_ref()
        .is_none_or(|allows| allows(&target::host(parts)));
    let mut span = Span::outgoing(&shared.tracer, &parts.method);
    if span.is_recording() {
        span.record_target(&target::whole(parts, shared.https));
        if let Some(template) = (shared.template)(parts) {
            span.record_template(&parts.method, template);
        }
        if let Some(ResendCount(count @ 1..)) = parts.extensions.get() {
            span.set_attribute("http.request.resend_count", *count);
        }
    }
    if allowed {
        span.inject(&mut parts.headers);
    } else {
        withhold(&mut parts.headers);
    }
    span
}

/// Removes trace context that came with the request from elsewhere.
fn withhold(headers: &mut HeaderMap) {
    for name in [
        "traceparent",
        "tracestate",
        "baggage",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-parentspanid",
        "x-b3-sampled",
        "x-b3-flags",
        "uber-trace-id",
    ] {
        headers.remove(name);
    }
}
