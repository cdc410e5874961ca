use super::{Abort, Reporter};
use crate::Resource;

/// What an exporter learns before everything else.
///
/// Given to [`Exporter::begin`](crate::Exporter::begin). An exporter that wraps another one hands it on.
///
/// # Examples
///
/// ```
/// use cortex_trace::{ExportError, Exporter, ExporterStart, InMemory, SpanData, Tracer};
/// use std::time::Duration;
///
/// /// Exports one in ten.
/// struct Tithe<E>(E);
///
/// impl<E: Exporter> Exporter for Tithe<E> {
///     fn begin(&mut self, start: ExporterStart<'_>) {
///         self.0.begin(start);
///     }
///     fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
///         let tenth: Vec<_> = batch.iter().step_by(10).cloned().collect();
///         self.0.export(&tenth)
///     }
///     fn flush(&mut self) -> Result<(), ExportError> {
///         self.0.flush()
///     }
///     fn shutdown(&mut self) -> Result<(), ExportError> {
///         self.0.shutdown()
///     }
/// }
///
/// let memory = InMemory::new();
/// let tracer = Tracer::builder("shop").export(Tithe(memory.clone())).build()?;
/// tracer.span("restock").start().end();
/// tracer.flush_blocking(Duration::from_secs(60))?;
/// assert_eq!(memory.take().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ExporterStart<'a> {
    /// What all spans have in common.
    pub resource: &'a Resource,
    /// How the exporter is told that the time for a shutdown is up. One that waits, as one that retries does, should
    /// give up then.
    pub abort: &'a Abort,
    /// Where to tell what keeps it from sending. An exporter that retries should report what somebody has to look after
    /// while it does, and not only at the end of its patience.
    pub reporter: &'a Reporter,
}

impl<'a> ExporterStart<'a> {
    pub(super) const fn new(resource: &'a Resource, abort: &'a Abort, reporter: &'a Reporter) -> Self {
        Self {
            resource,
            abort,
            reporter,
        }
    }
}
