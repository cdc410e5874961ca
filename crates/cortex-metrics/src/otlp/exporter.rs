use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cortex_core::{Clock, SystemClock};
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use http_body::Body;
use tokio::sync::{Semaphore, mpsc};
use tower_service::Service;

use super::encode::Frame;
use super::env::Env;
use super::error::{OtlpError, OtlpErrorKind as Kind};
use super::inbox::Inbox;
use super::pusher::{Pusher, Source};
use super::stats::Tally;
use super::transport::Transport;
use super::worker::Worker;
use super::{OtlpBody, OtlpHandle};
use crate::{RegisterError, Registry};

const ENDPOINT: &str = "http://localhost:4318/v1/metrics";

/// What nginx takes unless told otherwise, as the least of what is often in front of a collector, is 1 MiB.
const MAX_BYTES: usize = 1_000_000;

const USER: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Pushes what a registry has to an OpenTelemetry collector, at regular intervals, over OTLP with HTTP and protobuf.
///
/// What is pushed is what is scraped, and both may go on side by side:
///
/// | here | in OTLP |
/// |---|---|
/// | counter | monotonic sum, cumulative, since the counter was made; the name without `_total` |
/// | gauge, and what has no type | gauge |
/// | histogram with classic buckets | histogram |
/// | histogram with native buckets, even if it has classic ones, too | exponential histogram, with at most 1,024 buckets a side |
/// | info | gauge that is always 1; the name with `_info` |
/// | state set | gauge that is 1 or 0 for each state |
/// | exemplar | exemplar: `trace_id` and `span_id` are its ids, other labels its attributes |
/// | unit, such as `seconds` or `bytes_per_second` | unit of UCUM: `s`, `By/s` |
///
/// Names keep their unit, as the [specification] wants it, unless [`trim_units`](Self::trim_units) says otherwise. The
/// metadata `prometheus.type` of each metric has its type. The sum of a histogram that takes negative values is left
/// out, because OTLP forbids it.
///
/// A request that the collector cannot take now (429, 502, 503, 504), or that does not reach it, is sent again after a
/// growing, random time, or the one that the collector asks for if that is longer, until the next interval. Then it is
/// given up: the next push has all counts that it had. Other answers are final. At most one push is in memory.
///
/// A push of more than [`max_request_bytes`](Self::max_request_bytes) is sent in several requests, one after the other.
/// One that the collector refuses does not keep the others back, and the push fails then. One that is given up does: the
/// next push begins with those behind it.
///
/// [specification]: https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#metric-metadata
///
/// # Examples
///
/// ```no_run
/// use cortex_metrics::{OtlpExporter, Registry};
/// use std::time::Duration;
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let registry = Registry::default();
/// let exporter = OtlpExporter::http(&registry)
///     .endpoint("http://collector:4318/v1/metrics")
///     .resource("service.name", "shop")
///     .resource("service.instance.id", "shop-1");
/// let handle = exporter.start()?;
/// // .. the program runs ..
/// handle.shutdown(Duration::from_secs(5)).await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "an exporter does nothing until `start`"]
pub struct OtlpExporter {
    registry: Registry,
    endpoint: String,
    headers: Vec<(String, String)>,
    frame: Frame,
    interval: Duration,
    timeout: Duration,
    gzip: bool,
    client: Option<Transport>,
    clock: Arc<dyn Clock>,
    tally: Arc<Tally>,
}

impl OtlpExporter {
    /// Makes an exporter for everything in a registry, to a collector on this machine.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_metrics::{OtlpExporter, Registry};
    ///
    /// let exporter = OtlpExporter::http(&Registry::default());
    /// assert!(format!("{exporter:?}").contains("http://localhost:4318/v1/metrics"));
    /// ```
    pub fn http(registry: &Registry) -> Self {
        Self {
            registry: registry.clone(),
            endpoint: ENDPOINT.to_owned(),
            headers: vec![(USER_AGENT.as_str().to_owned(), USER.to_owned())],
            frame: Frame {
                resource: vec![("service.name".to_owned(), "unknown_service".to_owned())],
                trims_units: false,
                max_bytes: MAX_BYTES,
            },
            interval: Duration::from_mins(1),
            timeout: Duration::from_secs(30),
            gzip: false,
            client: None,
            clock: Arc::new(SystemClock),
            tally: Arc::default(),
        }
    }

