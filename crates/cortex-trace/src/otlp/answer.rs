//! What an answer means.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use super::answer_json;
use super::error::{OtlpError, OtlpErrorKind as Kind};
use super::grpc;
use super::settings::Protocol;
use super::wire::Fields;

/// The most characters that are kept of what a collector says.
const MAX_MESSAGE: usize = 256;

/// The longest that a collector can ask to be left alone.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);

/// What the collector answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// As much as was read.
    pub(super) body: Vec<u8>,
    /// What came after the body, if it was read to its end.
    pub(super) trailers: HeaderMap,
}

/// Why a request did not succeed.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: OtlpError,
    pub(super) retry: Retry,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    Never,
    Later,
    After(Duration),
}

/// What the collector did not take, and why.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) items: u64,
    pub(super) message: String,
}

/// Judges an answer; a success may have a rejection of some items in it.
pub(super) fn judge(
    answer: &Answer,
    protocol: Protocol,
    now: SystemTime,
) -> Result<Option<Rejection>, Failure> {
    if !answer.status.is_success() {
        return Err(refused(answer, now));
    }
    match protocol {
        Protocol::Grpc => grpc::judge(answer),
        Protocol::Http(_) if is_json(&answer.headers) => Ok(answer_json::rejection(&answer.body)),
        Protocol::Http(_) => Ok(rejection(&answer.body)),
    }
}

fn refused(answer: &Answer, now: SystemTime) -> Failure {
    // https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes
    let retry = match answer.status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => retry_after(&answer.headers, now).map_or(Retry::Later, Retry::After),
        _ => Retry::Never,
    };
    let error = OtlpError::new(Kind::Refused {
        status: answer.status,
        message: message(&answer.headers, &answer.body),
    });
    Failure { error, retry }
}

/// Reads an `ExportTraceServiceResponse`, which one of logs looks like; one that is malformed says nothing, since the
/// status said enough.
pub(super) fn rejection(body: &[u8]) -> Option<Rejection> {
    let partial = Fields(body).bytes(1)?;
    // An int64.
    let items = u64::try_from(Fields(partial).number(1).cast_signed()).unwrap_or(0);
    let message = Fields(partial).bytes(2).map(cut).unwrap_or_default();
    // None rejected, but a message, is a warning about what was taken.
    (items > 0).then_some(Rejection { items, message })
}

/// Reads the message of a `google.rpc.Status`, or text.
fn message(headers: &HeaderMap, body: &[u8]) -> String {
    let kind = content_type(headers);
    if kind.starts_with(b"text/plain") || is_json(headers) {
        return cut(body);
    }
    if !kind.starts_with(b"application/x-protobuf") {
        return String::new();
    }
    Fields(body).bytes(2).map(cut).unwrap_or_default()
}

fn is_json(headers: &HeaderMap) -> bool {
    content_type(headers).starts_with(b"application/json")
}

fn content_type(headers: &HeaderMap) -> &[u8] {
    headers
        .get(CONTENT_TYPE)
        .map_or(&[][..], |value| value.as_bytes())
}

/// Returns what is kept of a text.
pub(super) fn cut(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * MAX_MESSAGE)]);
    text.trim().chars().take(MAX_MESSAGE).collect()
}

/// Returns what is heeded of a time that a collector asks for.
pub(super) fn bounded(wait: Duration) -> Duration {
    wait.min(MAX_RETRY_AFTER)
}

/// Reads seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let after = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let at = httpdate::parse_http_date(value).ok()?;
        at.duration_since(now).unwrap_or_default()
    };
    Some(bounded(after))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::otlp::settings::Encoding;

    const HTTP: Protocol = Protocol::Http(Encoding::Protobuf);

    fn answer(status: u16, headers: &[(http::HeaderName, &str)], body: &[u8]) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()));
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            body: body.to_vec(),
            trailers: HeaderMap::new(),
        }
    }

    fn retry(status: u16, after: Option<&str>) -> Retry {
        let headers: Vec<_> = after.map(|after| (RETRY_AFTER, after)).into_iter().collect();
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        judge(&answer(status, &headers, b""), HTTP, now)
            .unwrap_err()
            .retry
    }

    #[test]
    fn only_some_codes_are_retried() {
        for status in [429, 502, 503, 504] {
            assert_eq!(retry(status, None), Retry::Later, "{status}");
        }
        for status in [301, 307, 400, 401, 404, 408, 413, 500, 501] {
            assert_eq!(retry(status, Some("1")), Retry::Never, "{status}");
        }
    }

    #[test]
    fn collectors_say_how_long_to_wait() {
        let after = |seconds| Retry::After(Duration::from_secs(seconds));
        assert_eq!(retry(503, Some("7")), after(7));
        assert_eq!(retry(429, Some("0")), after(0));
        assert_eq!(retry(503, Some("Sun, 06 Nov 1994 08:49:37 GMT")), after(7));
        assert_eq!(retry(503, Some("Sun, 06 Nov 1994 08:00:00 GMT")), after(0));
        assert_eq!(retry(503, Some("999999999999999999999999")), after(60));
        for malformed in ["", "-1", "1.5", "soon"] {
            assert_eq!(retry(503, Some(malformed)), Retry::Later, "{malformed:?}");
        }
    }

    #[test]
    fn what_was_said_is_kept() {
        let said = |content_type, body: &[u8]| {
            let answer = answer(400, &[(CONTENT_TYPE, content_type)], body);
            match judge(&answer, HTTP, UNIX_EPOCH).unwrap_err().error.kind() {
                Kind::Refused { message, .. } => message.clone(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(said("application/x-protobuf", b"\x08\x03\x12\x02no"), "no");
        assert_eq!(said("application/x-protobuf", b"\x12\x05no"), "");
        assert_eq!(said("text/plain; charset=utf-8", b" no\xff\n"), "no\u{fffd}");
        assert_eq!(said("text/html", b"<html>"), "");
        assert_eq!(said("text/plain", &[b'x'; 5000]).len(), MAX_MESSAGE);
    }

    #[test]
    fn a_json_answer_is_read_as_such_whatever_was_sent() {
        let body = br#"{"partialSuccess":{"rejectedSpans":"2","errorMessage":"no"}}"#;
        let answer = answer(200, &[(CONTENT_TYPE, "application/json")], body);
        let rejection = judge(&answer, HTTP, UNIX_EPOCH).unwrap().unwrap();
        assert_eq!((rejection.items, rejection.message.as_str()), (2, "no"));
    }

    #[test]
    fn garbage_rejects_nothing() {
        for body in [
            &b""[..],
            b"{}",
            b"\x0a",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"<html>",
        ] {
            let judged = judge(&answer(200, &[], body), HTTP, UNIX_EPOCH).unwrap();
            assert_eq!(judged, None, "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn rejections_are_read(rejected: i64, message in "[a-z\u{e9}]{0,20}") {
            let partial_success = Some(ExportTracePartialSuccess {
                rejected_spans: rejected,
                error_message: message.clone(),
            });
            let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
            let items = u64::try_from(rejected).unwrap_or(0);
            let expected = (items > 0).then_some(Rejection { items, message });
            prop_assert_eq!(rejection(&body), expected);
        }
    }
}
