use std::convert::Infallible;
use std::fmt;

use axum::extract::FromRequestParts;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;

use crate::present::is_present;

/// What a service does with the header by which requests are named, `x-request-id` unless it is
/// [another](Self::header).
///
/// The id that a client or a proxy gives stands in the access log as `request_id` and is sent back, so that both ends
/// talk of the same request. It is anybody's text: what is longer than 128 bytes, or has other characters than letters,
/// digits and `-._~+/=:@`, counts as none.
///
/// # Examples
///
/// ```
/// use cortex_http::{RequestIds, Routes, Server};
///
/// let server = Server::new(Routes::new()).request_ids(RequestIds::made());
/// # drop(server);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestIds {
    header: HeaderName,
    mode: Mode,
    /// There is nothing to do but to send back ids in the usual header, as for most services.
    is_plain: bool,
}

/// The header of a request's id, left for [`RequestId`] where it is not the usual one.
#[derive(Clone)]
struct Renamed(HeaderName);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Off,
    Given,
    Made,
}

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const LONGEST: usize = 128;

impl RequestIds {
    /// Sends back the ids that are given; the default. A request without one costs a look into its header.
    pub const fn given() -> Self {
        Self::of(Mode::Given)
    }

    /// Also makes an id, 32 hexadecimal digits of chance, for requests that come without: their handlers find it in the
    /// header, and [`RequestId`] extracts it.
    pub const fn made() -> Self {
        Self::of(Mode::Made)
    }

    /// Leaves the header alone.
    pub const fn off() -> Self {
        Self::of(Mode::Off)
    }

    const fn of(mode: Mode) -> Self {
        Self {
            header: HEADER,
            mode,
            is_plain: matches!(mode, Mode::Given),
        }
    }

    /// Takes this header instead of `x-request-id`. So does [`RequestId`], for which it costs each request an allocation.
    #[must_use]
    pub fn header(mut self, name: HeaderName) -> Self {
        self.is_plain = self.mode == Mode::Given && name == HEADER;
        self.header = name;
        self
    }

    /// Returns the id of a request, and names it if it is to have one.
    #[inline]
    pub(crate) fn name(&self, request: &mut Parts) -> Option<HeaderValue> {
        if self.is_plain {
            return self.find(&request.headers);
        }
        if self.header != HEADER {
            request.extensions.insert(Renamed(self.header.clone()));
        }
        match self.mode {
            Mode::Off => None,
            Mode::Given => self.find(&request.headers),
            Mode::Made => self
                .find(&request.headers)
                .or_else(|| Some(self.make(&mut request.headers))),
        }
    }

    #[inline]
    fn find(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        if !is_present(headers, &self.header) {
            return None;
        }
        headers.get(&self.header).filter(|id| is_valid(id)).cloned()
    }

    #[cold]
    fn make(&self, headers: &mut HeaderMap) -> HeaderValue {
        let id = format!("{:032x}", fastrand::u128(..));
        let id = HeaderValue::try_from(id).expect("invariant: digits are allowed");
        headers.insert(&self.header, id.clone());
        id
    }

    /// Sends the id back, unless the handler did.
    #[cold]
    pub(crate) fn answer(&self, id: &HeaderValue, headers: &mut HeaderMap) {
        headers.entry(&self.header).or_insert_with(|| id.clone());
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::given()
    }
}

fn is_valid(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=:@".contains(byte);
    (1..=LONGEST).contains(&id.len()) && id.iter().all(is_plain)
}

/// The id of a request, for handlers: what stands in `x-request-id`, or in the [header](RequestIds::header) that the service
/// takes instead, if that is one; see [`RequestIds`].
///
/// # Examples
///
/// ```
/// use cortex_http::RequestId;
///
/// async fn handler(RequestId(id): RequestId) -> String {
///     id.unwrap_or_else(|| "nameless".into())
/// }
/// # drop(handler(RequestId(None)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestId(
    /// The id; none if the request has none, or one that is not valid.
    pub Option<String>,
);

impl<S: Sync> FromRequestParts<S> for RequestId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let renamed = parts.extensions.get::<Renamed>();
        let header = renamed.map_or(HEADER, |Renamed(name)| name.clone());
        let id = parts.headers.get(header).filter(|id| is_valid(id));
        Ok(Self(id.and_then(|id| id.to_str().ok()).map(String::from)))
    }
}

impl fmt::Display for RequestId {
    /// Writes the id, or `-`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_deref().unwrap_or("-"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: Option<&str>) -> Parts {
        let mut request = http::Request::builder();
        if let Some(id) = id {
            request = request.header(HEADER, id);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn what_is_no_id_counts_as_none() {
        let long = "x".repeat(LONGEST + 1);
        for id in ["", "a b", "a\"b", "a,b", "<b>", &long] {
            assert_eq!(RequestIds::given().name(&mut request(Some(id))), None, "{id}");
        }
        for id in ["7", "01J9-z.~_", "Root=1-67891233-abc+/:@", &long[1..]] {
            assert_eq!(RequestIds::made().name(&mut request(Some(id))).unwrap(), id);
        }
        assert_eq!(RequestIds::off().name(&mut request(Some("7"))), None);
    }

    #[test]
    fn one_is_made_where_there_is_none_and_replaces_what_is_not_valid() {
        let mut hostile = request(Some("a b"));
        let one = RequestIds::made().name(&mut hostile).unwrap();
        let other = RequestIds::made().name(&mut request(None)).unwrap();
        assert!(one.len() == 32 && one != other);
        assert_eq!(hostile.headers[HEADER], one);
    }

    #[test]
    fn what_the_handler_answers_stays() {
        let ids = RequestIds::given().header(HeaderName::from_static("x-correlation-id"));
        let mut answer = HeaderMap::new();
        ids.answer(&HeaderValue::from_static("7"), &mut answer);
        ids.answer(&HeaderValue::from_static("8"), &mut answer);
        assert_eq!(answer["x-correlation-id"], "7");
        assert_eq!(answer.len(), 1);
    }
}
