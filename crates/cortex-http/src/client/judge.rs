use std::any::Any;

use cortex_core::{Clock, TscClock};
use cortex_resilience::http::{ClassifyEnd, HttpClassify};
use cortex_resilience::{Classify, Outcome, Pushback};
use http::{HeaderMap, Response};

use super::error::{Error, ErrorKind};

/// Tells policies around a [`Client`](crate::Client) what its answers and errors mean.
///
/// Answers are judged as [`HttpClassify`] does, `Retry-After` included. An error is a failure of whoever is called, and worth another
/// attempt, but for these:
///
/// - the deadline of the caller, and what is wrong with the request itself, are nobody's failure and not tried again; a time that a
///   policy here has set, such as that of all attempts, is not the caller's, and to exceed it is a failure: of whoever is asked at
///   that moment, however little time was left, which is why attempts should have a timeout of their own;
/// - a TLS handshake that fails, and answers that are too large, are failures that another attempt does not mend.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use cortex_http::Client;
/// use cortex_http::client::{Body, ClientClassify, Error};
/// use cortex_resilience::{Classify, Outcome};
///
/// let answer: Result<http::Response<Body>, Error> = Client::builder().build()?.get("/without-a-host").await;
/// let classify = ClientClassify::new();
/// assert_eq!(classify.outcome(answer.as_ref()), Outcome::Ignore);
/// assert!(!classify.is_retryable(answer.as_ref()));
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientClassify<K = TscClock> {
    answers: HttpClassify<K>,
}

impl ClientClassify {
    /// Makes one with the defaults of [`HttpClassify`].
    pub fn new() -> Self {
        Self {
            answers: HttpClassify::new(),
        }
    }
}

impl Default for ClientClassify {
    fn default() -> Self {
        Self::new()
    }
}

impl<K> ClientClassify<K> {
    /// Sets what judges answers.
    #[must_use]
    pub fn answers<K2: Clock>(self, answers: HttpClassify<K2>) -> ClientClassify<K2> {
        ClientClassify { answers }
    }
}

impl<B, K: Clock> Classify<Response<B>, Error> for ClientClassify<K> {
    fn outcome(&self, result: Result<&Response<B>, &Error>) -> Outcome {
        match result {
            Err(error) if is_ours(error.kind()) => Outcome::Ignore,
            _ => self.answers.outcome(result),
        }
    }

    fn is_retryable(&self, result: Result<&Response<B>, &Error>) -> bool {
        match result {
            Err(error) => !is_ours(error.kind()) && mends(error.kind()),
            Ok(_) => self.answers.is_retryable(result),
        }
    }

    fn is_throttling(&self, result: Result<&Response<B>, &Error>) -> bool {
        self.answers.is_throttling(result)
    }

    fn is_timeout(&self, result: Result<&Response<B>, &Error>) -> bool {
        match result {
            Err(error) => !is_ours(error.kind()) && error.is_timeout(),
            Ok(_) => self.answers.is_timeout(result),
        }
    }

    fn pushback(&self, result: Result<&Response<B>, &Error>) -> Option<Pushback> {
        self.answers.pushback(result)
    }
}

/// A body that has ended is a success, whatever its trailers are. One that broke off is judged by its error, as a call is.
impl<B, K: Clock> ClassifyEnd<Response<B>, Error> for ClientClassify<K> {
    fn needs_trailers(&self, _: &HeaderMap) -> bool {
        false
    }

    fn broke(&self, error: &dyn Any) -> Outcome {
        match error.downcast_ref::<Error>() {
            Some(error) if is_ours(error.kind()) => Outcome::Ignore,
            _ => Outcome::Failure,
        }
    }
}

/// Says whether it says nothing of whoever was called.
const fn is_ours(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Configuration
            | ErrorKind::Request
            | ErrorKind::RequestBody
            | ErrorKind::Deadline
            | ErrorKind::NotText
    )
}

/// Says whether another attempt may go better.
const fn mends(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::Tls | ErrorKind::HeadTooLarge | ErrorKind::BodyTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::super::target::Target;
    use super::*;

    #[test]
    fn errors_are_judged_by_their_kind() {
        use ErrorKind as Is;
        let classify = ClientClassify::new().answers(HttpClassify::new());
        // Whether it is a failure, worth another attempt, and a timeout.
        for (kind, expected) in [
            (Is::Configuration, (false, false, false)),
            (Is::Request, (false, false, false)),
            (Is::Connect, (true, true, false)),
            (Is::Tls, (true, false, false)),
            (Is::ConnectTimeout, (true, true, true)),
            (Is::Timeout, (true, true, true)),
            (Is::Deadline, (false, false, false)),
            (Is::BodyIdle, (true, true, true)),
            (Is::BodyTooLarge, (true, false, false)),
            (Is::HeadTooLarge, (true, false, false)),
            (Is::Closed, (true, true, false)),
            (Is::Protocol, (true, true, false)),
            (Is::RequestBody, (false, false, false)),
            (Is::Cancelled, (true, true, false)),
            (Is::NotText, (false, false, false)),
            (Is::Inner, (true, true, false)),
        ] {
            let error = Error::new(kind, &Target::default());
            let result: Result<&Response<()>, _> = Err(&error);
            let judged = (
                classify.outcome(result) == Outcome::Failure,
                classify.is_retryable(result),
                classify.is_timeout(result),
            );
            assert_eq!(judged, expected, "{kind:?}");
            assert!(!classify.is_throttling(result) && classify.pushback(result).is_none());
        }
    }

    #[test]
    fn answers_are_judged_by_their_status() {
        let classify = ClientClassify::new();
        let mut answer = Response::new(());
        *answer.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
        answer.headers_mut().insert("retry-after", 7.into());
        let result = Ok(&answer);
        assert!(classify.outcome(result) == Outcome::Failure && classify.is_retryable(result));
        assert!(classify.is_throttling(result) && !classify.is_timeout(result));
        let wait = std::time::Duration::from_secs(7);
        assert_eq!(classify.pushback(result), Some(Pushback::After(wait)));
    }
}
