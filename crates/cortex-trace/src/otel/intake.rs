use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{Span, SpanProcessor};

use super::convert;
use crate::Tracer;
use crate::export::ask_sdk;

/// A processor for OpenTelemetry's SDK that hands its sampled spans to the exporters of a [`Tracer`].
///
/// So libraries that are instrumented with OpenTelemetry end up in the same files and consoles, behind the same bounds
/// and in the same statistics. The resource is that of the tracer. Arrays in attributes become text, and links lose
/// their attributes. At most 128 attributes are kept, as of our own spans, and 4096 bytes of a text.
///
/// The SDK's sampler has decided: ours and the tail are not asked.
///
/// Shutting down the provider flushes the tracer and leaves it open: it belongs to somebody else.
///
/// # Examples
///
/// ```
/// use cortex_trace::otel::{Intake, opentelemetry_sdk::trace::SdkTracerProvider};
/// use cortex_trace::otel::opentelemetry::trace::{Tracer as _, TracerProvider as _};
/// use cortex_trace::{ExportError, Exporter, SpanData, Tracer};
/// use std::sync::mpsc;
///
/// struct Names(mpsc::Sender<String>);
///
/// impl Exporter for Names {
///     fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
///         for span in batch {
///             self.0.send(span.name.to_string()).map_err(ExportError::new)?;
///         }
///         Ok(())
///     }
/// }
///
/// let (sender, names) = mpsc::channel();
/// let tracer = Tracer::builder("shop").export(Names(sender)).build()?;
/// let provider = SdkTracerProvider::builder().with_span_processor(Intake::new(tracer)).build();
/// provider.tracer("a library").in_span("query", |_| {});
/// provider.force_flush()?;
/// assert_eq!(names.try_recv()?, "query");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Intake {
    tracer: Tracer,
}

impl Intake {
    /// Makes a processor that hands spans to this tracer's exporters.
    pub fn new(tracer: Tracer) -> Self {
        ask_sdk();
        Self { tracer }
    }

    fn flush(&self, timeout: Duration) -> OTelSdkResult {
        self.tracer.flush_blocking(timeout).map_err(|error| {
            if error.is_timeout() {
                OTelSdkError::Timeout(timeout)
            } else {
                OTelSdkError::InternalFailure(error.to_string())
            }
        })
    }
}

impl SpanProcessor for Intake {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: opentelemetry_sdk::trace::SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if let Some(span) = convert::from_span_data(span) {
            self.tracer.export(span); // past the tail: its trace was decided elsewhere
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.flush(Duration::from_secs(5)) // as the SDK's batch processor
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.flush(timeout)
    }
}
