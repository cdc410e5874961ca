use std::time::{Duration, UNIX_EPOCH};

use axum::body::Bytes;
use cortex_core::Context;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE};
use http::{HeaderValue, Response};

use crate::guard::Refused;
use crate::outcome::Outcome;
use crate::shared::Conn;

/// The last second of the year 9999, behind which there is no date.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

/// Writes the answer to a head that is too slow: RFC 9110, section 15.5.9, a server that times out on a request should say
/// so and close. hyper, which waits for the rest of the head, has no answer to nothing, so it is written here whole, with
/// all that any other answer bears.
#[cold]
pub(super) fn answer(conn: &Conn) -> Vec<u8> {
    let refused = Refused::of(Outcome::Timeout).detail("The head of the request did not arrive in time.");
    let mut response: Response<Bytes> = refused.respond(Context::new());
    let length = response.body().len();
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    headers.insert(CONTENT_LENGTH, length.into());
    let now = conn.shared.clock.wall().clamp(UNIX_EPOCH, UNIX_EPOCH + LATEST);
    let date = HeaderValue::try_from(httpdate::fmt_http_date(now));
    headers.insert(
        DATE,
        date.expect("invariant: letters, digits and spaces are a value"),
    );
    if let Some(security) = &conn.shared.guards.security {
        security.apply(headers, conn.is_tls());
    }
    let mut bytes = b"HTTP/1.1 408 Request Timeout\r\n".to_vec();
    for (name, value) in response.headers() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(response.body());
    bytes
}
