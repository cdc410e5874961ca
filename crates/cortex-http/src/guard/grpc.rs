use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::outcome::Outcome;

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// When to try again, for clients that do so by themselves.
///
/// <https://github.com/grpc/proposal/blob/master/A6-client-retries.md>
const RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Returns the content type that the answer to a call of gRPC, or of gRPC-Web, has; nothing for other requests.
pub(crate) fn answer_type(headers: &HeaderMap) -> Option<&'static str> {
    const TYPES: [&str; 3] = [
        "application/grpc",
        "application/grpc-web",
        "application/grpc-web-text",
    ];
    let value = headers.get(CONTENT_TYPE)?.as_bytes();
    let essence = value.split(|byte| b"+; ".contains(byte)).next()?;
    TYPES
        .into_iter()
        .find(|known| essence.eq_ignore_ascii_case(known.as_bytes()))
}

/// Refuses a call as gRPC does: with 200, and what a message would end with in the head, there being none.
///
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>, `Trailers-Only`
#[cold]
pub(super) fn refuse<B: From<Bytes>>(
    content_type: &'static str,
    outcome: Outcome,
    message: &str,
    retry_after: Option<Duration>,
) -> Response<B> {
    let mut response = Response::new(B::from(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(STATUS, HeaderValue::from(status(outcome)));
    let message = HeaderValue::from_maybe_shared(Bytes::from(encoded(message)));
    headers.insert(MESSAGE, message.expect("invariant: printable ASCII"));
    if let Some(wait) = retry_after {
        let millis = wait.as_nanos().div_ceil(1_000_000);
        let millis = i32::try_from(millis).unwrap_or(i32::MAX);
        headers.insert(RETRY_PUSHBACK, HeaderValue::from(millis));
    }
    response
}

const fn status(outcome: Outcome) -> u16 {
    const DEADLINE_EXCEEDED: u16 = 4;
    const RESOURCE_EXHAUSTED: u16 = 8;
    const INTERNAL: u16 = 13;
    const UNAVAILABLE: u16 = 14;
    match outcome {
        Outcome::Deadline | Outcome::Timeout => DEADLINE_EXCEEDED,
        Outcome::RateLimited | Outcome::TooLarge => RESOURCE_EXHAUSTED,
        Outcome::Shed => UNAVAILABLE,
        _ => INTERNAL,
    }
}

/// Writes a message as `grpc-message` has it: bytes other than printable ASCII, and the percent sign, in percent.
fn encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => {
                let _ = write!(encoded, "%{byte:02X}"); // a String takes all
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_known_by_their_content_type() {
        for (value, answer) in [
            ("application/grpc", Some("application/grpc")),
            ("application/grpc+proto", Some("application/grpc")),
            ("Application/GRPC;charset=utf-8", Some("application/grpc")),
            ("application/grpc-web+proto", Some("application/grpc-web")),
            ("application/grpc-web-text", Some("application/grpc-web-text")),
            ("application/grpcx", None),
            ("application/json", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(answer_type(&headers), answer, "{value}");
        }
        assert_eq!(answer_type(&HeaderMap::new()), None);
    }

    #[test]
    fn any_message_fits_into_its_header() {
        for (message, header) in [
            ("Try again later.", "Try again later."),
            ("100 % \n", "100 %25 %0A"),
            ("zu groß", "zu gro%C3%9F"),
            ("~\u{7f}", "~%7F"),
        ] {
            let response: Response<Bytes> = refuse("application/grpc", Outcome::Shed, message, None);
            assert_eq!(response.headers()[MESSAGE], header);
            assert!(!response.headers().contains_key(RETRY_PUSHBACK));
        }
        for (wait, header) in [
            (Duration::ZERO, "0"),
            (Duration::from_micros(1), "1"),
            (Duration::from_secs(2), "2000"),
            (Duration::MAX, "2147483647"),
        ] {
            let response: Response<Bytes> = refuse("application/grpc", Outcome::Shed, "", Some(wait));
            assert_eq!(response.headers()[RETRY_PUSHBACK], header);
        }
    }
}
