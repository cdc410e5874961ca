use std::time::Duration;

use http::{HeaderMap, HeaderName, Version};

use super::grpc::answer_type;
use crate::deadline_header::REQUEST_TIMEOUT_MS;
use crate::error::{Error, ErrorKind};
use crate::present::is_present;

/// How long a request may take until its response begins; answered with 504 after that.
///
/// The deadline stands in the request's [`Context`](cortex_core::Context), so that everything below the handler knows
/// it: a call to another service gives up in time, and hands on what is left. When it passes, the handler's future is
/// dropped where it waits, and so is what it holds; code that never waits cannot be stopped. If it was waiting for the
/// rest of the request's body, the client was too slow, and the answer is 408.
///
/// A response that has begun goes on, bounded by [`Limits::write_stall`](crate::Limits::write_stall) alone: its body is
/// made in a context without a deadline, so that a stream of events can call other services for as long as it lasts. What
/// the handler has spawned keeps the deadline, unless it is given
/// [`Context::without_deadline`](cortex_core::Context::without_deadline).
///
/// A client that knows until when it waits says so in milliseconds, `x-request-timeout-ms: 1500`, or as gRPC does in
/// `grpc-timeout`, which counts in requests of a `content-type` of gRPC over HTTP/2. It can only say less than
/// [`max`](Self::max); what cannot be read is ignored. A request without time is answered without running its handler, and without asking
/// an [`Admission`](crate::Admission).
///
/// # Performance
///
/// A request whose handler answers at once makes no timer. One that waits makes one, of about 0.2 us.
///
/// # Examples
///
/// ```
/// use cortex_http::{Deadlines, Routes, Server};
/// use std::time::Duration;
///
/// let deadlines = Deadlines::new().limit(Duration::from_secs(5)).max(Duration::from_secs(20));
/// let server = Server::new(Routes::new()).deadlines(deadlines);
/// # drop(server);
/// ```
#[derive(Clone, Debug)]
pub struct Deadlines {
    limit: Option<Duration>,
    max: Option<Duration>,
    header: Option<HeaderName>,
    grpc: bool,
}

impl Deadlines {
    /// Gives each request a minute, and clients their say.
    pub const fn new() -> Self {
        Self {
            limit: Some(Duration::from_mins(1)),
            max: None,
            header: Some(REQUEST_TIMEOUT_MS),
            grpc: true,
        }
    }

    /// Gives no request a deadline, whatever its client says.
    pub const fn off() -> Self {
        Self {
            limit: None,
            max: None,
            header: None,
            grpc: false,
        }
    }

    /// Sets the time of a request whose client says nothing; `None` for no deadline. Default 1 min.
    #[must_use]
    pub fn limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.limit = limit.into();
        self
    }

    /// Sets the longest time that a client can ask for. Default: the [`limit`](Self::limit), so that it can only ask for
    /// less; without either there is none.
    #[must_use]
    pub const fn max(mut self, max: Duration) -> Self {
        self.max = Some(max);
        self
    }

    /// Names the header in which clients say how many milliseconds they wait; `None` heeds none. Default
    /// `x-request-timeout-ms`.
    #[must_use]
    pub fn header(mut self, name: impl Into<Option<HeaderName>>) -> Self {
        self.header = name.into();
        self
    }

    /// Says whether `grpc-timeout` is heeded. Default: it is.
    #[must_use]
    pub const fn grpc(mut self, heeded: bool) -> Self {
        self.grpc = heeded;
        self
    }

    pub(crate) fn checked(self) -> Result<Self, Error> {
        if self.limit == Some(Duration::ZERO) || self.max == Some(Duration::ZERO) {
            let wrong =
                "a deadline is zero, so that no request would be served: allow at least a millisecond";
            return Err(Error::new(ErrorKind::Limits, wrong, None));
        }
        Ok(self)
    }

    /// Returns how long a request may take.
    #[inline]
    pub(crate) fn find(&self, version: Version, headers: &HeaderMap) -> Option<Duration> {
        let named = self.header.as_ref().filter(|name| is_present(headers, name));
        let asked = named.and_then(|name| millis(headers, name));
        let asked = if self.grpc && version == Version::HTTP_2 {
            shortest(asked, grpc(headers))
        } else {
            asked
        };
        match asked {
            None => self.limit,
            asked => shortest(asked, self.max.or(self.limit)),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self::new()
    }
}