    /// Makes an exporter as the environment says: `OTEL_EXPORTER_OTLP_ENDPOINT`, `_HEADERS`, `_TIMEOUT`, `_COMPRESSION`
    /// and `_PROTOCOL`, or those that start with `OTEL_EXPORTER_OTLP_METRICS_` instead; `OTEL_METRIC_EXPORT_INTERVAL`,
    /// `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`.
    ///
    /// Nothing else reads them. What is set afterwards goes before them.
    ///
    /// # Errors
    ///
    /// One of them is malformed, or asks for what there is not: another protocol than `http/protobuf`, or gzip without
    /// the feature of that name.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_metrics::{OtlpExporter, Registry};
    ///
    /// let exporter = OtlpExporter::from_env(&Registry::default())?.resource("service.name", "shop");
    /// assert!(format!("{exporter:?}").contains("shop"));
    /// # Ok::<(), cortex_metrics::OtlpError>(())
    /// ```
    pub fn from_env(registry: &Registry) -> Result<Self, OtlpError> {
        let env = Env::read(std::env::var_os)?;
        let mut exporter = Self::http(registry);
        exporter.endpoint = env.endpoint.unwrap_or(exporter.endpoint);
        exporter.gzip = env.gzip;
        if let Some(timeout) = env.timeout {
            exporter = exporter.timeout(timeout);
        }
        if let Some(interval) = env.interval {
            exporter = exporter.interval(interval);
        }
        for (name, value) in env.headers {
            exporter = exporter.header(name, value);
        }
        for (key, value) in env.resource {
            exporter = exporter.resource(key, value);
        }
        Ok(exporter)
    }

