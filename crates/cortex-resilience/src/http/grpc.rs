use super::classify_end::ClassifyEnd;
use super::pushback::grpc_pushback;
use crate::classify::{Classify, Pushback};
use crate::outcome::Outcome;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use std::sync::Arc;

/// Judges answers of gRPC by the `grpc-status` among their headers, or among their trailers.
///
/// It is among the headers if the call failed before there was anything to send. An answer without it has begun: its status comes
/// in the trailers, and gRPC does not repeat it. It is a success unless a policy
/// [waits for the end](crate::circuit::BreakerLayer::until_body_end) and so for the trailers; without a status there, it is
/// unknown. Failures are the statuses that speak of the server: unknown (2), deadline exceeded (4),
/// resource exhausted (8), internal (13), unavailable (14) and data loss (15). Worth another attempt are errors, and unavailable
/// unless it is told otherwise.
///
/// # Examples
///
/// ```
/// use cortex_resilience::{Classify, Pushback, http::GrpcClassify};
/// use http::Response;
///
/// let answer = Response::builder()
///     .header("grpc-status", "8")
///     .header("grpc-retry-pushback-ms", "-1")
///     .body(())?;
/// let result: Result<_, &std::io::Error> = Ok(&answer);
/// let classify = GrpcClassify::new().retryable([8, 14]);
/// assert!(classify.is_retryable(result) && classify.is_throttling(result));
/// assert_eq!(classify.pushback(result), Some(Pushback::Stop));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GrpcClassify {
    retryable: Arc<[u32]>,
}

impl GrpcClassify {
    /// Makes one with the defaults.
    pub fn new() -> Self {
        Self {
            retryable: Arc::new([UNAVAILABLE]),
        }
    }

    /// Sets the statuses that are worth another attempt; by default unavailable (14).
    #[must_use]
    pub fn retryable(mut self, statuses: impl IntoIterator<Item = u32>) -> Self {
        self.retryable = statuses.into_iter().collect();
        self
    }
}

impl GrpcClassify {
    fn judge(&self, status: u32) -> Outcome {
        match status {
            UNKNOWN | DEADLINE_EXCEEDED | RESOURCE_EXHAUSTED | INTERNAL | UNAVAILABLE | DATA_LOSS => {
                Outcome::Failure
            }
            OK => Outcome::Success,
            status if self.retryable.contains(&status) => Outcome::Failure,
            _ => Outcome::Success,
        }
    }
}

impl Default for GrpcClassify {
    fn default() -> Self {
        Self::new()
    }
}

const OK: u32 = 0;
const UNKNOWN: u32 = 2;
const DEADLINE_EXCEEDED: u32 = 4;
const RESOURCE_EXHAUSTED: u32 = 8;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;
const DATA_LOSS: u32 = 15;

const STATUS: &str = "grpc-status";

fn read(value: &HeaderValue) -> u32 {
    let code = value.to_str().ok().and_then(|value| value.parse().ok());
    code.unwrap_or(UNKNOWN)
}

/// Returns the status; that of HTTP stands for one if there is none, as gRPC's mapping has it.
fn status<B>(answer: &Response<B>) -> u32 {
    match answer.headers().get(STATUS) {
        Some(value) => read(value),
        None => match answer.status() {
            StatusCode::OK => OK,
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => UNAVAILABLE,
            StatusCode::BAD_REQUEST => INTERNAL,
            _ => UNKNOWN,
        },
    }
}

impl<B, E> Classify<Response<B>, E> for GrpcClassify {
    fn outcome(&self, result: Result<&Response<B>, &E>) -> Outcome {
        result.map_or(Outcome::Failure, |answer| self.judge(status(answer)))
    }

    fn is_retryable(&self, result: Result<&Response<B>, &E>) -> bool {
        result
            .map(status)
            .map_or(true, |status| status != OK && self.retryable.contains(&status))
    }

    fn is_throttling(&self, result: Result<&Response<B>, &E>) -> bool {
        result
            .map(status)
            .is_ok_and(|status| status == RESOURCE_EXHAUSTED)
    }

    fn is_timeout(&self, result: Result<&Response<B>, &E>) -> bool {
        result.map(status).is_ok_and(|status| status == DEADLINE_EXCEEDED)
    }

    fn pushback(&self, result: Result<&Response<B>, &E>) -> Option<Pushback> {
        let answer = result.ok().filter(|answer| status(answer) != OK)?;
        grpc_pushback(answer.headers())
    }
}

impl<B, E> ClassifyEnd<Response<B>, E> for GrpcClassify {
    /// Where there is a status among the headers, that was all.
    fn needs_trailers(&self, headers: &HeaderMap) -> bool {
        !headers.contains_key(STATUS)
    }

    fn end(&self, trailers: &HeaderMap) -> Outcome {
        self.judge(trailers.get(STATUS).map_or(UNKNOWN, read))
    }

    fn end_pushback(&self, trailers: &HeaderMap) -> Option<Pushback> {
        grpc_pushback(trailers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(http: u16, grpc: Option<&str>) -> Response<()> {
        let mut answer = Response::builder().status(http);
        if let Some(grpc) = grpc {
            answer = answer.header("grpc-status", grpc);
        }
        answer.body(()).expect("it is one")
    }

    #[test]
    fn statuses_are_judged_as_it_says() {
        let classify = GrpcClassify::default();
        for (http, grpc, outcome, retryable) in [
            (200, None, Outcome::Success, false),
            (200, Some("0"), Outcome::Success, false),
            (200, Some("5"), Outcome::Success, false), // not found: it did its work
            (200, Some("2"), Outcome::Failure, false),
            (200, Some("x"), Outcome::Failure, false),
            (200, Some("14"), Outcome::Failure, true),
            (503, None, Outcome::Failure, true),
            (400, None, Outcome::Failure, false),
            (404, None, Outcome::Failure, false),
        ] {
            let answer = answer(http, grpc);
            let result: Result<_, &()> = Ok(&answer);
            assert_eq!(classify.outcome(result), outcome, "{http} {grpc:?}");
            assert_eq!(classify.is_retryable(result), retryable, "{http} {grpc:?}");
        }
        let error: Result<&Response<()>, &()> = Err(&());
        assert!(classify.is_retryable(error) && classify.outcome(error) == Outcome::Failure);
        let (slow, busy) = (answer(200, Some("4")), answer(200, Some("8")));
        assert!(classify.is_timeout(Ok::<_, &()>(&slow)) && !classify.is_timeout(error));
        assert!(classify.is_throttling(Ok::<_, &()>(&busy)) && !classify.is_throttling(error));
        let aborted = answer(200, Some("10"));
        let classify = GrpcClassify::new().retryable([0, 10]);
        assert_eq!(classify.outcome(Ok::<_, &()>(&aborted)), Outcome::Failure);
        assert!(!classify.is_retryable(Ok::<_, &()>(&answer(200, None)))); // never what has succeeded
    }

    #[test]
    fn a_success_says_nothing_of_further_attempts() {
        let mut answer = answer(200, None);
        answer.headers_mut().insert("grpc-retry-pushback-ms", 5.into());
        let classify = GrpcClassify::new();
        assert_eq!(classify.pushback(Ok::<_, &()>(&answer)), None);
        answer.headers_mut().insert("grpc-status", 14.into());
        let wait = std::time::Duration::from_millis(5);
        assert_eq!(
            classify.pushback(Ok::<_, &()>(&answer)),
            Some(Pushback::After(wait))
        );
    }
}
