use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY,
};
use http::{Response, StatusCode};
use tokio::time::Instant;

use super::body::ScrapeBody;
use super::compress::Encoded;
use super::flight::Lost;
use super::limit::Permit;
use crate::{ContentType, Counter};

/// Answers with an exposition.
pub(super) fn exposition(
    content_type: ContentType,
    encoded: Encoded,
    permit: Permit,
    deadline: Instant,
    sent: Option<Counter>,
) -> Response<ScrapeBody> {
    let length = encoded.bytes.len();
    let body = ScrapeBody::new(encoded.bytes, permit, deadline, sent);
    let mut response = answer(StatusCode::OK, content_type.as_str(), length, body);
    if let Some(coding) = encoded.coding.name() {
        let coding = HeaderValue::from_static(coding);
        response.headers_mut().insert(CONTENT_ENCODING, coding);
    }
    response
}

pub(super) fn method_not_allowed() -> Response<ScrapeBody> {
    let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "use GET or HEAD\n");
    let allowed = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(ALLOW, allowed);
    response
}

pub(super) fn not_acceptable() -> Response<ScrapeBody> {
    let says = "no format of this endpoint is acceptable: see the header Accept\n";
    refusal(StatusCode::NOT_ACCEPTABLE, says)
}

/// Too many scrapes are in flight.
pub(super) fn busy() -> Response<ScrapeBody> {
    let mut response = refusal(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many scrapes are in flight\n",
    );
    let seconds = HeaderValue::from_static("1");
    response.headers_mut().insert(RETRY_AFTER, seconds);
    response
}

pub(super) fn too_slow() -> Response<ScrapeBody> {
    let says = "the exposition takes too long; it is still being made\n";
    refusal(StatusCode::SERVICE_UNAVAILABLE, says)
}

pub(super) fn lost(lost: &Lost) -> Response<ScrapeBody> {
    match lost {
        Lost::Panicked => refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "making the exposition panicked\n",
        ),
        Lost::Abandoned => refusal(StatusCode::SERVICE_UNAVAILABLE, "the service is shutting down\n"),
    }
}

fn refusal(status: StatusCode, says: &'static str) -> Response<ScrapeBody> {
    let body = ScrapeBody::text(says);
    answer(status, "text/plain; charset=utf-8", says.len(), body)
}

fn answer(
    status: StatusCode,
    content_type: &'static str,
    length: usize,
    body: ScrapeBody,
) -> Response<ScrapeBody> {
    let length = HeaderValue::from(length);
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, length);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
    response
}
