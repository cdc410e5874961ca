use crate::classify::Pushback;
use http::header::{HeaderMap, HeaderName, RETRY_AFTER};
use std::time::{Duration, SystemTime};

const GRPC: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");
const AWS: HeaderName = HeaderName::from_static("x-amz-retry-after");

/// Returns what an answer says of further attempts: in `grpc-retry-pushback-ms`, else in `x-amz-retry-after`, else in
/// `Retry-After`.
///
/// A pushback of gRPC that is negative or not a number means that there should be no other attempt. What can't be read in the
/// others is ignored.
///
/// # Examples
///
/// ```
/// use cortex_resilience::{Pushback, http::pushback};
/// use http::{HeaderMap, HeaderValue};
/// use std::time::{Duration, SystemTime};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("retry-after", HeaderValue::from_static("2"));
/// assert_eq!(pushback(&headers, SystemTime::UNIX_EPOCH), Some(Pushback::After(Duration::from_secs(2))));
/// headers.insert("grpc-retry-pushback-ms", HeaderValue::from_static("-1"));
/// assert_eq!(pushback(&headers, SystemTime::UNIX_EPOCH), Some(Pushback::Stop));
/// ```
pub fn pushback(headers: &HeaderMap, now: SystemTime) -> Option<Pushback> {
    let aws = || millis(headers.get(AWS)?.as_bytes());
    let wait = || aws().or_else(|| retry_after(headers, now)).map(Pushback::After);
    grpc_pushback(headers).or_else(wait)
}

/// Reads the header of gRPC only.
pub(super) fn grpc_pushback(headers: &HeaderMap) -> Option<Pushback> {
    let wait = millis(headers.get(GRPC)?.as_bytes());
    Some(wait.map_or(Pushback::Stop, Pushback::After))
}

/// Returns how long `Retry-After` says to wait, which is in seconds or a date. A date that is past means not to wait; what
/// can't be read is ignored.
///
/// # Examples
///
/// ```
/// use cortex_resilience::http::retry_after;
/// use http::{HeaderMap, HeaderValue};
/// use std::time::{Duration, SystemTime};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("retry-after", HeaderValue::from_static("Thu, 01 Jan 1970 00:01:00 GMT"));
/// let wait = |secs| retry_after(&headers, SystemTime::UNIX_EPOCH + Duration::from_secs(secs));
/// assert_eq!(wait(20), Some(Duration::from_secs(40)));
/// assert_eq!(wait(90), Some(Duration::ZERO));
/// ```
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?;
    if let Some(secs) = number(value.as_bytes()) {
        return Some(Duration::from_secs(secs));
    }
    let then = httpdate::parse_http_date(value.to_str().ok()?).ok()?;
    Some(then.duration_since(now).unwrap_or_default())
}

fn millis(value: &[u8]) -> Option<Duration> {
    number(value).map(Duration::from_millis)
}

/// Reads digits and nothing else; too many are the largest number.
fn number(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |number: u64, digit: &u8| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(value.iter().fold(0, digit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(name: &'static str, value: &str) -> Option<Pushback> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).expect("it is text"));
        pushback(
            &headers,
            SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777),
        )
    }

    fn after(millis: u64) -> Pushback {
        Pushback::After(Duration::from_millis(millis))
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (value, read_as) in [
            ("0", Some(after(0))),
            ("120", Some(after(120_000))),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(after(10_000))),
            ("Sunday, 06-Nov-94 08:49:47 GMT", Some(after(10_000))),
            ("Sun Nov  6 08:49:47 1994", Some(after(10_000))),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(after(0))),
            ("Sat, 05 Nov 1994 08:49:37 GMT", Some(after(0))),
            (
                "99999999999999999999999",
                Some(Pushback::After(Duration::from_secs(u64::MAX))),
            ),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            (" 1", None),
            ("soon", None),
            ("Sun, 32 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(read("retry-after", value), read_as, "{value:?}");
        }
    }

    #[test]
    fn a_pushback_of_grpc_is_a_number_or_the_end() {
        for (value, read_as) in [
            ("0", Some(after(0))),
            ("1500", Some(after(1500))),
            ("-1", Some(Pushback::Stop)),
            ("soon", Some(Pushback::Stop)),
            ("", Some(Pushback::Stop)),
        ] {
            assert_eq!(read("grpc-retry-pushback-ms", value), read_as, "{value:?}");
        }
    }

    #[test]
    fn aws_says_milliseconds_or_nothing() {
        assert_eq!(read("x-amz-retry-after", "1500"), Some(after(1500)));
        assert_eq!(read("x-amz-retry-after", "-1"), None);
    }

    #[test]
    fn the_more_special_comes_first() {
        let mut headers = HeaderMap::new();
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(pushback(&headers, now), None);
        headers.insert("retry-after", HeaderValue::from_static("1"));
        headers.insert("x-amz-retry-after", HeaderValue::from_static("soon"));
        assert_eq!(pushback(&headers, now), Some(after(1000)));
        headers.insert("x-amz-retry-after", HeaderValue::from_static("2"));
        assert_eq!(pushback(&headers, now), Some(after(2)));
        headers.insert("grpc-retry-pushback-ms", HeaderValue::from_static("3"));
        assert_eq!(pushback(&headers, now), Some(after(3)));
        headers.insert("retry-after", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(retry_after(&headers, now), None);
    }
}
