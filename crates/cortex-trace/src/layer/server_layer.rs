use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;

use super::route::Route;
use super::server_service::TraceServer;
use crate::Tracer;

/// Makes a span of each request that a service answers, below the caller's span if the request names one.
///
/// The span ends with the body of the response. Its name has the route if one is known: from the request's extensions,
/// by [`route`](Self::route), or set through a [`SpanHandle`](super::SpanHandle). The [module](super) says more.
///
/// # Performance
///
/// A request that is not sampled costs no allocation, unless it has a `tracestate`, and no reading of the clock.
///
/// # Examples
///
/// ```
/// use cortex_core::Context;
/// use cortex_trace::{Tracer, layer::TraceServerLayer};
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// let tracer = Tracer::builder("shop").build()?;
/// let hello = TraceServerLayer::new(tracer).layer(service_fn(async |_: Request<()>| {
///     let trace = Context::current().trace_id().expect("there is a span");
///     Ok::<_, std::io::Error>(Response::new(Full::<bytes::Bytes>::from(trace.to_string())))
/// }));
///
/// let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
/// let request = Request::get("/hello").header("traceparent", caller).body(())?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let answer = hello.oneshot(request).await?;
/// let body = http_body_util::BodyExt::collect(answer.into_body()).await?.to_bytes();
/// assert_eq!(body, "4bf92f3577b34da6a3ce929d0e0e4736");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TraceServerLayer<C = ()> {
    shared: Arc<Shared>,
    error_type: C,
}

pub(super) type RouteOf = dyn Fn(&Parts) -> Option<&str> + Send + Sync;

/// What all services of a layer have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) tracer: Tracer,
    pub(super) route: Arc<RouteOf>,
    pub(super) https: bool,
}

impl TraceServerLayer {
    /// Makes a layer that makes its spans with this tracer.
    pub fn new(tracer: Tracer) -> Self {
        let shared = Shared {
            tracer,
            route: Arc::new(Route::extension),
            https: false,
        };
        Self {
            shared: Arc::new(shared),
            error_type: (),
        }
    }
}

impl<C> TraceServerLayer<C> {
    /// Sets what names the route of a request before it is served; [`Route::extension`] without this. It must return a
    /// template, never the path itself. Samplers see it.
    ///
    /// For axum, inside of the router:
    ///
    /// ```ignore
    /// let layer = TraceServerLayer::new(tracer).route(|parts| {
    ///     parts.extensions.get::<axum::extract::MatchedPath>().map(|path| path.as_str())
    /// });
    /// let app = Router::new().route("/users/{id}", get(show_user)).layer(layer);
    /// ```
    #[must_use]
    pub fn route(mut self, route: impl Fn(&Parts) -> Option<&str> + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.shared).route = Arc::new(route);
        self
    }

    /// Says whether requests come over TLS when their URI does not say; `false` without this. It is `url.scheme`.
    #[must_use]
    pub fn https(mut self, https: bool) -> Self {
        Arc::make_mut(&mut self.shared).https = https;
        self
    }

    /// Sets what names the errors of the service, as [`ErrorType`](super::ErrorType) says; all are `_OTHER` without
    /// this.
    pub fn error_type<D>(self, error_type: D) -> TraceServerLayer<D> {
        TraceServerLayer {
            shared: self.shared,
            error_type,
        }
    }
}

impl<S, C: Clone> Layer<S> for TraceServerLayer<C> {
    type Service = TraceServer<S, C>;

    fn layer(&self, inner: S) -> TraceServer<S, C> {
        TraceServer::new(inner, Arc::clone(&self.shared), self.error_type.clone())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("tracer", &self.tracer)
            .field("https", &self.https)
            .finish_non_exhaustive()
    }
}
