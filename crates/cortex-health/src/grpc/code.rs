use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// How a call ends: <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Ok = 0,
    DeadlineExceeded = 4,
    NotFound = 5,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
}

/// An end that is no success, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) why: &'static str,
    /// It is for the encoding of the message: the answer says which there is instead.
    is_for_encoding: bool,
}

impl Refusal {
    pub(super) const fn new(code: Code, why: &'static str) -> Self {
        Self {
            code,
            why,
            is_for_encoding: false,
        }
    }

    /// Refuses a message in an encoding that we cannot read:
    /// <https://github.com/grpc/grpc/blob/master/doc/compression.md>.
    pub(super) const fn encoding() -> Self {
        Self {
            code: Code::Unimplemented,
            why: "the encoding of the request is not supported, only identity is",
            is_for_encoding: true,
        }
    }

    /// Returns the trailers, or for an answer without a message the headers.
    pub(super) fn headers(self) -> HeaderMap {
        let mut headers = self.code.headers();
        headers.insert(MESSAGE, HeaderValue::from_static(self.why)); // ours, so there is nothing to escape
        if self.is_for_encoding {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        headers
    }
}

impl Code {
    pub(super) fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(STATUS, HeaderValue::from(self as u16));
        headers
    }
}