    /// Sets the URL that requests go to, with its path; `http://localhost:4318/v1/metrics` unless set.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = url.into();
        self
    }

    /// Adds a header to requests, or replaces it: one that says who pushes, for example.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(&name));
        self.headers.push((name, value.into()));
        self
    }

    /// Adds an attribute to the resource, or replaces it: what all these metrics are of.
    ///
    /// `service.name` should be set, and `service.instance.id` has to be if there is more than one of the service,
    /// since a collector cannot tell their series apart otherwise.
    pub fn resource(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let key = key.into();
        self.frame.resource.retain(|(known, _)| *known != key);
        self.frame.resource.push((key, value.into()));
        self
    }

    /// Sets the time from one push to the next; a minute unless set, and at least a second.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_secs(1));
        self
    }

    /// Sets how long one request may take, up to the end of its answer; 30 seconds unless set, and at least a
    /// millisecond.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// Sets how many bytes a request has at most, before it is compressed; a million unless set. What does not fit goes
    /// into further requests, and only a single data point that is longer goes beyond it.
    ///
    /// Collectors answer 413 to more than they take: the one of OpenTelemetry takes 20 MiB, but nginx in front of it
    /// 1 MiB, unless told otherwise.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Bytes;
    /// use cortex_metrics::{Counter, DynamicFamily, OtlpBody, OtlpExporter, Registry};
    /// use http_body::Body;
    /// use http_body_util::Empty;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = tower::service_fn(|request: http::Request<OtlpBody>| async move {
    ///     assert!(request.body().size_hint().exact() <= Some(10_000));
    ///     Ok::<_, std::io::Error>(http::Response::new(Empty::<Bytes>::new()))
    /// });
    /// let registry = Registry::default();
    /// let jobs = DynamicFamily::new(["id"], Counter::default);
    /// registry.register("jobs", "Jobs done.", jobs.clone())?;
    /// (0..1000).for_each(|id: u32| jobs.with([&*id.to_string()], Counter::inc));
    /// let exporter = OtlpExporter::http(&registry).max_request_bytes(10_000);
    /// let handle = exporter.client(client).start()?;
    /// handle.flush().await?;
    /// assert_eq!(handle.stats().accepted_points, 1000);
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.frame.max_bytes = bytes;
        self
    }

    /// Sets whether requests are compressed with gzip; off unless set.
    #[cfg(feature = "gzip")]
    pub fn gzip(mut self, gzip: bool) -> Self {
        self.gzip = gzip;
        self
    }

    /// Sets whether names lose what the unit says, too, as names of OpenTelemetry do: `up_seconds` becomes `up` with
    /// the unit `s`; off unless set.
    ///
    /// A receiver that writes Prometheus' names appends the unit again. That of a `ratio` stays unless it is a gauge's,
    /// because such a receiver appends only that.
    pub fn trim_units(mut self, trim: bool) -> Self {
        self.frame.trims_units = trim;
        self
    }

    /// Sends requests by a client of yours, for example one that speaks TLS. The one that comes along is plain
    /// HTTP/1.1.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Bytes;
    /// use cortex_metrics::{Counter, OtlpBody, OtlpExporter, Registry};
    /// use http_body_util::Empty;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = tower::service_fn(|request: http::Request<OtlpBody>| async move {
    ///     assert_eq!(request.uri(), "https://collector/v1/metrics");
    ///     Ok::<_, std::io::Error>(http::Response::new(Empty::<Bytes>::new()))
    /// });
    /// let registry = Registry::default();
    /// registry.register("jobs", "Jobs done.", Counter::default())?;
    /// let handle = OtlpExporter::http(&registry)
    ///     .endpoint("https://collector/v1/metrics")
    ///     .client(client)
    ///     .start()?;
    /// handle.flush().await?;
    /// assert_eq!(handle.stats().accepted_points, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn client<S, B>(mut self, client: S) -> Self
    where
        S: Service<Request<OtlpBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        S::Future: Send,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        self.client = Some(Transport::new(client));
        self
    }

    /// Sets the clock that says when the numbers were read.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Registers metrics about the pushes: `cortex_metrics_pushes`, `cortex_metrics_push_retries` and
    /// `cortex_metrics_push_points`.
    ///
    /// # Errors
    ///
    /// One of these names is taken, such as by another exporter; those before it stay registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_metrics::{OtlpExporter, Registry};
    ///
    /// let registry = Registry::default();
    /// let exporter = OtlpExporter::http(&registry).observe(&registry)?;
    /// assert!(registry.to_text().contains("cortex_metrics_pushes_total{outcome=\"failed\"} 0\n"));
    /// # Ok::<(), cortex_metrics::RegisterError>(())
    /// ```
    pub fn observe(self, registry: &Registry) -> Result<Self, RegisterError> {
        self.tally.register(registry)?;
        Ok(self)
    }

    /// Starts the task that pushes, the first time after one interval, in the tokio runtime that is current: its time
    /// has to be enabled, and its I/O for the client that comes along.
    ///
    /// # Errors
    ///
    /// The endpoint or a header is invalid, the endpoint needs another client, or there is no runtime.
    pub fn start(self) -> Result<OtlpHandle, OtlpError> {
        let endpoint = endpoint(&self.endpoint)?;
        let headers = headers(&self.headers)?;
        let transport = match self.client {
            Some(client) => client,
            None if endpoint.scheme_str() == Some("https") => {
                let endpoint = self.endpoint;
                return Err(OtlpError::new(Kind::NeedsClient { endpoint }));
            }
            None => Transport::plain(),
        };
        let runtime = tokio::runtime::Handle::try_current()
            .map_err(|error| OtlpError::caused(Kind::NoRuntime, error.into()))?;
        let (commands, inbox) = mpsc::unbounded_channel();
        let worker = Worker {
            pusher: Pusher {
                source: Source {
                    registry: self.registry,
                    frame: Arc::new(self.frame),
                    clock: self.clock,
                    gzip: self.gzip,
                    turn: Arc::new(Semaphore::new(1)),
                },
                transport,
                endpoint,
                headers,
                timeout: self.timeout,
            },
            inbox: Inbox::new(inbox),
            interval: self.interval,
            tally: Arc::clone(&self.tally),
            random: fastrand::Rng::new(),
            not_before: None,
            begin: 0,
        };
        drop(runtime.spawn(worker.run())); // it ends with the handle
        Ok(OtlpHandle::new(commands, self.tally))
    }
}

