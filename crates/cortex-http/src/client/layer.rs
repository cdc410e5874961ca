use std::sync::Arc;
use std::time::Duration;

use cortex_trace::Tracer;
use http::HeaderName;
use tower_layer::Layer;

use super::metrics::ClientMetrics;
use super::service::{Bounded, ClientService};
use super::settings::Settings;

/// Traces, measures and bounds the calls of whatever sends requests, as the [module](super) says.
///
/// It goes around one attempt: inside of retries, breakers and redirects.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cortex_http::client::ClientLayer;
/// use http::{Request, Response};
/// use std::time::Duration;
/// use tower::{Layer, ServiceExt, service_fn};
///
/// let layer = ClientLayer::new().timeout(Duration::from_secs(2));
/// // Anything that answers requests: reqwest in a `service_fn`, a tonic channel, a fake for a test.
/// let sender = service_fn(async |request: Request<String>| {
///     let left = request.headers()["x-request-timeout-ms"].to_str().map(ToOwned::to_owned);
///     Ok::<_, std::io::Error>(Response::new(left.unwrap_or_default()))
/// });
/// let request = Request::get("http://stock.internal/7").body(String::new())?;
/// let response = layer.layer(sender).oneshot(request).await?;
/// assert_eq!(response.into_body().text().await?, "2000");
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ClientLayer {
    pub(super) settings: Settings,
}

impl ClientLayer {
    /// Makes a layer with the defaults named at each setter.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a span for each call that this tracer samples. Default: trace context is passed on where there is some,
    /// nothing is recorded. No trace is begun then, which would be one that is not sampled, and would keep those who are
    /// called from sampling it.
    ///
    /// The span ends with the head of the answer. The address in it has no user name and no password, and of the query
    /// not what [`redact_query`](cortex_trace::TracerBuilder::redact_query) names.
    #[must_use]
    pub fn tracer(mut self, tracer: Tracer) -> Self {
        self.settings.tracer = Some(tracer);
        self
    }

    /// Counts and times calls. Default: nothing does.
    #[must_use]
    pub fn metrics(mut self, metrics: ClientMetrics) -> Self {
        self.settings.metrics = Some(metrics);
        self
    }

    /// Ends a call whose answer is not whole, body included, after this long. Default 30 s; [`Duration::MAX`] is no
    /// limit. A [`Timeout`](super::Timeout) in the request goes before it, and the deadline of the current context holds
    /// beside it.
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.settings.timeout = limit;
        self
    }

    /// Ends a body that is larger than this. Default 16 MiB. One that declares it is not even read.
    #[must_use]
    pub const fn body_bytes(mut self, bytes: u64) -> Self {
        self.settings.body_bytes = bytes;
        self
    }

    /// Ends a body that pauses for longer than this while its reader waits for more. Default 30 s; [`Duration::MAX`] is no
    /// limit.
    #[must_use]
    pub const fn body_idle(mut self, limit: Duration) -> Self {
        self.settings.body_idle = limit;
        self
    }

    /// Sets the header that says how many milliseconds are left for the answer. Default `x-request-timeout-ms`, which
    /// servers of this crate heed; `None` sends none.
    #[must_use]
    pub fn deadline_header(mut self, name: impl Into<Option<HeaderName>>) -> Self {
        self.settings.deadline_header = name.into();
        self
    }

    /// Sets which hosts get trace context, baggage and the deadline header; all do without this.
    ///
    /// The host is lowercase, without port, brackets and a dot at its end. A host that is refused gets none of it, even
    /// if the request had it already. Name your own where you call others, too: baggage may hold what is not for them.
    ///
    /// ```
    /// let layer = cortex_http::client::ClientLayer::new().propagate_to(|host| host.ends_with(".internal"));
    /// assert!(format!("{layer:?}").contains("propagates_to_all: false"));
    /// ```
    #[must_use]
    pub fn propagate_to(mut self, allows: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.settings.allows = Some(Arc::new(allows));
        self
    }
}

impl<S> Layer<S> for ClientLayer {
    type Service = ClientService<S>;

    fn layer(&self, inner: S) -> ClientService<S> {
        let bounded = Bounded::new(inner, Arc::new(self.settings.clone()));
        let begins_traces = self.settings.tracer.is_some();
        ClientService::new(self.settings.trace_layer().layer(bounded), begins_traces)
    }
}
