use std::error::Error;
use std::sync::Arc;
use std::{fmt, io};

/// Says why a [`Tracer`](crate::Tracer) could not be built.
///
/// # Examples
///
/// ```
/// use cortex_trace::{BuildErrorKind, Tracer};
///
/// let error = Tracer::builder("").build().unwrap_err();
/// assert_eq!(error.kind(), BuildErrorKind::ServiceName);
/// assert_eq!(error.to_string(), "build the tracer: the service has no name");
/// ```
#[derive(Debug)]
pub struct BuildError {
    kind: BuildErrorKind,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What was wrong with a [`TracerBuilder`](crate::TracerBuilder).
///
/// # Examples
///
/// ```
/// use cortex_trace::{BuildErrorKind, Tracer};
///
/// let error = Tracer::builder("shop").batch_size(0).build().unwrap_err();
/// assert_eq!(error.kind(), BuildErrorKind::Limit);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildErrorKind {
    /// The service has no name.
    ServiceName,
    /// The queue capacity, in number or in bytes, or the batch size is zero.
    Limit,
    /// The operating system did not start a worker thread.
    Thread,
    /// What sends to the destination is not set up well; the source says more.
    Exporter,
}

impl BuildError {
    pub(crate) const fn new(kind: BuildErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(crate) fn thread(source: io::Error) -> Self {
        Self {
            kind: BuildErrorKind::Thread,
            source: Some(source.into()),
        }
    }

    #[cfg(all(feature = "logs", feature = "otlp"))]
    pub(crate) fn exporter(source: crate::OtlpError) -> Self {
        Self {
            kind: BuildErrorKind::Exporter,
            source: Some(source.into()),
        }
    }

    /// Returns what was wrong.
    pub const fn kind(&self) -> BuildErrorKind {
        self.kind
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("build the tracer: ")?;
        f.write_str(match self.kind {
            BuildErrorKind::ServiceName => "the service has no name",
            BuildErrorKind::Limit => "the queue capacity and the batch size must not be zero",
            BuildErrorKind::Thread => "the system did not start a thread for an exporter",
            BuildErrorKind::Exporter => "an exporter is not set up well",
        })
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Says why an [`Exporter`](crate::Exporter) failed.
///
/// # Examples
///
/// ```
/// use cortex_trace::ExportError;
/// use std::error::Error;
///
/// let error = ExportError::new("the collector said no");
/// assert_eq!(error.to_string(), "export spans");
/// assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("the collector said no"));
/// ```
#[derive(Clone, Debug)]
pub struct ExportError {
    cause: Cause,
    /// How many failed and how many were rejected; `None` if all failed.
    lost: Option<(u64, u64)>,
    logs: bool,
}

#[derive(Clone, Debug)]
enum Cause {
    Error(Arc<dyn Error + Send + Sync>),
    Panic(Arc<dyn Error + Send + Sync>),
}

impl ExportError {
    /// Wraps whatever went wrong.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            cause: Cause::Error(Arc::from(cause.into())),
            lost: None,
            logs: false,
        }
    }

    /// Says that not the whole batch is lost: `failed` did not get there, `rejected` were refused, the rest was taken.
    ///
    /// ```
    /// use cortex_trace::{ExportError, Exporter, SpanData, Tracer};
    /// use std::time::Duration;
    ///
    /// struct Picky;
    /// impl Exporter for Picky {
    ///     fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
    ///         Err(ExportError::new("the name is too long").only(0, 1))
    ///     }
    /// }
    ///
    /// let tracer = Tracer::builder("shop").export(Picky).build()?;
    /// tracer.span("restock").start().end();
    /// tracer.flush_blocking(Duration::from_secs(60))?;
    /// assert_eq!((tracer.stats().rejected, tracer.stats().failed), (1, 0));
    /// assert_eq!(tracer.last_errors().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn only(mut self, failed: u64, rejected: u64) -> Self {
        self.lost = Some((failed, rejected));
        self
    }

    /// Returns how many of a batch of `all` failed, and how many were rejected.
    pub(crate) fn lost(&self, all: u64) -> (u64, u64) {
        let (failed, rejected) = self.lost.unwrap_or((all, 0));
        let failed = failed.min(all);
        (failed, rejected.min(all - failed))
    }

    /// Says that this is about logs.
    #[cfg(all(feature = "otlp", feature = "logs"))]
    pub(crate) const fn of_logs(mut self) -> Self {
        self.logs = true;
        self
    }

    pub(crate) fn panicked(message: &str) -> Self {
        Self {
            cause: Cause::Panic(Arc::from(Box::<dyn Error + Send + Sync>::from(message))),
            lost: None,
            logs: false,
        }
    }

    /// Says whether the exporter panicked instead of returning an error.
    pub const fn is_panic(&self) -> bool {
        matches!(self.cause, Cause::Panic(_))
    }
}

