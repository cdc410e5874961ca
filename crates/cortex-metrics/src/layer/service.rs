use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::body::ResponseBody;
use super::during::during;
use super::error_type::ErrorType;
use super::exchange::Exchange;
use super::future::ResponseFuture;
use super::shared::Shared;

/// Measures the requests of an inner service; made by [`MetricsLayer`](super::MetricsLayer).
///
/// It is ready when the inner service is, and gives up nothing to it: requests go on unchanged, and so do errors and
/// panics.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Registry, layer::{MetricsLayer, MetricsService}};
/// use tower::Layer;
///
/// let layer = MetricsLayer::server(&Registry::default())?;
/// let service: MetricsService<&str> = layer.layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// # Ok::<(), cortex_metrics::RegisterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MetricsService<S, C = ()> {
    inner: S,
    shared: Arc<Shared>,
    error_type: C,
}

impl<S, C> MetricsService<S, C> {
    pub(super) const fn new(inner: S, shared: Arc<Shared>, error_type: C) -> Self {
        Self {
            inner,
            shared,
            error_type,
        }
    }
}

impl<S, C, R, B> Service<Request<R>> for MetricsService<S, C>
where
    S: Service<Request<R>, Response = Response<B>>,
    B: Body,
    C: ErrorType<S::Error> + Clone,
{
    type Response = Response<ResponseBody<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let head_only = parts.method == Method::HEAD;
        let mut exchange = Some(Exchange::begin(&self.shared, &parts));
        let request = Request::from_parts(parts, body);
        let inner = during(&mut exchange, || self.inner.call(request));
        ResponseFuture::new(inner, exchange, self.error_type.clone(), head_only)
    }
}
