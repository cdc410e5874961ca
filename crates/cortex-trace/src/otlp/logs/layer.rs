use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cortex_core::Clock;
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer;

use super::OtlpLogsBuilder;
use super::record::Record;
use crate::event_context::EventContext;
use crate::export::{Pipeline, is_suppressed_event};
use crate::redact::Redact;
use crate::{ExportError, FlushError, Stats};

/// Sends every event of the `tracing` crate to an OpenTelemetry collector, as a log record that carries the ids of the
/// current trace.
///
/// The `message` is the body, the other fields are attributes, the target is the scope. The ids are those of
/// [`Context::current`](cortex_core::Context::current), so a record has them wherever the work runs; an event that names
/// its span has those of that, as far as a `TraceLayer` knows it. An event has at most 128 attributes, and a text at most
/// 4096 bytes.
///
/// It is a layer to combine with others, and a clone is the same. Records wait in a bounded queue of their own and are
/// sent by a thread of their own, as spans are. What a thread of this crate says while it sends is not sent in turn, nor
/// with feature `otel` what OpenTelemetry's SDK says then.
///
/// `[redacted]` stands in place of the values of fields with secret names, as in [`JsonLogs`](crate::JsonLogs#secrets);
/// [`redact`](OtlpLogsBuilder::redact) adds names.
///
/// # Performance
///
/// An event costs its formatting, one clock read and a push to the queue; it never waits for the collector. Give it a
/// filter: what is `DEBUG` and below in a busy service fills queues, and then the newest is dropped.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Otlp, OtlpLogs};
/// use std::time::Duration;
/// use tracing_subscriber::Layer;
/// use tracing_subscriber::filter::LevelFilter;
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let otlp = Otlp::http("http://127.0.0.1:9")?.retry_for(Duration::ZERO); // nobody listens there
/// let logs = OtlpLogs::builder("shop").start(otlp)?;
/// let subscriber = tracing_subscriber::registry().with(logs.clone().with_filter(LevelFilter::INFO));
/// tracing::subscriber::with_default(subscriber, || {
///     tracing::info!(items = 3, "restocked");
///     tracing::debug!("not this");
/// });
/// logs.shutdown_blocking(Duration::from_secs(60))?;
/// let stats = logs.stats();
/// assert_eq!((stats.enqueued, stats.failed), (1, 1)); // lost, and counted
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct OtlpLogs {
    pipeline: Arc<Pipeline<Record>>,
    clock: Arc<dyn Clock>,
    redact: Arc<Redact>,
    context: EventContext,
}

impl OtlpLogs {
    /// Begins logs of the service of this name.
    pub fn builder(service: impl Into<String>) -> OtlpLogsBuilder {
        OtlpLogsBuilder::new(service.into())
    }

    /// Begins with the service of a tracer.
    #[cfg(feature = "telemetry")]
    pub(crate) fn of_tracer(tracer: &crate::TracerBuilder) -> OtlpLogsBuilder {
        OtlpLogsBuilder::of(tracer.described().clone())
    }

    pub(super) fn new(pipeline: Arc<Pipeline<Record>>, clock: Arc<dyn Clock>, redact: Redact) -> Self {
        Self {
            pipeline,
            clock,
            redact: Arc::new(redact),
            context: EventContext::default(),
        }
    }

    /// Returns what became of the records; `Stats` says spans and means records here.
    pub fn stats(&self) -> Stats {
        self.pipeline
            .stats()
            .fold(Stats::default(), |mut total, (_, stats)| {
                total += stats;
                total
            })
    }

    /// Returns why records were lost, or could not be sent at once because of TLS, for the last time.
    pub fn last_error(&self) -> Option<ExportError> {
        self.pipeline.last_errors().map(|(_, error)| error).next()
    }

    /// Waits until every record made by now is sent or lost. Needs no runtime, and any will do.
    ///
    /// # Errors
    ///
    /// It was not done after `timeout`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting, not the flush.
    pub async fn flush(&self, timeout: Duration) -> Result<(), FlushError> {
        self.pipeline.flush().settled(timeout).await.map_err(of_logs)
    }

    /// Does what [`flush`](Self::flush) does, and blocks this thread meanwhile.
    ///
    /// # Errors
    ///
    /// It was not done after `timeout`.
    pub fn flush_blocking(&self, timeout: Duration) -> Result<(), FlushError> {
        self.pipeline.flush().wait(timeout).map_err(of_logs)
    }

    /// Sends what there is and ends the thread. Records made later are dropped and counted.
    ///
    /// # Errors
    ///
    /// It was not done after `timeout`; what is not sent by then is lost, and counted.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting, not the shutdown.
    pub async fn shutdown(&self, timeout: Duration) -> Result<(), FlushError> {
        self.pipeline.shutdown().settled(timeout).await.map_err(of_logs)
    }

    /// Does what [`shutdown`](Self::shutdown) does, and blocks this thread meanwhile.
    ///
    /// # Errors
    ///
    /// It was not done after `timeout`; what is not sent by then is lost, and counted.
    pub fn shutdown_blocking(&self, timeout: Duration) -> Result<(), FlushError> {
        self.pipeline.shutdown().wait(timeout).map_err(of_logs)
    }
}

fn of_logs(error: FlushError) -> FlushError {
    FlushError { logs: true, ..error }
}

impl<S: Subscriber> Layer<S> for OtlpLogs {
    fn on_register_dispatch(&self, subscriber: &Dispatch) {
        self.context.register(subscriber);
    }

    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        // An exporter that logs about its own work would never run out of it.
        if !is_suppressed_event(event.metadata().target()) {
            let (time, context) = (self.clock.wall(), self.context.of(event));
            self.pipeline
                .submit(Record::new(event, time, context, &self.redact));
        }
    }
}

impl fmt::Debug for OtlpLogs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpLogs")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}
