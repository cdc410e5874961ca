use super::{Abort, Reporter};
use crate::{ExportError, Resource, SpanData};

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
///     fn export(&mut self, batch: &[SpanData]) -> Result<(), ExportError> {
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

    /// Learns what all spans have in common; called once, before everything else.
    fn set_resource(&mut self, resource: &Resource) {
        let _ = resource;
    }

    /// Learns how it is told that the time for a shutdown is up; called once, before everything else. An exporter that
    /// waits, as one that retries does, should give up then.
    fn set_abort(&mut self, abort: Abort) {
        drop(abort);
    }

    /// Learns where to tell what keeps it from sending; called once, before everything else. An exporter that retries
    /// should report what somebody has to look after while it does, and not only at the end of its patience.
    fn set_reporter(&mut self, reporter: Reporter) {
        drop(reporter);
    }

    /// Exports a batch, which is never empty. It is not offered again: an exporter that wants to retry does so here.
    ///
    /// # Errors
    ///
    /// The batch was not exported; all its spans count as failed, unless the error says that only
    /// [some are lost](ExportError::only).
    fn export(&mut self, batch: &[SpanData]) -> Result<(), ExportError>;

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
