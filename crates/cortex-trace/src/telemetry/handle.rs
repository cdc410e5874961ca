use std::fmt;
use std::time::Duration;

use super::join::{Flush, all, block_on};
use super::{TelemetryBuilder, TelemetryGuard};
#[cfg(feature = "otlp")]
use crate::OtlpLogs;
use crate::{Filter, FilterError, FlushError, LogHandle, Tracer, TracerBuilder};

/// The spans and the logs of a process: what is set up at its start, steered while it runs, and ended with it.
///
/// A clone is the same. Dropping it ends nothing, as the subscriber of the process goes on: end with
/// [`shutdown`](Self::shutdown), or hold a [`guard`](Self::guard) in `main`.
///
/// # Examples
///
/// ```
/// use cortex_trace::{JsonLogs, Telemetry, Tracer};
/// use std::time::Duration;
///
/// let telemetry = Telemetry::builder(Tracer::builder("shop"))
///     .json_logs(JsonLogs::stdout())
///     .filter("info,hyper=warn")
///     .install()?;
/// let span = tracing::info_span!("restock");
/// span.in_scope(|| tracing::debug!("left out"));
/// telemetry.set_filter("debug")?;
/// span.in_scope(|| tracing::debug!("this line has the span's ids"));
/// drop(span);
/// telemetry.shutdown_blocking(Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Telemetry {
    pub(super) tracer: Tracer,
    pub(super) filter: Filter,
    pub(super) logs: Vec<LogHandle>,
    #[cfg(feature = "otlp")]
    pub(super) otlp_logs: Option<OtlpLogs>,
}

impl Telemetry {
    /// Begins with a tracer's description; logs are added to it.
    pub fn builder(tracer: TracerBuilder) -> TelemetryBuilder {
        TelemetryBuilder::new(tracer)
    }

    /// Returns the tracer, for spans on hot paths and for servers and clients.
    pub const fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Returns the filter of everything that goes through `tracing`.
    pub const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Lets through from now on what `directives` say, such as `info,hyper=warn`; on an error the old filter stays.
    ///
    /// # Errors
    ///
    /// A directive is not valid; the error says which, and why.
    pub fn set_filter(&self, directives: &str) -> Result<(), FilterError> {
        self.filter.set(directives)
    }

    /// Returns the handles of the layers that write lines: what they dropped, suppressed and failed at.
    pub fn logs(&self) -> &[LogHandle] {
        &self.logs
    }

    /// Returns the queue of log records for a collector, if there is one.
    #[cfg(feature = "otlp")]
    pub const fn otlp_logs(&self) -> Option<&OtlpLogs> {
        self.otlp_logs.as_ref()
    }

    /// Waits until what has ended and been logged by now is exported and written.
    ///
    /// Needs no runtime, and any will do.
    ///
    /// # Errors
    ///
    /// Something was not done after `timeout`, or failed; the rest was done all the same.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting, not the flush.
    pub async fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        let mut flushes: Vec<Flush<'_>> = vec![Box::pin(self.tracer.flush(timeout))];
        for logs in &self.logs {
            flushes.push(Box::pin(logs.flush(timeout)));
        }
        #[cfg(feature = "otlp")]
        if let Some(logs) = &self.otlp_logs {
            flushes.push(Box::pin(logs.flush(timeout)));
        }
        all(flushes).await
    }

    /// Does what [`flush`](Self::flush) does, and blocks this thread meanwhile.
    ///
    /// # Errors
    ///
    /// Something was not done after `timeout`, or failed.
    pub fn flush_blocking(&self, timeout: Duration) -> Result<(), FlushError> {
        block_on(self.flush(timeout))
    }

    /// Exports what has ended and been logged by now, then writes the last lines, and ends all threads. What comes later
    /// is dropped and counted. A second call waits for the same end.
    ///
    /// Needs no runtime, and any will do. Exporters may log what they lost, so a tenth of the time is kept for the lines.
    ///
    /// # Errors
    ///
    /// Something was not done after `timeout`, or failed; the rest was done all the same.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting, and lines may not be ended.
    pub async fn shutdown(&self, timeout: Duration) -> Result<(), FlushError> {
        let lines = timeout / 10;
        let exporters = timeout.saturating_sub(lines);
        let spans: Flush<'_> = Box::pin(self.tracer.shutdown(exporters));
        #[cfg(not(feature = "otlp"))]
        let records = std::iter::empty();
        #[cfg(feature = "otlp")]
        let records = self
            .otlp_logs
            .iter()
            .map(|logs| -> Flush<'_> { Box::pin(logs.shutdown(exporters)) });
        let exported = all(std::iter::once(spans).chain(records)).await;
        let written = all(self
            .logs
            .iter()
            .map(|logs| -> Flush<'_> { Box::pin(logs.shutdown(lines)) }))
        .await;
        match (exported, written) {
            (Err(mut all), Err(lines)) => {
                all.extend(lines);
                Err(all)
            }
            (exported, written) => exported.and(written),
        }
    }

    /// Does what [`shutdown`](Self::shutdown) does, and blocks this thread meanwhile.
    ///
    /// # Errors
    ///
    /// Something was not done after `timeout`, or failed.
    pub fn shutdown_blocking(&self, timeout: Duration) -> Result<(), FlushError> {
        block_on(self.shutdown(timeout))
    }

    /// Returns a guard that shuts this down when it is dropped, and blocks for `timeout` at most: for the end of `main`.
    pub fn guard(self, timeout: Duration) -> TelemetryGuard {
        TelemetryGuard::new(self, timeout)
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("tracer", &self.tracer)
            .field("filter", &self.filter)
            .field("logs", &self.logs)
            .finish_non_exhaustive()
    }
}
