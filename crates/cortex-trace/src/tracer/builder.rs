use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "bridge")]
use std::sync::OnceLock;
use std::time::Duration;

use cortex_core::{Clock, TscClock};
use http::Method;

use super::Tracer;
use super::handle::Inner;
use super::wall::Wall;
use crate::export::{Exporter, Limits, Pipeline};
use crate::propagation::Propagators;
use crate::redact::Redact;
use crate::sampler::{AlwaysOn, ParentBased, Presumed, Sampler};
use crate::span::Methods;
use crate::tail::{Store, Tail};
use crate::{Attribute, BuildError, BuildErrorKind, Value};

/// Describes a [`Tracer`] before it is built.
///
/// Without a sampler it follows the caller's decision and records every trace that starts here.
///
/// # Examples
///
/// ```
/// use cortex_trace::{ExportError, Exporter, SpanData, Tracer};
///
/// struct Count(std::sync::mpsc::Sender<usize>);
///
/// impl Exporter for Count {
///     fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
///         self.0.send(batch.len()).map_err(ExportError::new)
///     }
/// }
///
/// let (sender, counts) = std::sync::mpsc::channel();
/// let tracer = Tracer::builder("shop")
///     .resource("service.version", "1.4.2")
///     .export(Count(sender))
///     .build()?;
/// drop(tracer.span("restock").start());
/// tracer.shutdown_blocking(std::time::Duration::from_secs(60))?;
/// assert_eq!(counts.iter().sum::<usize>(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "call `build`"]
pub struct TracerBuilder {
    pub(super) resource: Resource,
    pub(super) sampler: Box<dyn Sampler>,
    clock: Box<dyn Clock>,
    exporters: Vec<Box<dyn Exporter>>,
    pub(super) limits: Limits,
    restart: bool,
    pub(super) propagators: Propagators,
    pub(super) methods: Methods,
    secrets_of_queries: Redact,
    /// Records nothing, whatever else was set.
    pub(super) disabled: bool,
    tail: Option<Tail>,
}

impl TracerBuilder {
    pub(super) fn new(service: String) -> Self {
        Self {
            resource: Resource {
                attributes: vec![Attribute::new("service.name", service)],
            },
            sampler: Box::new(ParentBased::root(AlwaysOn)),
            clock: Box::new(TscClock),
            exporters: Vec::new(),
            limits: Limits::default(),
            restart: false,
            propagators: Propagators::default(),
            methods: Methods::default(),
            secrets_of_queries: Redact::of_queries(),
            disabled: false,
            tail: None,
        }
    }

    /// Sets who decides which traces are recorded.
    pub fn sampler(mut self, sampler: impl Sampler + 'static) -> Self {
        self.sampler = Box::new(sampler);
        self
    }

    /// Looks at each local trace when it is over, and keeps what matters though the sampler has not kept it.
    pub fn tail(mut self, tail: Tail) -> Self {
        self.tail = Some(tail);
        self
    }

    /// Adds an exporter. Each gets every span that is kept, on a thread and behind a queue of its own.
    pub fn export(mut self, exporter: impl Exporter) -> Self {
        self.exporters.push(Box::new(exporter));
        self
    }

    /// Sets the clock; [`TscClock`] without it.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Adds an attribute that describes the service as a whole, such as `service.version`.
    pub fn resource(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.resource.set(key, value.into());
        self
    }

    /// Starts a new trace for every received request, with a link to the caller's span, and takes over neither its
    /// sampling decision nor its `tracestate`: for a service at the border, whose callers are strangers. Their baggage
    /// is no part of the trace, and stays.
    pub const fn restart_traces(mut self) -> Self {
        self.restart = true;
        self
    }

