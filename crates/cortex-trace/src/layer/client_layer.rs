use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use tower_layer::Layer;

use super::client_service::TraceClient;
use super::route::Route;
use super::server_layer::RouteOf;
use crate::Tracer;

/// Makes a span of each request that a client sends, and puts its ids into the request, in place of any that it had.
///
/// The span begins with the call and ends with the head of the response, or when the future is dropped. Its parent is
/// what is [current](cortex_core::Context::current) at the call. The name is the method, and the template of the
/// address if the request has a [`Route`]; a [`ResendCount`](super::ResendCount) is recorded, too. User names,
/// passwords and signatures in the address are not. The [module](super) says where to put the layer.
///
/// # What leaves the process
///
/// Trace context goes into every request, unless [`propagate_to`](Self::propagate_to) says no: it holds random ids, but
/// a `tracestate` and baggage of your callers may hold more.
///
/// # Performance
///
/// A request that is not sampled costs a new span id and what its headers need.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Tracer, layer::TraceClientLayer};
/// use http::{Request, Response};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// let tracer = Tracer::builder("shop").build()?;
/// let ours = |host: &str| host == "stock.internal" || host.ends_with(".shop.example");
/// let client = TraceClientLayer::new(tracer).propagate_to(ours).layer(service_fn(
///     async |request: Request<()>| {
///         let sent = request.headers().contains_key("traceparent");
///         Ok::<_, std::io::Error>(Response::new(sent))
///     },
/// ));
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let inside = client.clone().oneshot(Request::get("http://stock.internal/7").body(())?).await?;
/// let outside = client.oneshot(Request::get("https://elsewhere.example/").body(())?).await?;
/// assert_eq!((inside.into_body(), outside.into_body()), (true, false));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct TraceClientLayer<C = ()> {
    shared: Arc<Shared>,
    error_type: C,
}

type Allows = dyn Fn(&str) -> bool + Send + Sync;

/// What all services of a layer have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) tracer: Tracer,
    pub(super) template: Arc<RouteOf>,
    /// None allows all.
    pub(super) propagate_to: Option<Arc<Allows>>,
    pub(super) https: bool,
}

impl TraceClientLayer {
    /// Makes a layer that makes its spans with this tracer.
    pub fn new(tracer: Tracer) -> Self {
        let shared = Shared {
            tracer,
            template: Arc::new(Route::extension),
            propagate_to: None,
            https: false,
        };
        Self {
            shared: Arc::new(shared),
            error_type: (),
        }
    }
}

impl<C> TraceClientLayer<C> {
    /// Sets which hosts get trace context; all do without this.
    ///
    /// The host is lowercase, without port, brackets and a dot at its end, and empty if the request names none. To a
    /// host that is refused goes nothing, in none of the formats that [`propagation`](crate::propagation) knows, nor
    /// `baggage`, even if the request had it, as one does that a proxy passes on. It is recorded all the same.
    #[must_use]
    pub fn propagate_to(mut self, allows: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.shared).propagate_to = Some(Arc::new(allows));
        self
    }

    /// Sets what names the template that a request's address was made from; [`Route::extension`] without this. It is
    /// asked only if the request is recorded.
    #[must_use]
    pub fn template(mut self, template: impl Fn(&Parts) -> Option<&str> + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.shared).template = Arc::new(template);
        self
    }

    /// Says whether requests go over TLS when their URI does not say; `false` without this.
    #[must_use]
    pub fn https(mut self, https: bool) -> Self {
        Arc::make_mut(&mut self.shared).https = https;
        self
    }

    /// Sets what names the errors of the client, as [`ErrorType`](super::ErrorType) says; all are `_OTHER` without this.
    pub fn error_type<D>(self, error_type: D) -> TraceClientLayer<D> {
        TraceClientLayer {
            shared: self.shared,
            error_type,
        }
    }
}

impl<S, C: Clone> Layer<S> for TraceClientLayer<C> {
    type Service = TraceClient<S, C>;

    fn layer(&self, inner: S) -> TraceClient<S, C> {
        TraceClient::new(inner, Arc::clone(&self.shared), self.error_type.clone())
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("tracer", &self.tracer)
            .field("propagates_to_all", &self.propagate_to.is_none())
            .field("https", &self.https)
            .finish_non_exhaustive()
    }
}
