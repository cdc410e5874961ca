use std::fmt;

use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use super::{Telemetry, TelemetryError};
#[cfg(feature = "otlp")]
use crate::export::Limits;
use crate::{Filter, JsonLogs, LogHandle, TextLogs, TraceLayer, TracerBuilder};
#[cfg(feature = "otlp")]
use crate::{Otlp, OtlpLogs};

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Describes [`Telemetry`] before it is installed.
///
/// Without a filter it lets `info` and above through. Spans of `tracing` become spans of the tracer; nothing is logged
/// unless a way is named.
///
/// # Examples
///
/// ```
/// use cortex_trace::{AlwaysOff, Telemetry, TextLogs, Tracer};
///
/// let tracer = Tracer::builder("shop").sampler(AlwaysOff);
/// let (telemetry, subscriber) = Telemetry::builder(tracer).text_logs(TextLogs::stderr()).filter("off").build()?;
/// tracing::dispatcher::with_default(&subscriber, || tracing::info!("for nobody"));
/// assert_eq!(telemetry.filter().to_string(), "off");
/// # Ok::<(), cortex_trace::TelemetryError>(())
/// ```
#[must_use = "call `install`"]
pub struct TelemetryBuilder {
    pub(super) tracer: TracerBuilder,
    pub(super) filter: String,
    layers: Vec<BoxedLayer>,
    logs: Vec<LogHandle>,
    trace_layer: Box<dyn FnOnce(TraceLayer) -> TraceLayer + Send>,
    #[cfg(feature = "otlp")]
    pub(super) otlp_logs: Option<Otlp>,
    #[cfg(feature = "otlp")]
    pub(super) log_limits: Limits,
}

impl TelemetryBuilder {
    pub(super) fn new(tracer: TracerBuilder) -> Self {
        Self {
            tracer,
            filter: "info".to_owned(),
            layers: Vec::new(),
            logs: Vec::new(),
            trace_layer: Box::new(|layer| layer),
            #[cfg(feature = "otlp")]
            otlp_logs: None,
            #[cfg(feature = "otlp")]
            log_limits: Limits::default(),
        }
    }

    /// Writes events as lines of JSON.
    pub fn json_logs<W>(mut self, logs: JsonLogs<W>) -> Self
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        self.logs.push(logs.handle());
        self.layer(logs)
    }

    /// Writes events as lines for people.
    pub fn text_logs<W>(mut self, logs: TextLogs<W>) -> Self
    where
        W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
    {
        self.logs.push(logs.handle());
        self.layer(logs)
    }

    /// Sends events to a collector, as log records of the tracer's service.
    #[cfg(feature = "otlp")]
    pub fn otlp_logs(mut self, otlp: Otlp) -> Self {
        self.otlp_logs = Some(otlp);
        self
    }

    /// Adds a layer of another kind.
    pub fn layer(mut self, layer: impl Layer<Registry> + Send + Sync + 'static) -> Self {
        self.layers.push(Box::new(layer));
        self
    }

    /// Changes the layer that turns spans of `tracing` into spans of the tracer.
    ///
    /// ```
    /// use cortex_trace::{Telemetry, Tracer};
    ///
    /// let builder = Telemetry::builder(Tracer::builder("shop"));
    /// let (telemetry, _) = builder.trace_layer(|layer| layer.location(true)).build()?;
    /// # drop(telemetry);
    /// # Ok::<(), cortex_trace::TelemetryError>(())
    /// ```
    pub fn trace_layer(mut self, change: impl FnOnce(TraceLayer) -> TraceLayer + Send + 'static) -> Self {
        self.trace_layer = Box::new(change);
        self
    }

    /// Sets what goes through, in the syntax of `tracing-subscriber`'s `EnvFilter`: `info,hyper=warn`.
    pub fn filter(mut self, directives: impl Into<String>) -> Self {
        self.filter = directives.into();
        self
    }

    /// Starts everything and makes it the subscriber of the process; in one that forks, after that, in each child.
    ///
    /// Records of the `log` crate, which some libraries make, come along once `tracing_log::LogTracer::init()` was called.
    ///
    /// # Errors
    ///
    /// The filter is not valid, the tracer could not be built, or the process has a subscriber already. Nothing is
    /// installed then, and what had started ends.
    pub fn install(self) -> Result<Telemetry, TelemetryError> {
        let (telemetry, subscriber) = self.build()?;
        tracing::dispatcher::set_global_default(subscriber).map_err(|_| TelemetryError::AlreadyInstalled)?;
        Ok(telemetry)
    }

    /// Starts everything, and returns the subscriber instead of making it that of the process.
    ///
    /// # Errors
    ///
    /// The filter is not valid, or the tracer could not be built.
    pub fn build(self) -> Result<(Telemetry, Dispatch), TelemetryError> {
        let filter = Filter::new(&self.filter)?;
        #[cfg(feature = "otlp")]
        let otlp_logs = match self.otlp_logs {
            Some(otlp) if !self.tracer.is_disabled() => {
                let logs = OtlpLogs::of_tracer(&self.tracer).limits(self.log_limits);
                Some(logs.start(otlp)?)
            }
            _ => None,
        };
        let tracer = self.tracer.build()?;
        // Not in a `Vec`, which does not tell layers their subscriber.
        let mut layers: BoxedLayer = Box::new((self.trace_layer)(tracer.layer()));
        for layer in self.layers.into_iter().rev() {
            layers = Box::new(layer.and_then(layers));
        }
        #[cfg(feature = "otlp")]
        if let Some(logs) = otlp_logs.clone() {
            layers = Box::new(layers.and_then(logs));
        }
        let subscriber = tracing_subscriber::registry().with(layers).with(filter.clone());
        let telemetry = Telemetry {
            tracer,
            filter,
            logs: self.logs,
            #[cfg(feature = "otlp")]
            otlp_logs,
        };
        Ok((telemetry, Dispatch::new(subscriber)))
    }
}

impl fmt::Debug for TelemetryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryBuilder")
            .field("tracer", &self.tracer)
            .field("filter", &self.filter)
            .field("layers", &self.layers.len())
            .finish_non_exhaustive()
    }
}