impl From<io::Error> for ExportError {
    fn from(error: io::Error) -> Self {
        Self::new(error)
    }
}

impl fmt::Display for ExportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.logs { "export logs" } else { "export spans" })?;
        match self.cause {
            Cause::Error(_) => Ok(()),
            Cause::Panic(_) => f.write_str(": the exporter panicked"),
        }
    }
}

impl Error for ExportError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let (Cause::Error(cause) | Cause::Panic(cause)) = &self.cause;
        Some(&**cause)
    }
}

/// Says which exporters did not finish a flush or a shutdown.
///
/// # Examples
///
/// ```
/// use cortex_trace::{ExportError, Exporter, SpanData, Tracer};
/// use std::time::Duration;
///
/// struct Broken;
/// impl Exporter for Broken {
///     fn name(&self) -> &'static str {
///         "broken"
///     }
///     fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
///         Ok(())
///     }
///     fn flush(&mut self) -> Result<(), ExportError> {
///         Err(ExportError::new("disk full"))
///     }
/// }
///
/// let tracer = Tracer::builder("shop").export(Broken).build()?;
/// let error = tracer.flush_blocking(Duration::from_secs(60)).unwrap_err();
/// assert_eq!(error.to_string(), "flush spans: broken: disk full");
/// assert!(!error.is_timeout());
/// # Ok::<(), cortex_trace::BuildError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct FlushError {
    pub(crate) late: Vec<&'static str>,
    pub(crate) failed: Vec<(&'static str, ExportError)>,
    pub(crate) thread: Option<Arc<io::Error>>,
    pub(crate) logs: bool,
}

impl FlushError {
    /// Says whether the time was up before every exporter was done.
    pub const fn is_timeout(&self) -> bool {
        !self.late.is_empty()
    }

    /// Returns the names of the exporters that were not done when the time was up.
    pub fn late(&self) -> &[&'static str] {
        &self.late
    }

    /// Takes over what else did not get done.
    #[cfg(feature = "telemetry")]
    pub(crate) fn extend(&mut self, other: Self) {
        self.late.extend(other.late);
        self.failed.extend(other.failed);
        self.thread = self.thread.take().or(other.thread);
        self.logs &= other.logs;
    }

    /// Returns the names of the exporters that failed, and why.
    pub fn failed(&self) -> impl Iterator<Item = (&'static str, &ExportError)> {
        self.failed.iter().map(|(name, error)| (*name, error))
    }
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.logs { "flush logs" } else { "flush spans" })?;
        let mut separator = ": ";
        for (name, error) in &self.failed {
            let (Cause::Error(cause) | Cause::Panic(cause)) = &error.cause;
            let panicked = if error.is_panic() { "panicked: " } else { "" };
            write!(f, "{separator}{name}: {panicked}{cause}")?;
            separator = "; ";
        }
        for name in &self.late {
            write!(f, "{separator}{name}: not done in time")?;
            separator = "; ";
        }
        if let Some(error) = &self.thread {
            write!(f, "{separator}no thread to wait on: {error}")?;
        }
        Ok(())
    }
}

impl Error for FlushError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_errors_fit_a_sentence_and_keep_their_cause() {
        let thread = BuildError::thread(io::ErrorKind::OutOfMemory.into());
        assert_eq!(thread.kind(), BuildErrorKind::Thread);
        assert_eq!(
            thread.to_string(),
            "build the tracer: the system did not start a thread for an exporter"
        );
        assert!(thread.source().is_some());
        let limit = BuildError::new(BuildErrorKind::Limit);
        assert_eq!(
            limit.to_string(),
            "build the tracer: the queue capacity and the batch size must not be zero"
        );
        assert!(limit.source().is_none());
    }

    #[test]
    fn export_errors_keep_their_cause() {
        let failed = ExportError::from(io::Error::other("disk full"));
        assert_eq!(
            (failed.to_string().as_str(), failed.is_panic()),
            ("export spans", false)
        );
        assert_eq!(
            failed.source().map(ToString::to_string).as_deref(),
            Some("disk full")
        );
        let panicked = ExportError::panicked("index out of bounds");
        assert!(panicked.is_panic());
        assert_eq!(panicked.to_string(), "export spans: the exporter panicked");
        assert_eq!(
            panicked.source().map(ToString::to_string).as_deref(),
            Some("index out of bounds")
        );
    }

    #[test]
    fn a_flush_error_names_everybody() {
        let error = FlushError {
            late: vec!["collector"],
            failed: vec![
                ("file", ExportError::new("disk full")),
                ("console", ExportError::panicked("closed")),
            ],
            thread: Some(Arc::new(io::Error::other("too many"))),
            logs: false,
        };
        assert_eq!(
            error.to_string(),
            "flush spans: file: disk full; console: panicked: closed; collector: not done in time; \
             no thread to wait on: too many"
        );
        assert!(error.is_timeout());
        assert_eq!((error.late(), error.failed().count()), (&["collector"][..], 2));
    }
}
