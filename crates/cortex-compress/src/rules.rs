//! Which responses are encoded. Section numbers are of RFC 9110 unless named.

use crate::coding::Coding;
use crate::content_types::essence;
use crate::headers::{joined, match_etag, vary_on_accept_encoding};
use crate::list::elements;
use crate::negotiate::{Negotiated, negotiate};
use crate::observer::SkipReason;
use crate::shared::Shared;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap,
    HeaderName, HeaderValue, IF_NONE_MATCH,
};
use http::response::Parts;
use http::{Method, StatusCode};
use http_body::SizeHint;

static SIGNATURE_INPUT: HeaderName = HeaderName::from_static("signature-input");

/// A response extension: the layer leaves the response alone.
///
/// # Examples
///
/// ```
/// use cortex_compress::NoCompress;
/// use http::Response;
///
/// let mut response = Response::new("a secret, and what the caller sent");
/// response.extensions_mut().insert(NoCompress);
/// assert!(response.extensions().get::<NoCompress>().is_some());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NoCompress;

/// What has to be remembered of a request until its response comes; made by [`Compressor::plan`](crate::Compressor::plan).
#[derive(Debug)]
pub struct Plan {
    coding: Option<Coding>,
    method: Asked,
    no_transform: bool,
    if_none_match: Option<HeaderValue>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Head,
    Connect,
    Other,
}

/// What to do with a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it as it is.
    Pass(SkipReason),
    /// Send the identity, but say that another coding might have been sent.
    Identity(SkipReason),
    /// Describe the encoded response, without a body.
    Head(Coding),
    /// Encode the body.
    Encode(Coding),
}

impl Plan {
    #[inline]
    pub(crate) fn new(method: &Method, headers: &HeaderMap, shared: &Shared) -> Self {
        let accepts = is_present(headers, &ACCEPT_ENCODING);
        let coding = match accepts.then(|| negotiate(headers, shared.codings())) {
            Some(Negotiated::Encode(coding)) => Some(coding),
            Some(Negotiated::Identity | Negotiated::NotAcceptable) | None => None,
        };
        Self {
            coding,
            method: match *method {
                Method::HEAD => Asked::Head,
                Method::CONNECT => Asked::Connect,
                _ => Asked::Other,
            },
            no_transform: coding.is_some() && shared.no_transform && says_no_transform(headers),
            if_none_match: if is_present(headers, &IF_NONE_MATCH) {
                joined(headers, &IF_NONE_MATCH)
            } else {
                None
            },
        }
    }

    /// Judges a response, and amends the header of one that will not be encoded.
    pub(crate) fn apply(&self, head: &mut Parts, length: &SizeHint, shared: &Shared) -> Verdict {
        let verdict = self.judge(head, length.exact(), shared);
        if let Verdict::Identity(_) = verdict {
            vary_on_accept_encoding(&mut head.headers);
        }
        verdict
    }

    fn judge(&self, response: &mut Parts, exact: Option<u64>, shared: &Shared) -> Verdict {
        if shared.codings().is_empty() {
            return Verdict::Pass(SkipReason::NotAccepted);
        }
        let status = response.status;
        let tunnel = self.method == Asked::Connect && status.is_success();
        if status.is_informational()
            || tunnel
            || status == StatusCode::NO_CONTENT
            || status == StatusCode::RESET_CONTENT
        {
            return Verdict::Pass(SkipReason::Status);
        }
        if self.no_transform {
            return Verdict::Pass(SkipReason::NoTransform);
        }
        if response.extensions.get::<NoCompress>().is_some() {
            return Verdict::Pass(SkipReason::OptedOut);
        }
        if status == StatusCode::NOT_MODIFIED {
            return self.judge_not_modified(&mut response.headers, shared);
        }
        if is_present(&response.headers, &CONTENT_ENCODING) {
            return judge_encoded(&mut response.headers);
        }
        let head = self.method == Asked::Head;
        let partial = status == StatusCode::PARTIAL_CONTENT;
        if !head && !partial && exact.is_some_and(|length| length < shared.min_size.max(1)) {
            return Verdict::Pass(SkipReason::TooSmall); // most responses that are not encoded end here
        }
        self.judge_content(&response.headers, partial, status, exact, shared)
    }

