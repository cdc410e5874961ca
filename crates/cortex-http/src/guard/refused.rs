use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use cortex_core::Context;
use http::{Response, StatusCode};

use super::grpc;
use crate::outcome::Outcome;
use crate::problem::Problem;

/// Says how a request is answered that is not let in by an [`Admission`](crate::Admission): a
/// [`Problem`](crate::Problem) with `Retry-After`.
///
/// A call of gRPC, which is a POST with a `content-type` of it, is answered as its clients understand it: 200 with
/// `grpc-status`, `grpc-message` and `grpc-retry-pushback-ms`. A deadline is `DEADLINE_EXCEEDED`, too many or too much
/// `RESOURCE_EXHAUSTED`, an overload `UNAVAILABLE` and a panic `INTERNAL`.
///
/// A request whose body has not been read costs its HTTP/1 connection; others go on.
///
/// # Examples
///
/// ```
/// use cortex_http::{Outcome, Refused};
/// use std::time::Duration;
///
/// let refused = Refused::rate_limited().retry_after(Duration::from_millis(1200));
/// assert_eq!((refused.outcome(), refused.status().as_u16()), (Outcome::RateLimited, 429));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a refusal does nothing until it is returned"]
pub struct Refused {
    outcome: Outcome,
    retry_after: Option<Duration>,
    detail: Option<Cow<'static, str>>,
}

impl Refused {
    /// Answers 503, outcome [`Outcome::Shed`]: the service has too much to do, whoever asks. `Retry-After` is a second.
    pub const fn overloaded() -> Self {
        Self::retrying(Outcome::Shed)
    }

    /// Answers 429, outcome [`Outcome::RateLimited`]: this client asks too often. `Retry-After` is a second.
    pub const fn rate_limited() -> Self {
        Self::retrying(Outcome::RateLimited)
    }

    const fn retrying(outcome: Outcome) -> Self {
        Self {
            outcome,
            retry_after: Some(Duration::from_secs(1)),
            detail: None,
        }
    }

    pub(crate) const fn of(outcome: Outcome) -> Self {
        Self {
            outcome,
            retry_after: None,
            detail: None,
        }
    }

    /// Tells the client to wait so long, which is sent in whole seconds, rounded up.
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Explains to the client what it ran into.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Returns how it is counted.
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the status that it is answered with, unless the request is a call of gRPC.
    pub const fn status(&self) -> StatusCode {
        match self.outcome {
            Outcome::Shed => StatusCode::SERVICE_UNAVAILABLE,
            Outcome::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Outcome::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Outcome::Timeout => StatusCode::REQUEST_TIMEOUT,
            Outcome::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Outcome::BadRequest => StatusCode::BAD_REQUEST,
            Outcome::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Makes the answer to a call of gRPC.
    #[cold]
    pub(crate) fn respond_to_grpc<B: From<Bytes>>(&self, content_type: &'static str) -> Response<B> {
        let detail = self.detail.as_deref().or_else(|| self.usual_detail());
        let message = detail.or_else(|| self.status().canonical_reason());
        grpc::refuse(
            content_type,
            self.outcome,
            message.unwrap_or_default(),
            self.retry_after,
        )
    }

    /// Makes the answer to a request of this context.
    #[cold]
    pub(crate) fn respond<B: From<Bytes>>(&self, context: Context) -> Response<B> {
        let mut problem = problem(self.status(), context);
        if let Some(detail) = self
            .detail
            .clone()
            .or_else(|| self.usual_detail().map(Into::into))
        {
            problem = problem.detail(detail);
        }
        if let Some(wait) = self.retry_after {
            problem = problem.retry_after(wait);
        }
        problem.respond()
    }

    const fn usual_detail(&self) -> Option<&'static str> {
        Some(match self.outcome {
            Outcome::Shed => "The service has too much to do. Try again later.",
            Outcome::RateLimited => "Too many requests came from you. Send fewer.",
            Outcome::Deadline => "There was no answer within the time that this request had.",
            Outcome::Timeout => "The body of the request did not arrive in time.",
            Outcome::TooLarge => "The body of the request is larger than allowed.",
            Outcome::NotImplemented => "CONNECT over HTTP/2 is served with a :protocol alone.",
            _ => return None,
        })
    }
}

/// Makes a problem that bears the id of its trace, for those who ask for help with it.
#[cold]
pub(crate) fn problem(status: StatusCode, context: Context) -> Problem {
    let problem = Problem::new(status);
    match context.trace_id() {
        Some(id) => problem.extension("trace_id", id.to_string()),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::RETRY_AFTER;

    #[test]
    fn the_answer_says_when_to_come_back_in_whole_seconds() {
        for (wait, header) in [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (90_000, "90")] {
            let refused = Refused::overloaded().retry_after(Duration::from_millis(wait));
            let response: Response<Bytes> = refused.respond(Context::new());
            assert_eq!(response.headers()[RETRY_AFTER], header, "{wait}");
            assert_eq!(response.status(), 503);
        }
        let never = Refused::overloaded().retry_after(Duration::MAX);
        let response: Response<Bytes> = never.respond(Context::new());
        assert_eq!(response.headers()[RETRY_AFTER], u64::MAX.to_string());
        let response: Response<Bytes> = Refused::of(Outcome::Deadline).respond(Context::new());
        assert!(!response.headers().contains_key(RETRY_AFTER));
        let response: Response<Bytes> = Refused::rate_limited().detail("No.").respond(Context::new());
        let body = r#"{"type":"about:blank","title":"Too Many Requests","status":429,"detail":"No."}"#;
        assert_eq!(response.body(), body);
    }
}
