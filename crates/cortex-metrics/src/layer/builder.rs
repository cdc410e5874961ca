use std::fmt;

use cortex_core::{Clock, TscClock};
use http::request::Parts;

use super::instruments::{ClientMetrics, Plan, ServerMetrics};
use super::metrics_layer::MetricsLayer;
use super::route::Route;
use super::shared::{RouteOf, Shared, Side};
use crate::{Buckets, RegisterError, Registry};

/// The settings of a [`MetricsLayer`] to be.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Buckets, Registry, layer::{MetricsLayer, Route}};
///
/// let registry = Registry::default();
/// let layer = MetricsLayer::builder()
///     .buckets(Buckets::exponential(0.001, 4.0, 7).unwrap())
///     .max_series(500)
///     .route(|parts| parts.uri.path().starts_with("/static/").then(|| Route::from("/static/{*path}")))
///     .server(&registry)?;
/// assert!(MetricsLayer::server(&registry).is_err()); // it has the metrics: clone the layer instead
/// # drop(layer);
/// # Ok::<(), cortex_metrics::RegisterError>(())
/// ```
#[must_use = "settings do nothing until `server` or `client` is called"]
pub struct MetricsLayerBuilder<C = ()> {
    plan: Plan,
    clock: Box<dyn Clock>,
    route: Box<RouteOf>,
    https: bool,
    error_type: C,
}

impl MetricsLayerBuilder {
    pub(super) fn new() -> Self {
        Self {
            plan: Plan {
                seconds: Buckets::http_seconds(),
                sizes: None,
                max_series: None,
            },
            clock: Box::new(TscClock),
            route: Box::new(Route::extension),
            https: false,
            error_type: (),
        }
    }
}

impl<C> MetricsLayerBuilder<C> {
    /// Sets the buckets of the duration; [`Buckets::http_seconds`] by default.
    pub fn buckets(mut self, seconds: Buckets) -> Self {
        self.plan.seconds = seconds;
        self
    }

    /// Adds the metric of the length of responses' bodies, as far as they were handed over.
    ///
    /// Request bodies are not measured: what they declare is the word of whoever sends them, and to count their bytes
    /// would put every one of them in a wrapper.
    pub fn response_sizes(mut self, bytes: Buckets) -> Self {
        self.plan.sizes = Some(bytes);
        self
    }

    /// Bounds the series of each family; 2,000 by default. What exceeds it is counted as `__other__`.
    pub fn max_series(mut self, max: usize) -> Self {
        self.plan.max_series = Some(max);
        self
    }

    /// Sets what names the route of a request: the label `http_route` of a server, where no route is `unmatched`, and
    /// `url_template` of a client. It must return a template, never the path itself.
    ///
    /// By default that is [`Route::extension`]. With the feature `axum` there is `Route::matched_path`.
    pub fn route(mut self, route: impl Fn(&Parts) -> Option<Route> + Send + Sync + 'static) -> Self {
        self.route = Box::new(route);
        self
    }

    /// Says whether requests come, or go, over TLS when their URI does not say; `false` by default.
    ///
    /// It decides the label `url_scheme` of a server and the default `server_port` of a client.
    pub fn https(mut self, https: bool) -> Self {
        self.https = https;
        self
    }

    /// Sets the clock; [`TscClock`] by default.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Sets what names the errors of the service, as [`ErrorType`](super::ErrorType) says; all are `_OTHER` by default.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_metrics::{Registry, layer::MetricsLayer};
    ///
    /// let by_kind = |error: &std::io::Error| match error.kind() {
    ///     std::io::ErrorKind::TimedOut => "timeout",
    ///     _ => "_OTHER",
    /// };
    /// let layer = MetricsLayer::builder().error_type(by_kind).client(&Registry::default())?;
    /// # drop(layer);
    /// # Ok::<(), cortex_metrics::RegisterError>(())
    /// ```
    pub fn error_type<D>(self, error_type: D) -> MetricsLayerBuilder<D> {
        MetricsLayerBuilder {
            plan: self.plan,
            clock: self.clock,
            route: self.route,
            https: self.https,
            error_type,
        }
    }

    /// Registers the metrics of a server and makes the layer.
    ///
    /// # Errors
    ///
    /// The registry has metrics of these names already, maybe those of `cortex-http`, which measures by itself.
    pub fn server(self, registry: &Registry) -> Result<MetricsLayer<C>, RegisterError> {
        let metrics = ServerMetrics::register(registry, &self.plan)?;
        Ok(self.build(Side::Server(Box::new(metrics))))
    }

    /// Registers the metrics of a client and makes the layer.
    ///
    /// # Errors
    ///
    /// The registry has metrics of these names already.
    pub fn client(self, registry: &Registry) -> Result<MetricsLayer<C>, RegisterError> {
        let metrics = ClientMetrics::register(registry, &self.plan)?;
        Ok(self.build(Side::Client(metrics)))
    }

    fn build(self, side: Side) -> MetricsLayer<C> {
        let shared = Shared {
            clock: self.clock,
            route: self.route,
            https: self.https,
            side,
        };
        MetricsLayer::new(shared, self.error_type)
    }
}

impl<C> fmt::Debug for MetricsLayerBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsLayerBuilder")
            .field("plan", &self.plan)
            .field("https", &self.https)
            .finish_non_exhaustive()
    }
}
