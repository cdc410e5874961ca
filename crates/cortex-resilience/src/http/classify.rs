use super::answers::{AnswersBy, ReadHead, Responses};
use super::classify_end::ClassifyEnd;
use super::errors::{AllTransport, ErrorKind, KindOf};
use super::pushback::pushback;
use crate::classify::{Classify, Pushback};
use crate::outcome::Outcome;
use cortex_core::{Clock, TscClock};
use http::{HeaderMap, StatusCode};
use std::any::Any;
use std::sync::Arc;

/// Judges answers of HTTP by their status.
///
/// `5xx` and `429` are failures, everything else that was answered is a success, and so is a `404`: the dependency did its work.
/// An error is a failure, unless [told otherwise](Self::errors). Worth another attempt are errors, `429`, `502`, `503` and `504`. `429` says that the dependency has too
/// much to do, `504` that it took too long. What the answer says of further attempts is [`pushback`](fn@super::pushback).
///
/// # Examples
///
/// ```
/// use cortex_resilience::{Classify, Outcome, http::HttpClassify};
/// use http::{Response, StatusCode};
///
/// let classify = HttpClassify::new().retryable([StatusCode::SERVICE_UNAVAILABLE]);
/// let mut answer = Response::new(());
/// *answer.status_mut() = StatusCode::BAD_GATEWAY;
/// let result: Result<_, &std::io::Error> = Ok(&answer);
/// assert_eq!(classify.outcome(result), Outcome::Failure);
/// assert!(!classify.is_retryable(result));
/// ```
#[derive(Clone, Debug)]
pub struct HttpClassify<K = TscClock, A = Responses, X = AllTransport> {
    retryable: Arc<[StatusCode]>,
    clock: K,
    answers: A,
    errors: X,
}

impl HttpClassify {
    /// Makes one with the defaults.
    pub fn new() -> Self {
        Self {
            retryable: Arc::new([
                StatusCode::TOO_MANY_REQUESTS,
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ]),
            clock: TscClock,
            answers: Responses,
            errors: AllTransport,
        }
    }
}

impl<K, A, X> HttpClassify<K, A, X> {
    /// Sets which answers are worth another attempt, among those that are failures; by default `429`, `502`, `503` and `504`.
    #[must_use]
    pub fn retryable(mut self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.retryable = statuses.into_iter().collect();
        self
    }

    /// Sets the clock that dates are read against; by default the operating system's.
    #[must_use]
    pub fn clock<K2: Clock>(self, clock: K2) -> HttpClassify<K2, A, X> {
        HttpClassify {
            retryable: self.retryable,
            clock,
            answers: self.answers,
            errors: self.errors,
        }
    }

    /// Sets how answers of another type than [`http::Response`] are read: their status, and their headers.
    ///
    /// ```
    /// use cortex_resilience::http::HttpClassify;
    /// use cortex_resilience::{Classify, Outcome};
    ///
    /// use reqwest::Response;
    ///
    /// let classify = HttpClassify::new().answers(Response::status, Response::headers);
    /// let answer = Response::from(http::Response::builder().status(503).body("")?);
    /// let result: Result<_, &reqwest::Error> = Ok(&answer);
    /// assert_eq!(classify.outcome(result), Outcome::Failure);
    /// # Ok::<(), http::Error>(())
    /// ```
    #[must_use]
    pub fn answers<T, S, H>(self, status: S, headers: H) -> HttpClassify<K, AnswersBy<S, H>, X>
    where
        S: Fn(&T) -> StatusCode,
        H: Fn(&T) -> &HeaderMap,
    {
        HttpClassify {
            retryable: self.retryable,
            clock: self.clock,
            answers: AnswersBy { status, headers },
            errors: self.errors,
        }
    }

    /// Sets what errors are; by default, they all are of the [transport](ErrorKind::Transport).
    #[must_use]
    pub fn errors<E, X2: Fn(&E) -> ErrorKind>(self, kind: X2) -> HttpClassify<K, A, X2> {
        HttpClassify {
            retryable: self.retryable,
            clock: self.clock,
            answers: self.answers,
            errors: kind,
        }
    }
}

