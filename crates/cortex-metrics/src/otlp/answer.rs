//! What an answer means.

use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};

use super::error::{OtlpError, OtlpErrorKind as Kind};
use super::transport::Answer;

/// The most characters that are kept of what a collector says.
const MAX_MESSAGE: usize = 256;

/// The longest that a collector can ask to be left alone.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

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

impl Failure {
    pub(super) fn transient(error: OtlpError) -> Self {
        let retry = Retry::Later;
        Self { error, retry }
    }
}

/// What the collector did not take, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) points: u64,
    pub(super) message: String,
}

/// Judges an answer; a success may have a rejection of some points in it.
pub(super) fn judge(answer: &Answer, now: SystemTime) -> Result<Option<Rejection>, Failure> {
    let Answer {
        status,
        headers,
        body,
    } = answer;
    if status.is_success() {
        return Ok(rejection(body));
    }
    // https://opentelemetry.io/docs/specs/otlp/#retryable-response-codes
    let retry = match *status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => retry_after(headers, now).map_or(Retry::Later, Retry::After),
        _ => Retry::Never,
    };
    let (status, message) = (*status, message(headers, body));
    let error = OtlpError::new(Kind::Refused { status, message });
    Err(Failure { error, retry })
}

/// Reads an `ExportMetricsServiceResponse`; one that is malformed says nothing, since the status said enough.
fn rejection(body: &[u8]) -> Option<Rejection> {
    let partial = fields(body)?.into_iter().find_map(|field| match field {
        (1, Field::Bytes(partial)) => Some(partial),
        _ => None,
    })?;
    let (mut points, mut message) = (0, String::new());
    for field in fields(partial)? {
        match field {
            // An int64.
            (1, Field::Number(rejected)) => points = u64::try_from(rejected.cast_signed()).unwrap_or(0),
            (2, Field::Bytes(text)) => message = cut(text),
            _ => {}
        }
    }
    // None rejected, but a message, is a warning about points that were taken.
    (points > 0).then_some(Rejection { points, message })
}

/// Reads the message of a `google.rpc.Status`, or text.
fn message(headers: &HeaderMap, body: &[u8]) -> String {
    let content_type = headers
        .get(CONTENT_TYPE)
        .map_or(&[][..], |value| value.as_bytes());
    if content_type.starts_with(b"text/plain") || content_type.starts_with(b"application/json") {
        return cut(body);
    }
    if !content_type.starts_with(b"application/x-protobuf") {
        return String::new();
    }
    let text = fields(body).and_then(|fields| {
        fields.into_iter().find_map(|field| match field {
            (2, Field::Bytes(text)) => Some(cut(text)),
            _ => None,
        })
    });
    text.unwrap_or_default()
}

fn cut(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(4 * MAX_MESSAGE)]);
    text.trim().chars().take(MAX_MESSAGE).collect()
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
    Some(after.min(MAX_RETRY_AFTER))
}

#[derive(Debug)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Reads the fields of a message; nothing if it is malformed.
fn fields(mut message: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut message)?),
            1 => Field::Bytes(take(&mut message, 8)?),
            2 => {
                let len = varint(&mut message)?;
                Field::Bytes(take(&mut message, usize::try_from(len).ok()?)?)
            }
            5 => Field::Bytes(take(&mut message, 4)?),
            _ => return None,
        };
        fields.push((tag >> 3, field));
    }
    Some(fields)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(message: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(len)?;
    *message = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use opentelemetry_proto::tonic::collector::metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
    };
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    fn answer(status: u16, headers: &[(http::HeaderName, &str)], body: &[u8]) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()));
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: headers.collect(),
            body: body.to_vec(),
        }
    }

    fn retry(status: u16, after: Option<&str>) -> Retry {
        let headers: Vec<_> = after.map(|after| (RETRY_AFTER, after)).into_iter().collect();
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        judge(&answer(status, &headers, b""), now).unwrap_err().retry
    }

    #[test]
    fn only_some_codes_are_retried() {
        for status in [429, 502, 503, 504] {
            assert_eq!(retry(status, None), Retry::Later, "{status}");
        }
        for status in [301, 400, 401, 404, 408, 413, 500, 501] {
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
        assert_eq!(retry(503, Some("999999999999999999999999")), after(3600));
        for malformed in ["", "-1", "1.5", "soon"] {
            assert_eq!(retry(503, Some(malformed)), Retry::Later, "{malformed:?}");
        }
    }

    #[test]
    fn what_was_said_is_kept() {
        let said = |content_type, body: &[u8]| {
            let answer = answer(400, &[(CONTENT_TYPE, content_type)], body);
            match judge(&answer, UNIX_EPOCH).unwrap_err().error.kind() {
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
    fn garbage_rejects_nothing() {
        for body in [
            &b""[..],
            b"{}",
            b"\x0a",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"<html>",
        ] {
            assert_eq!(
                judge(&answer(200, &[], body), UNIX_EPOCH).unwrap(),
                None,
                "{body:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn rejections_are_read(rejected: i64, message in "[a-z\u{e9}]{0,20}") {
            let partial_success = Some(ExportMetricsPartialSuccess {
                rejected_data_points: rejected,
                error_message: message.clone(),
            });
            let body = ExportMetricsServiceResponse { partial_success }.encode_to_vec();
            let points = u64::try_from(rejected).unwrap_or(0);
            let expected = (points > 0).then_some(Rejection { points, message });
            prop_assert_eq!(rejection(&body), expected);
        }

        #[test]
        fn no_answer_is_too_strange(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = rejection(&body);
            let _ = message(&[(CONTENT_TYPE, "application/x-protobuf".parse().unwrap())].into_iter().collect(), &body);
        }
    }
}