    /// Judges what is in the header, once the method, the status and the length of the body have nothing against it.
    fn judge_content(
        &self,
        headers: &HeaderMap,
        partial: bool,
        status: StatusCode,
        exact: Option<u64>,
        shared: &Shared,
    ) -> Verdict {
        let Some(content_type) = headers.get(CONTENT_TYPE) else {
            return Verdict::Pass(SkipReason::ContentType);
        };
        // 14.6: the type of the parts is inside, so that of the whole representation is not known here.
        let parts = essence(content_type.as_bytes()).eq_ignore_ascii_case(b"multipart/byteranges");
        if !parts && !shared.types.contains_value(content_type) {
            return Verdict::Pass(SkipReason::ContentType);
        }
        if shared.no_transform && says_no_transform(headers) {
            return Verdict::Pass(SkipReason::NoTransform);
        }
        if headers.contains_key(&SIGNATURE_INPUT) {
            return Verdict::Pass(SkipReason::OptedOut); // RFC 9421: the signature may cover what would change
        }
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Verdict::Pass(SkipReason::Range);
        }
        if partial || parts || headers.contains_key(CONTENT_RANGE) {
            return Verdict::Identity(SkipReason::Range); // 15.3.7: Vary as in the 200
        }
        let head = self.method == Asked::Head;
        match if head {
            declared(headers).or(exact)
        } else {
            exact.or_else(|| declared(headers))
        } {
            // A handler may answer HEAD without the body of GET: then nothing is known of its length.
            Some(0) if head => return Verdict::Identity(SkipReason::TooSmall),
            Some(length) if length < shared.min_size.max(1) => return Verdict::Pass(SkipReason::TooSmall),
            _ => {}
        }
        match self.coding {
            None => Verdict::Identity(SkipReason::NotAccepted),
            Some(coding) if head => Verdict::Head(coding),
            Some(coding) => Verdict::Encode(coding),
        }
    }

    /// 15.4.5: a 304 has the `Vary` and the entity tag that the 200 would have had.
    fn judge_not_modified(&self, headers: &mut HeaderMap, shared: &Shared) -> Verdict {
        let encoded = headers.contains_key(CONTENT_ENCODING);
        let no_transform = shared.no_transform && says_no_transform(headers);
        let ineligible = headers
            .get(CONTENT_TYPE)
            .is_some_and(|content_type| !shared.types.contains_value(content_type));
        if encoded || no_transform || ineligible {
            return Verdict::Pass(SkipReason::Status);
        }
        if let Some(held) = &self.if_none_match {
            match_etag(headers, held, self.coding.is_some());
        }
        Verdict::Identity(SkipReason::Status)
    }
}

/// Says whether a header is there. Most requests and responses have a few: a walk past those is cheaper than to look one up.
#[inline]
fn is_present(headers: &HeaderMap, name: &HeaderName) -> bool {
    const FEW: usize = 16;
    if headers.keys_len() > FEW {
        return headers.contains_key(name);
    }
    headers.keys().any(|known| known == name)
}

/// 8.4: leaves an encoded response alone; `identity` is no coding but the wish of the handler to have none.
fn judge_encoded(headers: &mut HeaderMap) -> Verdict {
    let mut codings =
        elements(headers, &CONTENT_ENCODING).map(|coding| coding.eq_ignore_ascii_case(b"identity"));
    let only_identity = codings.next() == Some(true) && codings.all(|identity| identity);
    drop(codings);
    if only_identity {
        headers.remove(CONTENT_ENCODING);
        return Verdict::Pass(SkipReason::OptedOut);
    }
    Verdict::Pass(SkipReason::AlreadyEncoded)
}

/// Looks for the directive `no-transform` (RFC 9111, sections 5.2.1.6 and 5.2.2.6).
fn says_no_transform(headers: &HeaderMap) -> bool {
    elements(headers, &CACHE_CONTROL).any(|directive| directive.eq_ignore_ascii_case(b"no-transform"))
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
