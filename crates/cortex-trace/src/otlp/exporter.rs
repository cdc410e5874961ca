use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use super::channel::Channel;
use super::env;
use super::error::OtlpError;
use super::sender::Patience;
use super::settings::{Encoding, Protocol, Settings, Signal};
use crate::{Abort, ExportError, Exporter, ExporterStart, Reporter, Resource, SpanData};

/// Sends spans to an OpenTelemetry collector over OTLP: HTTP with protobuf or JSON, or gRPC.
///
/// A request that the collector cannot take now, or that does not reach it, is sent again after a growing, random time,
/// or after the one that the collector asks for, up to a minute; other answers are final. HTTP statuses 429, 502, 503
/// and 504 and the gRPC codes that the specification lists are such answers. What a collector says it has not taken out
/// of a request that it took is never sent again, and counts as [`rejected`](crate::Stats::rejected). A batch that is
/// too large for collectors is sent in parts.
///
/// It lives on the thread that the tracer gives it, in a tokio runtime of its own: flushing and shutting down work on
/// any runtime or none. A collector that hangs costs this thread and, once the queue is full, spans that are counted.
/// An answer of any size costs 64 KiB. Redirects are not followed.
///
/// # TLS
///
/// With the feature `tls`, endpoints can be `https`. Without it they are refused, and a collector on this machine, or in
/// this pod, is the way to one far away.
///
/// Connections are made with TLS 1.3 or 1.2. The certificate of the collector must be for the host of the endpoint, and
/// signed by an authority that this machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR` say which, if they are set), or by
/// one that `ca_certificate_pem` or `OTEL_EXPORTER_OTLP_CERTIFICATE` names instead. `client_identity_pem`, or
/// `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE` and `_CLIENT_KEY`, say who this client is. Files are read when the exporter is
/// made, and again for each connection; one that cannot be used by then, or that a disk does not give within a second,
/// leaves what was read before. Nothing is set for the process as a whole.
///
/// What is wrong with a handshake is at once the [last error](crate::Tracer::last_errors) of the exporter,
/// [`OtlpErrorKind::Tls`](crate::OtlpErrorKind::Tls), which says what to do, and is told through `tracing` with the feature
/// `bridge` or `logs`. The batch is tried again meanwhile, as any other: certificates that are being renewed, at either end,
/// cost nothing. Only what no certificate and no clock can mend is final:
/// [`NotTls`](crate::TlsProblem::NotTls) and [`NothingInCommon`](crate::TlsProblem::NothingInCommon).
///
/// # Examples
///
/// ```
/// use cortex_trace::{Otlp, Tracer};
///
/// let tracer = Tracer::builder("shop")
///     .export(Otlp::http("http://localhost:4318")?)
///     .build()?;
/// assert_eq!(tracer.stats().enqueued, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// As the environment says, with `OTEL_EXPORTER_OTLP_ENDPOINT` and its like:
///
/// ```
/// use cortex_trace::Otlp;
/// use std::time::Duration;
///
/// let otlp = Otlp::from_env()?.header("x-tenant", "shop")?.timeout(Duration::from_secs(3));
/// assert!(format!("{otlp:?}").contains("/v1/traces"));
/// # Ok::<(), cortex_trace::OtlpError>(())
/// ```
#[must_use = "it is an exporter: give it to a tracer"]
pub struct Otlp {
    /// At least one of the signals is set up well; an error is told to whoever uses the other.
    traces: Result<Settings, OtlpError>,
    logs: Result<Settings, OtlpError>,
    patience: Patience,
    resource: Resource,
    abort: Abort,
    reporter: Option<Reporter>,
    channel: Option<Channel>,
}

impl Otlp {
    /// Makes an exporter over HTTP with protobuf, to a collector such as `http://localhost:4318`; the path `/v1/traces`
    /// is appended, and `/v1/logs` for logs.
    ///
    /// # Errors
    ///
    /// The URL is not valid, or is `https` without the feature `tls`.
    pub fn http(url: &str) -> Result<Self, OtlpError> {
        Self::new(Protocol::Http(Encoding::Protobuf), url)
    }

