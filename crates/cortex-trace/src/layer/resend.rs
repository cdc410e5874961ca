/// How many times a request has been sent before, in its extensions: the attribute `http.request.resend_count`.
///
/// Whoever retries puts it there, with 1 for the first retry.
///
/// # Examples
///
/// ```
/// use cortex_trace::layer::ResendCount;
/// use http::Request;
///
/// fn again(request: &Request<String>) -> Request<String> {
///     let mut copy = request.clone();
///     let sent = request.extensions().get().map_or(0, |ResendCount(count)| *count);
///     copy.extensions_mut().insert(ResendCount(sent + 1));
///     copy
/// }
///
/// let third = again(&again(&Request::default()));
/// assert_eq!(third.extensions().get(), Some(&ResendCount(2)));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResendCount(pub u32);
