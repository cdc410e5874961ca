//! What is special about gRPC: how a message is framed, and where the status is.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use std::time::Duration;

use http::HeaderMap;

use super::answer::{Answer, Failure, Rejection, Retry, bounded, cut, rejection};
use super::error::{OtlpError, OtlpErrorKind as Kind};
use super::wire::Fields;
use crate::variables::decode;

const UNKNOWN: u32 = 2;
const RESOURCE_EXHAUSTED: u32 = 8;

/// `CANCELLED`, `DEADLINE_EXCEEDED`, `ABORTED`, `OUT_OF_RANGE`, `UNAVAILABLE` and `DATA_LOSS`, as the specification lists them.
const RETRYABLE: [u32; 6] = [1, 4, 10, 11, 14, 15];

/// Puts the prefix in front of a message: whether it is compressed, and its length.
pub(super) fn frame(message: &[u8], is_compressed: bool) -> Vec<u8> {
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX); // batches are split long before that
    let mut frame = Vec::with_capacity(5 + message.len());
    frame.push(u8::from(is_compressed));
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

/// Writes a timeout as at most eight digits and a unit.
pub(super) fn timeout(timeout: Duration) -> String {
    const MOST: u128 = 99_999_999;
    let millis = timeout.as_millis();
    if millis <= MOST {
        format!("{millis}m")
    } else {
        format!("{}S", u128::from(timeout.as_secs()).min(MOST))
    }
}

/// Judges an answer whose HTTP status is a success.
pub(super) fn judge(answer: &Answer) -> Result<Option<Rejection>, Failure> {
    // Without a message, the status is among the headers.
    let (headers, status) = [&answer.trailers, &answer.headers]
        .into_iter()
        .find_map(|headers| Some((headers, status(headers)?)))
        .unwrap_or((&answer.trailers, UNKNOWN));
    if status == 0 {
        return Ok(message(&answer.body).and_then(rejection));
    }
    let details = headers.get("grpc-status-details-bin");
    let wait = details.and_then(|details| retry_delay(&base64(details.as_bytes())?));
    let retry = match (status, wait) {
        // https://opentelemetry.io/docs/specs/otlp/#failures
        (RESOURCE_EXHAUSTED, Some(wait)) => Retry::After(wait),
        (status, wait) if RETRYABLE.contains(&status) => wait.map_or(Retry::Later, Retry::After),
        _ => Retry::Never,
    };
    let message = headers
        .get("grpc-message")
        .and_then(|message| decode(message.to_str().ok()?))
        .map(|message| cut(message.as_bytes()))
        .unwrap_or_default();
    let error = OtlpError::new(Kind::RefusedGrpc {
        code: status,
        message,
    });
    Err(Failure { error, retry })
}

fn status(headers: &HeaderMap) -> Option<u32> {
    let status = headers.get("grpc-status")?.to_str().ok();
    Some(status.and_then(|status| status.parse().ok()).unwrap_or(UNKNOWN))
}

/// Returns the first message of a body, which must not be compressed, because we did not say that it may.
fn message(body: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = body.split_first_chunk::<5>()?;
    let [0, len @ ..] = *prefix else { return None };
    rest.get(..usize::try_from(u32::from_be_bytes(len)).ok()?)
}

/// Finds the `google.rpc.RetryInfo` in a `google.rpc.Status`.
fn retry_delay(status: &[u8]) -> Option<Duration> {
    const RETRY_INFO: &[u8] = b"type.googleapis.com/google.rpc.RetryInfo";
    let info = Fields(status).find_map(|(number, value)| {
        let super::wire::Field::Bytes(any) = value else {
            return None;
        };
        let is_retry_info = number == 3 && Fields(any).bytes(1) == Some(RETRY_INFO);
        is_retry_info.then(|| Fields(any).bytes(2).unwrap_or_default())
    })?;
    let delay = Fields(info).bytes(1).unwrap_or_default();
    let seconds = u64::try_from(Fields(delay).number(1).cast_signed()).unwrap_or(0);
    let nanos = u32::try_from(Fields(delay).number(2))
        .ok()
        .filter(|nanos| *nanos < 1_000_000_000);
    Some(bounded(Duration::new(seconds, nanos.unwrap_or(0))))
}

