use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;

use super::tls_problem::TlsProblem;

/// Says why an [`Otlp`](crate::Otlp) exporter cannot be made, or why it could not send.
///
/// The latter is the source of an [`ExportError`](crate::ExportError), which
/// [`Tracer::last_errors`](crate::Tracer::last_errors) has.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Otlp, OtlpErrorKind};
///
/// let error = Otlp::http("collector:4318").unwrap_err();
/// assert!(matches!(error.kind(), OtlpErrorKind::InvalidEndpoint { .. }));
/// assert_eq!(
///     error.to_string(),
///     "set up OTLP: the endpoint \"collector:4318\" must be an absolute URL with http or https",
/// );
/// ```
#[derive(Clone, Debug)]
pub struct OtlpError {
    kind: OtlpErrorKind,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

/// What is wrong with an exporter, or with what it sent.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Otlp, OtlpErrorKind};
/// use std::ffi::OsString;
///
/// let error = Otlp::from_variables(|name| {
///     (name == "OTEL_EXPORTER_OTLP_TIMEOUT").then(|| OsString::from("soon"))
/// });
/// let expected = OtlpErrorKind::InvalidVariable { name: "OTEL_EXPORTER_OTLP_TIMEOUT" };
/// assert_eq!(*error.unwrap_err().kind(), expected);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtlpErrorKind {
    /// The endpoint is no absolute URL with `http` or `https`, or it has a user name, which belongs into a header.
    InvalidEndpoint {
        /// The endpoint, without what stands before an `@`.
        endpoint: String,
    },
    /// The endpoint is `https`, and the feature `tls` is off.
    NeedsTls {
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
    /// A variable of the environment asks for what a feature of this crate adds, and it is off.
    MissingFeature {
        /// The name of the variable.
        variable: &'static str,
        /// The name of the feature.
        feature: &'static str,
    },
    /// A file with certificates or a key cannot be read; the source says why.
    UnreadableFile {
        /// Where it should be.
        path: PathBuf,
    },
    /// What should be certificates in PEM is not; the source says why.
    InvalidCertificate {
        /// Where it is, if it is in a file.
        path: Option<PathBuf>,
    },
    /// What should be the private key in PEM of the client's certificate is not; the source says why.
    InvalidKey {
        /// Where it is, if it is in a file.
        path: Option<PathBuf>,
    },
    /// The worker could not start its tokio runtime; the source says more.
    Runtime,
    /// There is no connection, or it broke; the source says more.
    Transport,
    /// The collector and this client could not agree on TLS; the source says more.
    Tls {
        /// Why.
        problem: TlsProblem,
    },
    /// There was no answer in time.
    TimedOut,
    /// An earlier answer asked to wait for longer than a batch may.
    Throttled,
    /// The time of a shutdown was up.
    Aborted,
    /// The collector answered with an HTTP status that is no success.
    Refused {
        /// The status code.
        status: StatusCode,
        /// What it said, cut if it said much.
        message: String,
    },
    /// The collector answered with a gRPC status that is no success.
    RefusedGrpc {
        /// The gRPC status code: 14 is `UNAVAILABLE`.
        code: u32,
        /// What it said, cut if it said much.
        message: String,
    },
    /// The collector took all but some spans or records.
    Rejected {
        /// How many it did not take.
        items: u64,
        /// What it said, cut if it said much.
        message: String,
    },
}

impl OtlpError {
    pub(super) const fn new(kind: OtlpErrorKind) -> Self {
        Self { kind, source: None }
    }

    pub(super) fn caused(kind: OtlpErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = Some(Arc::from(source.into()));
        Self { kind, source }
    }

    /// Returns what is wrong.
    pub const fn kind(&self) -> &OtlpErrorKind {
        &self.kind
    }
}

impl fmt::Display for OtlpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use OtlpErrorKind as Kind;
        f.write_str(match self.kind {
            Kind::InvalidEndpoint { .. }
            | Kind::NeedsTls { .. }
            | Kind::InvalidHeader { .. }
            | Kind::InvalidVariable { .. }
            | Kind::MissingFeature { .. }
            | Kind::UnreadableFile { .. }
            | Kind::InvalidCertificate { .. }
            | Kind::InvalidKey { .. } => "set up OTLP: ",
            _ => "send to the collector: ",
        })?;
        match &self.kind {
            Kind::InvalidEndpoint { endpoint } => write!(
                f,
                "the endpoint {endpoint:?} must be an absolute URL with http or https"
            ),
            Kind::NeedsTls { endpoint } => write!(
                f,
                "the endpoint {endpoint:?} needs TLS: switch on the feature `tls` of cortex-trace, or use a collector on \
                 this machine"
            ),
            Kind::InvalidHeader { name } => write!(f, "the header {name:?} has a bad name or value"),
            Kind::InvalidVariable { name } => {
                write!(f, "the variable {name} has a value that is not supported")
            }
            Kind::MissingFeature { variable, feature } => write!(
                f,
                "the variable {variable} needs the feature `{feature}` of cortex-trace"
            ),
            Kind::UnreadableFile { path } => write!(f, "the file {} cannot be read", path.display()),
            Kind::InvalidCertificate { path } => {
                f.write_str("there is no usable certificate")?;
                whence(f, path.as_deref())
            }
            Kind::InvalidKey { path } => {
                f.write_str("there is no usable key for the certificate of the client")?;
                whence(f, path.as_deref())
            }
            Kind::Runtime => f.write_str("there is no runtime for it"),
            Kind::Transport => f.write_str("the request failed"),
            Kind::Tls { problem } => problem.fmt(f),
            Kind::TimedOut => f.write_str("it did not answer in time"),
            Kind::Throttled => f.write_str("it asked to wait for longer"),
            Kind::Aborted => f.write_str("the time of the shutdown is up"),
            Kind::Refused { status, message } => {
                write!(f, "it answered {status}")?;
                say(f, message)
            }
            Kind::RefusedGrpc { code, message } => {
                write!(f, "it answered gRPC status {code}")?;
                say(f, message)
            }
            Kind::Rejected { items, message } => {
                write!(f, "it rejected {items} of a batch")?;
                say(f, message)
            }
        }
    }
}

fn whence(f: &mut fmt::Formatter<'_>, path: Option<&Path>) -> fmt::Result {
    match path {
        None => f.write_str(" in what was given"),
        Some(path) => write!(f, " in {}", path.display()),
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