    /// Makes an exporter over HTTP with JSON; as [`http`](Self::http) otherwise.
    ///
    /// # Errors
    ///
    /// The URL is not valid, or is `https` without the feature `tls`.
    pub fn http_json(url: &str) -> Result<Self, OtlpError> {
        Self::new(Protocol::Http(Encoding::Json), url)
    }

    /// Makes an exporter over gRPC, to a collector such as `http://localhost:4317`.
    ///
    /// # Errors
    ///
    /// The URL is not valid, or is `https` without the feature `tls`.
    pub fn grpc(url: &str) -> Result<Self, OtlpError> {
        Self::new(Protocol::Grpc, url)
    }

    fn new(protocol: Protocol, url: &str) -> Result<Self, OtlpError> {
        Ok(Self::with(
            Ok(Settings::new(Signal::Traces, protocol, url)?),
            Ok(Settings::new(Signal::Logs, protocol, url)?),
        ))
    }

    /// Makes an exporter of spans as the environment says: `OTEL_EXPORTER_OTLP_ENDPOINT`, `_PROTOCOL`, `_HEADERS`, `_TIMEOUT`,
    /// `_COMPRESSION`, `_CERTIFICATE`, `_CLIENT_CERTIFICATE`, `_CLIENT_KEY` and `_INSECURE`, or those that start with `OTEL_EXPORTER_OTLP_TRACES_` and `OTEL_EXPORTER_OTLP_LOGS_` instead.
    ///
    /// Without them it is HTTP with protobuf to `http://localhost:4318`. A timeout is that of one request: how long a
    /// batch may be tried is [`retry_for`](Self::retry_for). What is set afterwards goes before them.
    ///
    /// For gRPC the endpoint may be a host and a port alone: it is `https` then, or `http` if `_INSECURE` is `true`.
    /// The variables of certificates and the key are the paths of files in PEM, and need the feature `tls`.
    ///
    /// What is wrong with a variable of logs alone is told by `OtlpLogsBuilder::start`, if that is given this exporter.
    ///
    /// # Errors
    ///
    /// One of them that spans need is malformed, or asks for what there is not, such as TLS or gzip
    /// without the feature of that name, or a file in it cannot be used; the error names it.
    pub fn from_env() -> Result<Self, OtlpError> {
        Self::from_variables(std::env::var_os)
    }

    /// Does what [`from_env`](Self::from_env) does, with variables from elsewhere.
    ///
    /// # Errors
    ///
    /// A variable that spans need is malformed, or asks for what there is not; the error names it.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::Otlp;
    /// use std::ffi::OsString;
    ///
    /// let otlp = Otlp::from_variables(|name| match name {
    ///     "OTEL_EXPORTER_OTLP_ENDPOINT" => Some(OsString::from("http://collector:4317")),
    ///     "OTEL_EXPORTER_OTLP_PROTOCOL" => Some(OsString::from("grpc")),
    ///     _ => None,
    /// })?;
    /// assert!(format!("{otlp:?}").contains("http://collector:4317/"));
    /// # Ok::<(), cortex_trace::OtlpError>(())
    /// ```
    pub fn from_variables(variable: impl Fn(&'static str) -> Option<OsString>) -> Result<Self, OtlpError> {
        let traces = env::read(Signal::Traces, &variable)?;
        Ok(Self::with(Ok(traces), env::read(Signal::Logs, &variable)))
    }

    /// Makes what [`OtlpLogsBuilder::start`](crate::OtlpLogsBuilder::start) takes as the environment says, by the same
    /// variables as [`from_env`](Self::from_env).
    ///
    /// What is wrong with a variable of spans alone is the error of every export, if a tracer is given this exporter.
    ///
    /// # Errors
    ///
    /// A variable that logs need is malformed, or asks for what there is not; the error names it.
    #[cfg(feature = "logs")]
    pub fn logs_from_env() -> Result<Self, OtlpError> {
        Self::logs_from_variables(std::env::var_os)
    }

    /// Does what [`logs_from_env`](Self::logs_from_env) does, with variables from elsewhere.
    ///
    /// # Errors
    ///
    /// A variable that logs need is malformed, or asks for what there is not; the error names it.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::{Otlp, OtlpLogs};
    ///
    /// let variable = |name| (name == "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").then(|| "a typing error".into());
    /// let logs = OtlpLogs::builder("shop").start(Otlp::logs_from_variables(variable)?)?;
    /// assert!(Otlp::from_variables(variable).is_err());
    /// # drop(logs);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "logs")]
    pub fn logs_from_variables(
        variable: impl Fn(&'static str) -> Option<OsString>,
    ) -> Result<Self, OtlpError> {
        let logs = env::read(Signal::Logs, &variable)?;
        Ok(Self::with(env::read(Signal::Traces, &variable), Ok(logs)))
    }

    fn with(traces: Result<Settings, OtlpError>, logs: Result<Settings, OtlpError>) -> Self {
        Self {
            traces,
            logs,
            patience: Patience {
                first: Duration::from_secs(1),
                all: Duration::from_mins(1),
            },
            resource: Resource::default(),
            abort: Abort::new(),
            reporter: None,
            channel: None,
        }
    }

    /// Adds a header to requests, or replaces it: one that says who sends, for example.
    ///
    /// # Errors
    ///
    /// HTTP allows no such name or value.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, OtlpError> {
        for settings in self.signals() {
            settings.header(name, value)?;
        }
        Ok(self)
    }

    /// Sets how long one request may take, up to the end of its answer; 10 seconds unless set, and at least a
    /// millisecond.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        let timeout = timeout.max(Duration::from_millis(1));
        for settings in self.signals() {
            settings.timeout = timeout;
        }
        self
    }

