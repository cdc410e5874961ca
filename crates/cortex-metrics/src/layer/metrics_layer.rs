use std::sync::Arc;

use tower_layer::Layer;

use super::builder::MetricsLayerBuilder;
use super::service::MetricsService;
use super::shared::Shared;
use crate::{RegisterError, Registry};

/// Measures the requests that a service serves, or that a client sends.
///
/// Clones, and every service made from it, count into the same metrics. The [module](super) says what is
/// measured.
///
/// # Performance
///
/// A request costs two reads of the clock, one look-up of a series and an atomic count in and out. It allocates
/// nothing, except when it is the first of a series.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Format, Registry, layer::{MetricsLayer, Route}};
/// use http::{Request, Response};
/// use http_body_util::Empty;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// let registry = Registry::default();
/// let hello = MetricsLayer::server(&registry)?.layer(service_fn(async |_: Request<Empty<&[u8]>>| {
///     Ok::<_, std::io::Error>(Response::new(Empty::<&[u8]>::new()))
/// }));
///
/// let request = Request::get("/hello/world").extension(Route::from("/hello/{name}"));
/// let request = request.body(Empty::new()).unwrap();
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// hello.oneshot(request).await.unwrap();
/// # });
///
/// let text = registry.to_text();
/// let labels = r#"http_request_method="GET",http_route="/hello/{name}",http_response_status_code="200""#;
/// let count = format!("http_server_request_duration_seconds_count{{{labels},error_type=\"\"}} 1\n");
/// assert!(text.contains(&count), "{text}");
/// # Ok::<(), cortex_metrics::RegisterError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MetricsLayer<C = ()> {
    shared: Arc<Shared>,
    error_type: C,
}

impl MetricsLayer {
    /// Makes a layer for a service that answers requests, with the defaults of [`builder`](Self::builder).
    ///
    /// # Errors
    ///
    /// The registry has metrics of these names already: a layer is made once and cloned.
    pub fn server(registry: &Registry) -> Result<Self, RegisterError> {
        Self::builder().server(registry)
    }

    /// Makes a layer for a client, with the defaults of [`builder`](Self::builder).
    ///
    /// # Errors
    ///
    /// The registry has metrics of these names already: a layer is made once and cloned.
    pub fn client(registry: &Registry) -> Result<Self, RegisterError> {
        Self::builder().client(registry)
    }

    /// Starts with the settings of a layer: whatever its metrics are made of has to be known when they are registered.
    pub fn builder() -> MetricsLayerBuilder {
        MetricsLayerBuilder::new()
    }
}

impl<C> MetricsLayer<C> {
    pub(super) fn new(shared: Shared, error_type: C) -> Self {
        Self {
            shared: Arc::new(shared),
            error_type,
        }
    }
}

impl<S, C: Clone> Layer<S> for MetricsLayer<C> {
    type Service = MetricsService<S, C>;

    fn layer(&self, inner: S) -> MetricsService<S, C> {
        MetricsService::new(inner, Arc::clone(&self.shared), self.error_type.clone())
    }
}
