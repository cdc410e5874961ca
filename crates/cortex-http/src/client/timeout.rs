use std::time::Duration;

/// How long one call may take, in the extensions of its request: instead of what the client says of all.
///
/// The deadline of the current context holds beside it. [`Duration::MAX`] is no limit.
///
/// # Examples
///
/// ```
/// use cortex_http::client::Timeout;
/// use std::time::Duration;
///
/// let request = http::Request::get("http://stock.internal/report")
///     .extension(Timeout(Duration::from_mins(2)))
///     .body(())?;
/// assert_eq!(request.extensions().get::<Timeout>().map(|limit| limit.0.as_secs()), Some(120));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeout(pub Duration);
