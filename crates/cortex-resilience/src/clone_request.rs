/// Makes copies of requests, so that they can be sent more than once.
///
/// A function from `&R` to `Option<R>` is one. `None` says that a request can't or must not be sent again: it gets one attempt.
///
/// # Examples
///
/// ```
/// use cortex_resilience::CloneRequest;
///
/// fn small(request: &Vec<u8>) -> Option<Vec<u8>> {
///     (request.len() <= 64 << 10).then(|| request.clone()) // what is larger is not kept
/// }
/// assert_eq!(small.clone_request(&vec![1]), Some(vec![1]));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which requests `{R}` are sent again",
    note = "a pipeline with a retry or a hedge takes it by `layer_for`: `Cloned` copies all requests, `HttpRequests` those that are idempotent"
)]
pub trait CloneRequest<R> {
    /// Returns a copy, unless the request gets one attempt.
    fn clone_request(&self, request: &R) -> Option<R>;

    /// Changes a request that is sent again, before the attempt with this number; the second is 2. By default it stays.
    fn prepare(&self, request: &mut R, attempt: u32) {
        let _ = (request, attempt);
    }
}

impl<R, F: Fn(&R) -> Option<R>> CloneRequest<R> for F {
    fn clone_request(&self, request: &R) -> Option<R> {
        self(request)
    }
}

/// Clones every request: the default.
///
/// # Examples
///
/// ```
/// use cortex_resilience::{CloneRequest, Cloned};
///
/// assert_eq!(Cloned.clone_request(&7), Some(7));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cloned;

impl<R: Clone> CloneRequest<R> for Cloned {
    fn clone_request(&self, request: &R) -> Option<R> {
        Some(request.clone())
    }
}
