use std::fmt;
use std::sync::{Arc, Mutex};

#[cfg(any(feature = "bridge", feature = "logs"))]
use super::complaint;
use super::completion::lock;
use crate::ExportError;

/// Tells what keeps an exporter from sending while it still tries, so that nobody has to wait for the end of a batch to
/// hear of it.
///
/// Given to [`Exporter::begin`](crate::Exporter::begin). A clone tells the same place.
///
/// # Examples
///
/// ```
/// use cortex_trace::{ExportError, Exporter, ExporterStart, Reporter, SpanData, Tracer};
/// use std::time::Duration;
///
/// #[derive(Default)]
/// struct Persistent(Option<Reporter>);
///
/// impl Exporter for Persistent {
///     fn begin(&mut self, start: ExporterStart<'_>) {
///         self.0 = Some(start.reporter.clone());
///     }
///     fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
///         if let Some(reporter) = &self.0 {
///             reporter.report(ExportError::new("the disk is full"));
///         }
///         Ok(()) // there was room at last
///     }
/// }
///
/// let tracer = Tracer::builder("shop").export(Persistent::default()).build()?;
/// tracer.span("restock").start().end();
/// tracer.flush_blocking(Duration::from_secs(60))?;
/// assert_eq!((tracer.stats().exported, tracer.stats().failed), (1, 0));
/// assert_eq!(tracer.last_errors().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Reporter {
    name: &'static str,
    /// What is about logs says so.
    of_logs: bool,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    last: Option<ExportError>,
    #[cfg(any(feature = "bridge", feature = "logs"))]
    pauses: complaint::Pauses,
}

impl Reporter {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            of_logs: false,
            shared: Arc::default(),
        }
    }

    /// Returns one that tells the same place that it is about logs.
    #[cfg(all(feature = "otlp", feature = "logs"))]
    pub(crate) const fn of_logs(mut self) -> Self {
        self.of_logs = true;
        self
    }

    /// Makes the error the last one of the exporter, which [`Tracer::last_errors`](crate::Tracer::last_errors) returns.
    /// Nothing counts as lost.
    ///
    /// With the feature `bridge` or `logs` it is also told through `tracing`, once a minute at most.
    pub fn report(&self, error: ExportError) {
        #[cfg(all(feature = "otlp", feature = "logs"))]
        let error = if self.of_logs { error.of_logs() } else { error };
        #[cfg(any(feature = "bridge", feature = "logs"))]
        let told = error.clone();
        self.note(error); // first, so that who hears of it finds it
        #[cfg(any(feature = "bridge", feature = "logs"))]
        self.tell(&told);
    }

    #[cfg(any(feature = "bridge", feature = "logs"))]
    fn tell(&self, error: &ExportError) {
        use cortex_core::{Clock, SystemClock};

        // The lock is free before foreign code runs.
        let is_due = lock(&self.shared).pauses.is_over(SystemClock.now());
        if is_due {
            complaint::held_up(self.name, error);
        }
    }

    /// Takes an error over, and tells nobody.
    pub(super) fn note(&self, error: ExportError) {
        let earlier = lock(&self.shared).last.replace(error);
        drop(earlier); // the lock is free by now: what is in an error is foreign, and may ask for the last one
    }

    pub(crate) fn last(&self) -> Option<ExportError> {
        lock(&self.shared).last.clone()
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter")
            .field("name", &self.name)
            .field("of_logs", &self.of_logs)
            .finish_non_exhaustive()
    }
}
