use super::ExporterStart;
use crate::{ExportError, SpanData};

/// Takes finished spans somewhere.
///
/// Runs on a thread of its own, so it may block, and one that is slow, fails or panics harms neither the service nor
/// the other exporters. It must not start spans of the same tracer; they are not recorded.
///
/// # Examples
///
/// ```
/// use cortex_trace::{ExportError, Exporter, SpanData, Tracer};
/// use std::sync::mpsc;
/// use std::time::Duration;
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
/// tracer.span("restock").start().end();
/// tracer.flush_blocking(Duration::from_secs(60))?;
/// assert_eq!(names.try_recv()?, "restock");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Exporter: Send + 'static {
    /// Returns a name for statistics and errors; the name of the type without this.
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }

    /// Learns what it needs to know; called once, on its thread, before everything else. An exporter that wraps another
    /// one calls this on that.
    fn begin(&mut self, start: ExporterStart<'_>) {
        let _ = start;
    }

    /// Exports a batch, which is never empty. It is not offered again: an exporter that wants to retry does so here.
    ///
    /// # Errors
    ///
    /// The batch was not exported; all its spans count as failed, unless the error says that only
    /// [some are lost](ExportError::only).
    fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError>;

    /// Sends on whatever is held back.
    ///
    /// # Errors
    ///
    /// Something held back could not be sent on.
    fn flush(&mut self) -> Result<(), ExportError> {
        Ok(())
    }

    /// Makes everything that was exported safe; nothing is called afterwards.
    ///
    /// # Errors
    ///
    /// Something exported is not safe.
    fn shutdown(&mut self) -> Result<(), ExportError> {
        self.flush()
    }
}
