use std::error::Error;
use std::fmt;
use std::sync::Arc;

use http::StatusCode;

/// Says why metrics cannot be pushed, or were not.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{OtlpErrorKind, OtlpExporter, Registry};
///
/// let exporter = OtlpExporter::http(&Registry::default()).endpoint("collector:4318");
/// let error = exporter.start().unwrap_err();
/// assert!(matches!(error.kind(), OtlpErrorKind::InvalidEndpoint { .. }));
/// assert_eq!(
///     error.to_string(),
///     "start the OTLP exporter: its endpoint \"collector:4318\" must be an absolute URL with http or https",
/// );
/// ```
#[derive(Clone, Debug)]
pub struct OtlpError {
    kind: OtlpErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl OtlpError {
    pub(super) fn new(kind: OtlpErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(super) fn caused(kind: OtlpErrorKind, source: Box<dyn Error + Send + Sync>) -> Self {
        let source = Some(source.into());
        Self { kind, source }
    }

    /// Returns what is wrong.
    pub fn kind(&self) -> &OtlpErrorKind {
        &self.kind
    }
}

impl fmt::Display for OtlpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use OtlpErrorKind as Kind;
        f.write_str(match self.kind {
            Kind::InvalidEndpoint { .. }
            | Kind::NeedsClient { .. }
            | Kind::InvalidHeader { .. }
            | Kind::InvalidVariable { .. }
            | Kind::NoRuntime => "start the OTLP exporter: ",
            _ => "push metrics: ",
        })?;
        match &self.kind {
            Kind::InvalidEndpoint { endpoint } => write!(
                f,
                "its endpoint {endpoint:?} must be an absolute URL with http or https"
            ),
            Kind::NeedsClient { endpoint } => {
                write!(f, "its endpoint {endpoint:?} needs a client that speaks TLS")
            }
            Kind::InvalidHeader { name } => write!(f, "its header {name:?} has a bad name or value"),
            Kind::InvalidVariable { name } => {
                write!(f, "the variable {name} has a value that is not supported")
            }
            Kind::NoRuntime => f.write_str("there is no tokio runtime here"),
            Kind::Encode => f.write_str("a metric or a collector panicked"),
            Kind::Transport => f.write_str("the request failed"),
            Kind::TimedOut => f.write_str("the collector did not answer in time"),
            Kind::Throttled => f.write_str("the collector asked to wait for longer"),
            Kind::Refused { status, message } => {
                write!(f, "the collector answered {status}")?;
                say(f, message)
            }
            Kind::Rejected { points, message } => {
                write!(f, "the collector rejected {points} data points")?;
                say(f, message)
            }
            Kind::Stopped => f.write_str("the exporter has stopped"),
        }
    }
}

fn say(f: &mut fmt::Formatter<'_>, message: &str) -> fmt::Result {
    if message.is_empty() {
        return Ok(());
    }
    write!(f, ": {}", message.escape_debug())
}

impl Error for OtlpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// What is wrong with an exporter or a push.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{OtlpErrorKind, OtlpExporter, Registry};
///
/// let exporter = OtlpExporter::http(&Registry::default()).header("two words", "");
/// let expected = OtlpErrorKind::InvalidHeader { name: "two words".into() };
/// assert_eq!(*exporter.start().unwrap_err().kind(), expected);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtlpErrorKind {
    /// The endpoint is no absolute URL with `http` or `https`, or it has a user name, which belongs into a header.
    InvalidEndpoint {
        /// The endpoint, without what stands before an `@`.
        endpoint: String,
    },
    /// The endpoint wants TLS, which the client that comes along does not speak:
    /// [`client`](super::OtlpExporter::client) takes one that does.
    NeedsClient {
        /// The endpoint.
        endpoint: String,
    },
    /// HTTP allows no such header.
    InvalidHeader {
        /// Its name; the value may be a secret.
        name: String,
    },
    /// A variable of the environment is malformed, or asks for what is not supported.
    InvalidVariable {
        /// Its name; the value may be a secret.
        name: &'static str,
    },
    /// It was not started within a tokio runtime.
    NoRuntime,
    /// A family could not be encoded, because code that makes or collects its metrics panicked.
    Encode,
    /// There is no connection, or it broke; the source says more.
    Transport,
    /// There was no whole answer within the time limit.
    TimedOut,
    /// An earlier answer asked to wait for longer than this push may.
    Throttled,
    /// The collector answered with an error.
    Refused {
        /// The status code.
        status: StatusCode,
        /// What it said, cut if it said much.
        message: String,
    },
    /// The collector took all data points but some.
    Rejected {
        /// How many it did not take.
        points: u64,
        /// What it said, cut if it said much.
        message: String,
    },
    /// The exporter was shut down, or its runtime was.
    Stopped,
}