impl Default for HttpClassify {
    fn default() -> Self {
        Self::new()
    }
}

fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

impl<T, E, K, A, X> Classify<T, E> for HttpClassify<K, A, X>
where
    K: Clock,
    A: ReadHead<T>,
    X: KindOf<E>,
{
    fn outcome(&self, result: Result<&T, &E>) -> Outcome {
        match result {
            Ok(answer) if !is_failure(self.answers.status(answer)) => Outcome::Success,
            Err(error) if self.errors.kind(error) == ErrorKind::Request => Outcome::Ignore,
            _ => Outcome::Failure,
        }
    }

    fn is_retryable(&self, result: Result<&T, &E>) -> bool {
        match result {
            Ok(answer) => {
                let status = self.answers.status(answer);
                is_failure(status) && self.retryable.contains(&status)
            }
            Err(error) => !matches!(self.errors.kind(error), ErrorKind::Request | ErrorKind::Permanent),
        }
    }

    fn is_throttling(&self, result: Result<&T, &E>) -> bool {
        result.is_ok_and(|answer| self.answers.status(answer) == StatusCode::TOO_MANY_REQUESTS)
    }

    fn is_timeout(&self, result: Result<&T, &E>) -> bool {
        match result {
            Ok(answer) => self.answers.status(answer) == StatusCode::GATEWAY_TIMEOUT,
            Err(error) => self.errors.kind(error) == ErrorKind::Timeout,
        }
    }

    fn pushback(&self, result: Result<&T, &E>) -> Option<Pushback> {
        let answer = result
            .ok()
            .filter(|answer| is_failure(self.answers.status(answer)))?;
        pushback(self.answers.headers(answer), self.clock.wall())
    }
}

/// A body that has ended is a success, whatever its trailers are. An error of a body that is of the type of the calls' is judged as
/// theirs are.
impl<T, E: 'static, K: Clock, A: ReadHead<T>, X: KindOf<E>> ClassifyEnd<T, E> for HttpClassify<K, A, X> {
    fn needs_trailers(&self, _: &HeaderMap) -> bool {
        false
    }

    fn broke(&self, error: &dyn Any) -> Outcome {
        match error.downcast_ref() {
            Some(error) => Classify::<T, E>::outcome(self, Err(error)),
            None => Outcome::Failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_testkit::ManualClock;
    use http::{HeaderValue, Response};
    use std::time::Duration;

    fn answer(status: u16) -> Response<()> {
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::from_u16(status).expect("it is one");
        answer
    }

    #[test]
    fn statuses_are_judged_as_it_says() {
        let classify = HttpClassify::default();
        for status in [
            200, 204, 304, 400, 401, 404, 408, 425, 429, 500, 501, 502, 503, 504, 599,
        ] {
            let answer = answer(status);
            let result: Result<_, &()> = Ok(&answer);
            let failure = status >= 500 || status == 429;
            assert_eq!(classify.outcome(result) == Outcome::Failure, failure, "{status}");
            assert_eq!(
                classify.is_retryable(result),
                [429, 502, 503, 504].contains(&status),
                "{status}"
            );
            assert_eq!(classify.is_throttling(result), status == 429);
            assert_eq!(classify.is_timeout(result), status == 504);
        }
        let error: Result<&Response<()>, &&str> = Err(&"refused");
        assert!(classify.outcome(error) == Outcome::Failure && classify.is_retryable(error));
        assert!(!classify.is_throttling(error) && !classify.is_timeout(error));
        assert_eq!(classify.pushback(error), None);
    }

    #[test]
    fn dates_are_read_against_its_clock_and_of_failures_only() {
        let clock = ManualClock::new();
        clock.set_wall(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777));
        let classify = HttpClassify::new().clock(clock);
        for (status, wait) in [(503, Some(Pushback::After(Duration::from_secs(10)))), (301, None)] {
            let mut answer = answer(status);
            let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:47 GMT");
            answer.headers_mut().insert("retry-after", date);
            assert_eq!(classify.pushback(Ok::<_, &()>(&answer)), wait);
        }
    }
}