    /// Sets the formats in which trace context is received and sent; those of W3C without it.
    ///
    /// ```
    /// use cortex_trace::Tracer;
    /// use http::{HeaderMap, Method, Uri};
    ///
    /// let tracer = Tracer::builder("shop").propagators("tracecontext,b3".parse()?).build()?;
    /// let mut headers = HeaderMap::new();
    /// tracer.client(&Method::GET, &Uri::from_static("http://stock.internal/7")).inject(&mut headers);
    /// assert!(headers.contains_key("traceparent") && headers.contains_key("b3"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn propagators(mut self, propagators: Propagators) -> Self {
        self.propagators = propagators;
        self
    }

    /// Sets the methods of HTTP that are recorded by their names, in place of those of RFC 9110, PATCH and QUERY; case
    /// matters. All others are `_OTHER` as `http.request.method`, and `HTTP` in the names of spans: whatever callers send,
    /// there are few names.
    ///
    /// ```
    /// use cortex_trace::Tracer;
    /// use http::Method;
    ///
    /// let methods = [Method::GET, Method::HEAD, Method::from_bytes(b"PURGE")?];
    /// let tracer = Tracer::builder("cache").known_methods(methods).build()?;
    /// # drop(tracer);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn known_methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods = Methods::new(methods);
        self
    }

    /// Adds names of parameters whose values are not recorded in `url.query` and `url.full`; `REDACTED` stands there.
    ///
    /// Without this these are the names of fields that logs hide, `token`, `api_key` and `password` for instance, and
    /// `AWSAccessKeyId`, `Signature`, `X-Amz-Credential`, `X-Amz-Security-Token`, `X-Amz-Signature`, `X-Goog-Signature`
    /// and `sig`. Names are compared as whoever reads the query sees them, without percent encoding, and in any case, with
    /// `-` for `_`; of `user.password` the last part counts, of `user[password][0]` every one.
    ///
    /// ```
    /// use cortex_core::{Clock, SystemClock};
    /// use cortex_trace::{InMemory, ServerStart, Tracer};
    /// use http::{HeaderMap, Method};
    /// use std::time::Duration;
    ///
    /// let spans = InMemory::new();
    /// let tracer = Tracer::builder("shop").redact_query(["iban"]).export(spans.clone()).build()?;
    /// let path = "/pay?sum=7&iban=DE02&token=hunter2";
    /// drop(tracer.server(&HeaderMap::new(), ServerStart { method: &Method::GET, path, start: SystemClock.now() }));
    /// tracer.flush_blocking(Duration::from_secs(60))?;
    /// let query = spans.spans()[0].attribute("url.query").map(ToString::to_string);
    /// assert_eq!(query.as_deref(), Some("sum=7&iban=REDACTED&token=REDACTED"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn redact_query<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.secrets_of_queries.add(names);
        self
    }

    /// Sets how many spans may wait for each exporter, 8192 without it; more are dropped and counted.
    pub const fn queue_capacity(mut self, spans: usize) -> Self {
        self.limits.capacity = spans;
        self
    }

    /// Sets how much memory spans that wait for each exporter may take, about 64 MiB without it; more are dropped and
    /// counted. One that is larger by itself waits alone.
    pub const fn queue_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Sets how many spans an exporter gets at once at most, 512 without it. Large spans come in smaller batches: one of
    /// more than a span takes 4 MB of memory at most, as a collector refuses larger requests, or half of the queue's.
    pub const fn batch_size(mut self, spans: usize) -> Self {
        self.limits.batch = spans;
        self
    }

    /// Sets how long a batch that is not full waits for more, 1 s without it.
    pub const fn batch_delay(mut self, delay: Duration) -> Self {
        self.limits.delay = delay;
        self
    }

    #[cfg(feature = "telemetry")]
    pub(crate) const fn is_disabled(&self) -> bool {
        self.disabled
    }

    #[cfg(all(feature = "telemetry", feature = "otlp"))]
    pub(crate) const fn described(&self) -> &Resource {
        &self.resource
    }

    /// Builds the tracer and starts a thread per exporter.
    ///
    /// # Errors
    ///
    /// The service has no name, a limit is zero, or a thread did not start.
    pub fn build(self) -> Result<Tracer, BuildError> {
        if self.disabled {
            return Ok(Tracer::propagate_only_with(self.propagators));
        }
        if self.resource.service_name().is_empty() {
            return Err(BuildError::new(BuildErrorKind::ServiceName));
        }
        let limits = self.limits.checked()?;
        let untracked = Arc::default();
        let pipeline = Pipeline::start(self.exporters, &self.resource, limits, &untracked)
            .map_err(BuildError::thread)?;
        Ok(Tracer::new(Inner {
            asks_children: self.sampler.asks_children(),
            presumed: Presumed::default(),
            tail: self.tail.map(|tail| Store::new(tail, self.clock.now())),
            sampler: Some(self.sampler),
            untracked,
            #[cfg(feature = "bridge")]
            inboxes: OnceLock::new(),
            wall: Wall::default(),
            clock: self.clock,
            restart: self.restart,
            propagators: self.propagators,
            methods: self.methods,
            secrets_of_queries: self.secrets_of_queries,
            pipeline,
        }))
    }
}

impl fmt::Debug for TracerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracerBuilder")
            .field("resource", &self.resource)
            .field("exporters", &self.exporters.len())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What all spans of a tracer have in common: the service.
///
/// # Examples
///
/// ```
/// use cortex_trace::{ExportError, Exporter, ExporterStart, SpanData};
///
/// struct Lines { service: String }
///
/// impl Exporter for Lines {
///     fn begin(&mut self, start: ExporterStart<'_>) {
///         self.service = start.resource.service_name().into_owned();
///     }
///     fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
///         Ok(())
///     }
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    attributes: Vec<Attribute>,
}

impl Resource {
    #[cfg(all(feature = "otlp", feature = "logs"))]
    pub(crate) fn of_service(name: String) -> Self {
        Self {
            attributes: vec![Attribute::new("service.name", name)],
        }
    }

    /// Sets an attribute, in place of one with the same key.
    pub(crate) fn set(&mut self, key: impl Into<Cow<'static, str>>, value: Value) {
        let key = key.into();
        self.attributes.retain(|attribute| attribute.key != key);
        self.attributes.push(Attribute::new(key, value));
    }

    /// Returns the name of the service.
    pub fn service_name(&self) -> Cow<'_, str> {
        self.attributes
            .iter()
            .find(|attribute| attribute.key == "service.name")
            .map(|attribute| match &attribute.value {
                Value::Str(name) => Cow::Borrowed(&**name),
                other => Cow::Owned(other.to_string()),
            })
            .unwrap_or_default()
    }

    /// Returns the attributes, `service.name` among them.
    pub fn attributes(&self) -> &[Attribute] {
        &self.attributes
    }
}