impl fmt::Debug for OtlpExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("OtlpExporter")
            .field("endpoint", &without_user(&self.endpoint))
            .field("headers", &headers)
            .field("resource", &self.frame.resource)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .field("gzip", &self.gzip)
            .finish_non_exhaustive()
    }
}

fn endpoint(url: &str) -> Result<Uri, OtlpError> {
    let is_valid = |uri: &Uri| {
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let host = uri.host().filter(|host| !host.is_empty());
        // None if there is a user name in between.
        let port = host.and_then(|host| uri.authority()?.as_str().strip_prefix(host));
        is_http && port.is_some_and(|port| port.is_empty() || uri.port_u16().is_some())
    };
    url.parse().ok().filter(is_valid).ok_or_else(|| {
        let endpoint = without_user(url).to_owned();
        OtlpError::new(Kind::InvalidEndpoint { endpoint })
    })
}

/// Returns what follows a user name and a password, which nobody needs to see.
fn without_user(url: &str) -> &str {
    url.rsplit_once('@').map_or(url, |(_, rest)| rest)
}

fn headers(pairs: &[(String, String)]) -> Result<HeaderMap, OtlpError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let pair = HeaderName::try_from(name)
            .ok()
            .zip(HeaderValue::try_from(value).ok());
        let Some((header, mut value)) = pair else {
            let name = name.clone();
            return Err(OtlpError::new(Kind::InvalidHeader { name }));
        };
        value.set_sensitive(header != USER_AGENT);
        headers.insert(header, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_checked() {
        for good in [
            "http://localhost:4318/v1/metrics",
            "http://[::1]:4318",
            "https://c.example/x?y=z",
        ] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "localhost",
            "localhost:4318",
            "/v1/metrics",
            "grpc://c:4317",
            "http://",
            "http://c:x/",
            "http:///v1",
            "http://a b/",
        ] {
            let kind = endpoint(bad).unwrap_err().kind().clone();
            assert_eq!(kind, Kind::InvalidEndpoint { endpoint: bad.into() });
        }
        let secret = endpoint("http://user:secret@c/").unwrap_err().to_string();
        assert!(!secret.contains("secret"), "{secret}");
    }

    #[test]
    fn secrets_are_not_shown() {
        let exporter = OtlpExporter::http(&Registry::default())
            .endpoint("http://user:secret@c/")
            .header("Authorization", "other")
            .header("authorization", "secret");
        assert!(!format!("{exporter:?}").contains("secret"));
        let headers = headers(&exporter.headers).unwrap();
        assert!(!format!("{headers:?}").contains("secret"));
        assert_eq!(headers["authorization"], "secret");
        assert_eq!(headers["user-agent"], USER);
    }

    #[test]
    fn a_start_outside_of_a_runtime_is_refused() {
        let error = OtlpExporter::http(&Registry::default()).start().unwrap_err();
        assert_eq!(*error.kind(), Kind::NoRuntime);
        assert!(error.source().is_some());
    }

    #[tokio::test]
    async fn tls_needs_a_client() {
        let exporter = OtlpExporter::http(&Registry::default()).endpoint("https://c/");
        let error = exporter.start().unwrap_err();
        assert_eq!(
            *error.kind(),
            Kind::NeedsClient {
                endpoint: "https://c/".into()
            }
        );
    }
}