/// Decodes base64 of the standard alphabet, padded or not.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut held) = (0_u32, 0);
    for character in text.trim_ascii_end().iter().take_while(|byte| **byte != b'=') {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held).ok()?); // never more, since what was read is cleared
            bits &= (1 << held) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::otlp::wire::Message;

    fn answer(trailers: &[(&'static str, &str)]) -> Answer {
        let trailers = trailers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        Answer {
            trailers: trailers.collect(),
            ..Answer::default()
        }
    }

    fn retry(code: u32, details: Option<&str>) -> Retry {
        let code = code.to_string();
        let mut trailers = vec![("grpc-status", code.as_str())];
        trailers.extend(details.map(|details| ("grpc-status-details-bin", details)));
        judge(&answer(&trailers)).unwrap_err().retry
    }

    fn retry_info(seconds: u64, nanos: u64) -> String {
        let mut status = Vec::new();
        let mut message = Message::new(&mut status);
        message.uint(1, 14);
        message.message(3, |any| any.text(1, "type.googleapis.com/google.rpc.Help"));
        message.message(3, |any| {
            any.text(1, "type.googleapis.com/google.rpc.RetryInfo");
            any.message(2, |info| {
                info.message(1, |delay| {
                    delay.uint(1, seconds);
                    delay.uint(2, nanos);
                });
            });
        });
        encode64(&status)
    }

    fn encode64(bytes: &[u8]) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        bytes
            .chunks(3)
            .flat_map(|chunk| {
                let bits = (0..3).fold(0, |bits, at| {
                    bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0))
                });
                (0..=chunk.len())
                    .map(move |at| char::from(ALPHABET[usize::try_from(bits >> (18 - 6 * at) & 63).unwrap()]))
            })
            .collect()
    }

    #[test]
    fn only_some_codes_are_retried() {
        for code in [1, 4, 10, 11, 14, 15] {
            assert_eq!(retry(code, None), Retry::Later, "{code}");
        }
        for code in [2, 3, 5, 6, 7, 8, 9, 12, 13, 16, 99] {
            assert_eq!(retry(code, None), Retry::Never, "{code}");
        }
    }

    #[test]
    fn retry_info_says_how_long_and_makes_exhaustion_pass() {
        let info = retry_info(7, 500_000_000);
        let after = Retry::After(Duration::from_millis(7500));
        assert_eq!((retry(8, Some(&info)), retry(14, Some(&info))), (after, after));
        assert_eq!(retry(3, Some(&info)), Retry::Never);
        assert_eq!(
            retry(14, Some(&retry_info(1 << 40, 0))),
            Retry::After(Duration::from_mins(1))
        );
        assert_eq!(retry(8, Some(&retry_info(0, 0))), Retry::After(Duration::ZERO));
        for garbage in ["", "!", "AAAA", "////"] {
            assert_eq!(retry(8, Some(garbage)), Retry::Never, "{garbage}");
        }
    }

    #[test]
    fn the_status_may_be_among_the_headers_or_missing() {
        let mut trailers_only = answer(&[("grpc-status", "12"), ("grpc-message", "no%20such%20method")]);
        std::mem::swap(&mut trailers_only.headers, &mut trailers_only.trailers);
        let error = judge(&trailers_only).unwrap_err().error;
        assert_eq!(
            error.to_string(),
            "send to the collector: it answered gRPC status 12: no such method"
        );
        for answer in [answer(&[]), answer(&[("grpc-status", "well")])] {
            let failure = judge(&answer).unwrap_err();
            assert!(matches!(
                failure.error.kind(),
                Kind::RefusedGrpc { code: UNKNOWN, .. }
            ));
            assert_eq!(failure.retry, Retry::Never);
        }
    }

    #[test]
    fn a_success_may_reject_some() {
        let mut response = Vec::new();
        Message::new(&mut response).message(1, |partial| {
            partial.uint(1, 2);
            partial.text(2, "too old");
        });
        let mut success = answer(&[("grpc-status", "0")]);
        assert_eq!(judge(&success).unwrap(), None);
        success.body = frame(&response, false);
        let rejection = judge(&success).unwrap().unwrap();
        assert_eq!((rejection.items, rejection.message.as_str()), (2, "too old"));
        success.body[0] = 1; // compressed, which nobody allowed
        assert_eq!(judge(&success).unwrap(), None);
    }

    #[test]
    fn timeouts_have_few_digits() {
        assert_eq!(timeout(Duration::from_secs(10)), "10000m");
        assert_eq!(timeout(Duration::from_secs(1_000_000)), "1000000S");
        assert_eq!(timeout(Duration::MAX), "99999999S");
    }

    proptest! {
        #[test]
        fn base64_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let text = encode64(&bytes);
            prop_assert_eq!(base64(text.as_bytes()), Some(bytes.clone()));
            prop_assert_eq!(base64((text + "==").as_bytes()), Some(bytes));
        }

        #[test]
        fn nothing_is_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (message(&bytes), retry_delay(&bytes), base64(&bytes));
        }
    }
}
