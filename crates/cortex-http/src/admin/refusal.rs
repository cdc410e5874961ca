use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::problem::Problem;

/// Why a request to the admin port is not done: a problem that says what would be.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Boxed: every `Result` would be as large as that.
    problem: Box<Problem>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let (problem, detail) = (Problem::new(status), detail.into());
        Self {
            problem: Box::new(if detail.is_empty() {
                problem
            } else {
                problem.detail(detail)
            }),
            header: None,
        }
    }

    /// Also says what authentication would help (RFC 6750, section 3).
    pub(super) fn challenge(mut self, challenge: &'static str) -> Self {
        self.header = Some((WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
        self
    }

    /// Also says after how many seconds another try makes sense.
    pub(super) fn retry_after(mut self, seconds: u64) -> Self {
        self.header = Some((RETRY_AFTER, seconds.into()));
        self
    }

    pub(super) const fn status(&self) -> StatusCode {
        self.problem.status()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response: Response = self.problem.respond();
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
