use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::trace::SpanProcessor;

use super::convert;
use super::exporter::{checked, over, sampled};
use crate::export::ask_sdk;
use crate::{ExportError, ExporterStart, SpanData};

/// Hands finished spans to a processor of OpenTelemetry's SDK.
///
/// It gets spans only if they are sampled; the SDK's `BatchSpanProcessor` does not look at that. Its `on_start` is not
/// called, as it takes a type of the SDK that nobody else can make; the built-in processors do nothing there.
///
/// A span counts as exported once the processor has it. What becomes of it then, only the processor knows: the SDK's
/// batch processor has a queue of its own and drops what is too much. For an exporter alone, [`Exporter`] is better.
///
/// [`Exporter`]: super::Exporter
///
/// # Examples
///
/// ```
/// use cortex_trace::{Tracer, otel};
/// use cortex_trace::otel::opentelemetry_sdk::trace::{BatchSpanProcessor, SpanData, SpanExporter};
/// use cortex_trace::otel::opentelemetry_sdk::error::OTelSdkResult;
/// use std::sync::mpsc;
/// use std::time::Duration;
///
/// #[derive(Debug)]
/// struct Names(mpsc::SyncSender<String>);
///
/// impl SpanExporter for Names {
///     async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
///         for span in batch {
///             let _ = self.0.send(span.name.into_owned());
///         }
///         Ok(())
///     }
/// }
///
/// let (sender, names) = mpsc::sync_channel(8);
/// let processor = BatchSpanProcessor::builder(Names(sender)).build();
/// let tracer = Tracer::builder("shop").export(otel::Processor::new(processor)).build()?;
/// tracer.span("restock").start().end();
/// tracer.flush_blocking(Duration::from_secs(60))?;
/// assert_eq!(names.try_recv()?, "restock");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Processor<P> {
    processor: P,
    timeout: Duration,
}

impl<P: SpanProcessor + 'static> Processor<P> {
    /// Takes a processor.
    pub fn new(processor: P) -> Self {
        ask_sdk();
        Self {
            processor,
            timeout: Duration::from_secs(5),
        }
    }

    /// Sets how long the processor may take to shut down, 5 s without it.
    #[must_use]
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl<P: SpanProcessor + 'static> crate::Exporter for Processor<P> {
    fn name(&self) -> &'static str {
        std::any::type_name::<P>()
    }

    fn begin(&mut self, start: ExporterStart<'_>) {
        let _guard = Context::enter_telemetry_suppressed_scope();
        self.processor.set_resource(&convert::resource(start.resource));
    }

    fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
        let _guard = Context::enter_telemetry_suppressed_scope();
        for span in sampled(batch) {
            self.processor.on_end(convert::span_data(span));
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        let _guard = Context::enter_telemetry_suppressed_scope();
        checked(self.processor.force_flush())
    }

    fn shutdown(&mut self) -> Result<(), ExportError> {
        let _guard = Context::enter_telemetry_suppressed_scope();
        over(self.processor.shutdown_with_timeout(self.timeout))
    }
}
