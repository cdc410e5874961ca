/// Names an error of the traced service, for the attribute `error.type`.
///
/// A function that returns one of a few names is one; `()` calls every error `_OTHER`, as OpenTelemetry has it.
///
/// # Examples
///
/// ```
/// use cortex_trace::layer::ErrorType;
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
    /// Returns the name, one of a small set: backends group by it.
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