fn shortest(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

/// Reads whole milliseconds; the least where several proxies wrote some.
#[cold]
fn millis(headers: &HeaderMap, name: &HeaderName) -> Option<Duration> {
    let values = headers.get_all(name).into_iter();
    let values = values.filter_map(|value| digits(value.as_bytes()));
    values.min().map(Duration::from_millis)
}

/// Reads `grpc-timeout`: one to eight digits and a unit.
///
/// <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>
fn grpc(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.as_bytes();
    answer_type(headers)?;
    let (unit, value) = value.split_last()?;
    let count = digits(value).filter(|_| value.len() <= 8)?;
    Some(match unit {
        b'H' => Duration::from_hours(count),
        b'M' => Duration::from_mins(count),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Reads a number of digits alone; one that is too large for its type is the largest.
fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = text.iter().fold(0_u64, |number, digit| {
        number.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    });
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(deadlines: &Deadlines, version: Version, headers: &[(&str, &str)]) -> Option<Duration> {
        let mut request = http::Request::builder().version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        deadlines.find(head.version, &head.headers)
    }

    const MS: fn(u64) -> Option<Duration> = |ms| Some(Duration::from_millis(ms));

    #[test]
    fn clients_can_say_less_than_the_limit_in_milliseconds() {
        let deadlines = Deadlines::new().limit(Duration::from_secs(10));
        for (values, limit) in [
            (&[] as &[_], 10_000),
            (&["1500"], 1500),
            (&["0"], 0),
            (&["10001"], 10_000),
            (&["99999999999999999999999999"], 10_000),
            (&["700", "1500"], 700),
            (&["1500", "junk"], 1500),
            (&[""], 10_000),
            (&["-1"], 10_000),
            (&["+1"], 10_000),
            (&["1.5"], 10_000),
            (&["5s"], 10_000),
        ] {
            let headers: Vec<_> = values
                .iter()
                .map(|value| ("x-request-timeout-ms", *value))
                .collect();
            assert_eq!(
                find(&deadlines, Version::HTTP_11, &headers),
                MS(limit),
                "{values:?}"
            );
        }
    }

    #[test]
    fn grpc_clients_say_it_as_grpc_does() {
        let deadlines = Deadlines::new();
        for (value, limit) in [
            ("1H", 60_000),
            ("1M", 60_000),
            ("59S", 59_000),
            ("250m", 250),
            ("9000u", 9),
            ("99999999n", 99),
            ("0n", 0),
            ("999999999n", 60_000), // nine digits
            ("m", 60_000),
            ("5", 60_000),
            ("5s", 60_000),
            ("", 60_000),
            ("-5S", 60_000),
        ] {
            let headers = [
                ("grpc-timeout", value),
                ("content-type", "application/grpc+proto"),
            ];
            let found = find(&deadlines, Version::HTTP_2, &headers).map(|limit| limit.as_millis());
            assert_eq!(found, Some(limit), "{value}");
            assert_eq!(find(&deadlines, Version::HTTP_11, &headers), MS(60_000));
            assert_eq!(
                find(&deadlines.clone().grpc(false), Version::HTTP_2, &headers),
                MS(60_000)
            );
            let json = [("grpc-timeout", value), ("content-type", "application/json")];
            assert_eq!(find(&deadlines, Version::HTTP_2, &json), MS(60_000));
        }
        let both = [
            ("grpc-timeout", "5S"),
            ("content-type", "application/grpc"),
            ("x-request-timeout-ms", "4000"),
        ];
        assert_eq!(find(&deadlines, Version::HTTP_2, &both), MS(4000));
    }

    #[test]
    fn the_maximum_bounds_what_clients_say_and_nothing_else() {
        let asked = [("x-my-timeout", "30000")];
        let name = HeaderName::from_static("x-my-timeout");
        let deadlines = Deadlines::default().header(name);
        for (deadlines, without, with) in [
            (
                deadlines
                    .clone()
                    .limit(Duration::from_secs(5))
                    .max(Duration::from_secs(20)),
                MS(5000),
                MS(20_000),
            ),
            (deadlines.clone().limit(None), None, MS(30_000)),
            (
                deadlines.clone().limit(None).max(Duration::from_secs(20)),
                None,
                MS(20_000),
            ),
            (deadlines.clone().header(None), MS(60_000), MS(60_000)),
            (Deadlines::off(), None, None),
        ] {
            assert_eq!(find(&deadlines, Version::HTTP_11, &[]), without);
            assert_eq!(find(&deadlines, Version::HTTP_11, &asked), with);
        }
        for zero in [
            deadlines.clone().limit(Duration::ZERO),
            deadlines.max(Duration::ZERO),
        ] {
            assert_eq!(zero.checked().unwrap_err().kind(), ErrorKind::Limits);
        }
    }
}
