/// What an error of a client says of whoever is called.
///
/// # Examples
///
/// ```
/// use cortex_resilience::http::{ErrorKind, HttpClassify};
/// use cortex_resilience::{Classify, Outcome};
/// use std::io;
///
/// let classify = HttpClassify::new().errors(|error: &io::Error| match error.kind() {
///     io::ErrorKind::TimedOut => ErrorKind::Timeout,
///     io::ErrorKind::InvalidInput => ErrorKind::Request,
///     _ => ErrorKind::Transport,
/// });
/// let wrong: Result<&http::Response<()>, _> = Err(&io::Error::from(io::ErrorKind::InvalidInput));
/// assert_eq!(classify.outcome(wrong), Outcome::Ignore);
/// assert!(!classify.is_retryable(wrong));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// It was not there, or its connection broke: a failure, and worth another attempt.
    Transport,
    /// It took too long: the same, and a timeout.
    Timeout,
    /// The request itself is wrong, and was not sent: it says nothing, and would be wrong again.
    Request,
    /// It was answered, in a way that another attempt does not mend, such as by redirects without an end: a failure.
    Permanent,
}

/// Says what errors are. A function is one.
pub trait KindOf<E> {
    /// Says what this one is.
    fn kind(&self, error: &E) -> ErrorKind;
}

impl<E, F: Fn(&E) -> ErrorKind> KindOf<E> for F {
    fn kind(&self, error: &E) -> ErrorKind {
        self(error)
    }
}

/// Takes all errors for those of the transport: the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllTransport;

impl<E> KindOf<E> for AllTransport {
    fn kind(&self, _: &E) -> ErrorKind {
        ErrorKind::Transport
    }
}