    /// Sets how long a batch may take with all its requests before it is given up; a minute unless set.
    pub fn retry_for(mut self, time: Duration) -> Self {
        self.patience.all = time;
        self
    }

    /// Sets the wait before a request is sent for the second time, which doubles every time up to 30 seconds; a second
    /// unless set, and at least a millisecond.
    pub fn backoff(mut self, first: Duration) -> Self {
        self.patience.first = first.max(Duration::from_millis(1));
        self
    }

    /// Sets whether requests are compressed with gzip; off unless set.
    #[cfg(feature = "gzip")]
    pub fn gzip(mut self, gzip: bool) -> Self {
        for settings in self.signals() {
            settings.gzip = gzip;
        }
        self
    }

    pub(super) fn signals(&mut self) -> impl Iterator<Item = &mut Settings> {
        [&mut self.traces, &mut self.logs].into_iter().flatten()
    }

    /// Makes what sends logs to the same collector.
    #[cfg(feature = "logs")]
    pub(super) fn logs(self) -> Result<Channel, OtlpError> {
        Ok(Channel::new(self.logs?, self.patience))
    }
}

impl Exporter for Otlp {
    fn name(&self) -> &'static str {
        "otlp"
    }

    fn begin(&mut self, start: ExporterStart<'_>) {
        self.resource.clone_from(start.resource);
        self.abort = start.abort.clone();
        self.reporter = Some(start.reporter.clone());
    }

    fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
        let settings = self
            .traces
            .as_ref()
            .map_err(|error| ExportError::new(error.clone()))?;
        let channel = self.channel.get_or_insert_with(|| {
            let mut channel = Channel::new(settings.clone(), self.patience);
            channel.begin(&self.resource, self.abort.clone(), self.reporter.clone());
            channel
        });
        channel.export(batch)
    }

    fn shutdown(&mut self) -> Result<(), ExportError> {
        self.channel = None; // closes the connection
        Ok(())
    }
}

impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Otlp")
            .field("traces", &self.traces)
            .field("logs", &self.logs)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut settings = f.debug_struct("Settings");
        settings
            .field("protocol", &self.protocol)
            .field("url", &format_args!("{}", self.url))
            .field("headers", &self.headers) // whose values are marked as secrets
            .field("timeout", &self.timeout)
            .field("gzip", &self.gzip);
        #[cfg(feature = "tls")]
        settings.field("credentials", &self.credentials); // paths at most
        settings.finish()
    }
}
