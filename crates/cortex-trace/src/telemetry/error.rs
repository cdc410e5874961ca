use std::error::Error;
use std::fmt;

#[cfg(feature = "otlp")]
use crate::OtlpError;
use crate::{BuildError, FilterError, VariableError};

/// Says why [`Telemetry`](crate::Telemetry) could not be set up; nothing was installed then.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Telemetry, TelemetryError, Tracer};
///
/// let error = Telemetry::builder(Tracer::builder("shop")).filter("shop=loud").build().unwrap_err();
/// assert!(matches!(error, TelemetryError::Filter(_)));
/// assert_eq!(error.to_string(), "set up telemetry: the filter is not valid");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The tracer, or the queue of log records, could not be built.
    Build(BuildError),
    /// The filter is not valid.
    Filter(FilterError),
    /// A variable of the environment has a value that cannot be used.
    Variable(VariableError),
    /// The exporter to a collector could not be set up.
    #[cfg(feature = "otlp")]
    Otlp(OtlpError),
    /// The process has a subscriber already.
    AlreadyInstalled,
}

impl fmt::Display for TelemetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("set up telemetry: ")?;
        f.write_str(match self {
            Self::Build(_) => "the tracer or the logs did not start",
            Self::Filter(_) => "the filter is not valid",
            Self::Variable(error) => return write!(f, "{} has a value that cannot be used", error.name()),
            #[cfg(feature = "otlp")]
            Self::Otlp(_) => "the exporter to a collector is not valid",
            Self::AlreadyInstalled => "the process has a tracing subscriber already",
        })
    }
}

impl Error for TelemetryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(match self {
            Self::Build(error) => error,
            Self::Filter(error) => error,
            Self::Variable(error) => error,
            #[cfg(feature = "otlp")]
            Self::Otlp(error) => error,
            Self::AlreadyInstalled => return None,
        })
    }
}

impl From<BuildError> for TelemetryError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

impl From<FilterError> for TelemetryError {
    fn from(error: FilterError) -> Self {
        Self::Filter(error)
    }
}

impl From<VariableError> for TelemetryError {
    fn from(error: VariableError) -> Self {
        Self::Variable(error)
    }
}

#[cfg(feature = "otlp")]
impl From<OtlpError> for TelemetryError {
    fn from(error: OtlpError) -> Self {
        Self::Otlp(error)
    }
}
