use std::fmt::{self, Display};

/// Names an error of the measured service, for the label `error_type`.
///
/// A function that returns one of a few names is one; `()` calls every error `_OTHER`, as OpenTelemetry has it.
///
/// # Examples
///
/// ```
/// use cortex_metrics::layer::ErrorType;
/// use std::io;
///
/// let by_kind = |error: &io::Error| match error.kind() {
///     io::ErrorKind::ConnectionRefused => "connect",
///     io::ErrorKind::TimedOut => "timeout",
///     _ => "_OTHER",
/// };
/// assert_eq!(by_kind.error_type(&io::ErrorKind::TimedOut.into()), "timeout");
/// assert_eq!(().error_type(&io::Error::other("something")), "_OTHER");
/// ```
pub trait ErrorType<E> {
    /// Returns the name, one of a small set: each makes series of its own.
    fn error_type(&self, error: &E) -> &'static str;
}

impl<E> ErrorType<E> for () {
    fn error_type(&self, _error: &E) -> &'static str {
        "_OTHER"
    }
}

impl<E, F: Fn(&E) -> &'static str> ErrorType<E> for F {
    fn error_type(&self, error: &E) -> &'static str {
        self(error)
    }
}

/// A value of the label `error_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Failure {
    None,
    Status(u16),
    Kind(&'static str),
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Status(status) => status.fmt(f),
            Self::Kind(kind) => f.write_str(kind),
        }
    }
}
