use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cortex_core::{Clock, SystemClock};

use super::OtlpLogs;
use super::record::Record;
use crate::export::{Consumer, ExporterStart, Limits, Pipeline};
use crate::otlp::Otlp;
use crate::otlp::channel::Channel;
use crate::redact::Redact;
use crate::{BuildError, BuildErrorKind, ExportError, Resource, Value};

/// Describes [`OtlpLogs`] before they start.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Otlp, OtlpLogs};
///
/// let logs = OtlpLogs::builder("shop")
///     .resource("service.version", "1.4.2")
///     .queue_capacity(1024)
///     .start(Otlp::grpc("http://localhost:4317")?)?;
/// assert_eq!(logs.stats().enqueued, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "call `start`"]
pub struct OtlpLogsBuilder {
    pub(super) resource: Resource,
    pub(super) limits: Limits,
    clock: Arc<dyn Clock>,
    redact: Redact,
}

impl OtlpLogsBuilder {
    pub(super) fn new(service: String) -> Self {
        Self::of(Resource::of_service(service))
    }

    pub(super) fn of(resource: Resource) -> Self {
        Self {
            resource,
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            redact: Redact::default(),
        }
    }

    #[cfg(feature = "telemetry")]
    pub(crate) const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Adds an attribute that describes the service as a whole, such as `service.version`.
    pub fn resource(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.resource.set(key, value.into());
        self
    }

    /// Sets how many records may wait, 8192 without it; more are dropped and counted.
    pub const fn queue_capacity(mut self, records: usize) -> Self {
        self.limits.capacity = records;
        self
    }

    /// Sets how much memory records that wait may take, about 64 MiB without it; more are dropped and counted. One that
    /// is larger by itself waits alone.
    pub const fn queue_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Sets how many records are sent at once at most, 512 without it.
    pub const fn batch_size(mut self, records: usize) -> Self {
        self.limits.batch = records;
        self
    }

    /// Sets how long a batch that is not full waits for more, 1 s without it.
    pub const fn batch_delay(mut self, delay: Duration) -> Self {
        self.limits.delay = delay;
        self
    }

    /// Sets the clock; [`SystemClock`] without it.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Hides the values of more fields than those whose names are obviously secret, as
    /// [`JsonLogs`](crate::JsonLogs#secrets) does.
    pub fn redact<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.redact.add(names);
        self
    }

    /// Hides the values of exactly these fields; of none if there are none.
    pub fn redact_only<N: AsRef<str>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.redact.only(names);
        self
    }

    /// Starts the thread that sends to the collector.
    ///
    /// # Errors
    ///
    /// The service has no name, a limit is zero, the thread did not start, or the exporter was made by
    /// [`Otlp::from_env`] and a variable of logs has a value that cannot be used.
    pub fn start(self, otlp: Otlp) -> Result<OtlpLogs, BuildError> {
        if self.resource.service_name().is_empty() {
            return Err(BuildError::new(BuildErrorKind::ServiceName));
        }
        let limits = self.limits.checked()?;
        let consumers = vec![Logs {
            channel: Some(otlp.logs().map_err(BuildError::exporter)?),
        }];
        let pipeline =
            Pipeline::start_consumers(consumers, &self.resource, limits).map_err(BuildError::thread)?;
        Ok(OtlpLogs::new(Arc::new(pipeline), self.clock, self.redact))
    }
}

impl fmt::Debug for OtlpLogsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpLogsBuilder")
            .field("resource", &self.resource)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What the thread runs.
struct Logs {
    channel: Option<Channel>,
}

impl Consumer<Record> for Logs {
    fn name(&self) -> &'static str {
        "otlp logs"
    }

    fn begin(&mut self, start: ExporterStart<'_>) {
        if let Some(channel) = &mut self.channel {
            let reporter = start.reporter.clone().of_logs();
            channel.begin(start.resource, start.abort.clone(), Some(reporter));
        }
    }

    fn export(&mut self, batch: &[&Record]) -> Result<(), ExportError> {
        match &mut self.channel {
            Some(channel) => channel.export(batch).map_err(ExportError::of_logs),
            None => Err(ExportError::new("it is shut down").of_logs()),
        }
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        Ok(())
    }

    fn shutdown(&mut self) -> Result<(), ExportError> {
        self.channel = None; // closes the connection
        Ok(())
    }
}
