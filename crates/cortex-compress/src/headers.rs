//! Edits of the response header. Section numbers are of RFC 9110 unless named.

use crate::etag::{Variant, mark_encoded};
use crate::list::elements;
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, VARY,
};

/// Says whether a header is there. Most requests and responses have a few: a walk past those is cheaper than to look one up.
#[inline]
pub(crate) fn is_present(headers: &HeaderMap, name: &HeaderName) -> bool {
    const FEW: usize = 16;
    if headers.keys_len() > FEW {
        return headers.contains_key(name);
    }
    headers.keys().any(|known| known == name)
}

/// Describes an encoded representation: its coding, and nothing that is true of the identity only.
///
/// `length` is what may be declared; `whole` says that the body is encoded in one piece, and so always alike.
pub(crate) fn describe_encoded(headers: &mut HeaderMap, variant: Variant, length: Option<u64>, whole: bool) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(variant.coding));
    forget_identity(headers);
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    vary_on_accept_encoding(headers);
    mark_encoded(headers, variant, whole);
}

/// Returns the length that a response declares.
pub(crate) fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Removes what is true of the identity only.
pub(crate) fn forget_identity(headers: &mut HeaderMap) {
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES); // 14.3: ranges would be of the encoded bytes, which are made anew each time
    remove_digests(headers);
}

/// Removes the digests of the identity (RFC 9530, sections 2 and 3, and their forerunners).
pub(crate) fn remove_digests(headers: &mut HeaderMap) {
    for name in ["content-digest", "repr-digest", "digest", "content-md5"] {
        headers.remove(HeaderName::from_static(name));
    }
}

/// Adds `Accept-Encoding` to `Vary` (12.5.5) unless it is there, or `*` is.
pub(crate) fn vary_on_accept_encoding(headers: &mut HeaderMap) {
    let varies = is_present(headers, &VARY)
        && elements(headers, &VARY).any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"));
    if !varies {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Adds both fields that a choice with a dictionary depends on to `Vary` (RFC 9842, section 6.2).
pub(crate) fn vary_on_dictionary(headers: &mut HeaderMap) {
    let (mut encoding, mut dictionary) = (false, false);
    for name in elements(headers, &VARY) {
        if name == b"*" {
            return;
        }
        encoding |= name.eq_ignore_ascii_case(b"accept-encoding");
        dictionary |= name.eq_ignore_ascii_case(b"available-dictionary");
    }
    let missing = match (encoding, dictionary) {
        (false, false) => "accept-encoding, available-dictionary",
        (true, false) => "available-dictionary",
        (false, true) => "accept-encoding",
        (true, true) => return,
    };
    headers.append(VARY, HeaderValue::from_static(missing));
}

/// Collects the `If-None-Match` of a request into one value, without allocating where there is one line or none.
pub(crate) fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let first = headers.get(name)?;
    let lines = headers.get_all(name).iter().skip(1);
    let mut rest = lines.peekable();
    if rest.peek().is_none() {
        return Some(first.clone());
    }
    let mut joined = first.as_bytes().to_vec();
    for line in rest {
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(line.as_bytes());
    }
    HeaderValue::from_maybe_shared(bytes::Bytes::from(joined)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::ETAG;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn v2_vary_is_compared_by_whole_tokens_over_all_lines_and_never_duplicated() {
        let cases: [(&[&'static str], bool); 8] = [
            (&[], true),
            (&["origin"], true),
            (&["x-accept-encoding"], true),
            (&["accept-encoding-x, origin"], true),
            (&["Accept-Encoding"], false),
            (&["origin", "cookie, ACCEPT-ENCODING"], false),
            (&["*"], false),
            (&["origin, *"], false),
        ];
        for (lines, added) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(VARY, HeaderValue::from_static(line));
            }
            vary_on_accept_encoding(&mut headers);
            vary_on_accept_encoding(&mut headers);
            assert_eq!(
                headers.get_all(VARY).iter().count(),
                lines.len() + usize::from(added),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn vary_names_both_fields_of_a_dictionary_once() {
        let cases: [(&[&'static str], &[&'static str]); 6] = [
            (&[], &["accept-encoding, available-dictionary"]),
            (&["origin"], &["origin", "accept-encoding, available-dictionary"]),
            (&["Accept-Encoding"], &["Accept-Encoding", "available-dictionary"]),
            (
                &["x, Available-Dictionary"],
                &["x, Available-Dictionary", "accept-encoding"],
            ),
            (
                &["available-dictionary", "accept-encoding"],
                &["available-dictionary", "accept-encoding"],
            ),
            (&["origin, *"], &["origin, *"]),
        ];
        for (lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(VARY, HeaderValue::from_static(line));
            }
            vary_on_dictionary(&mut headers);
            vary_on_dictionary(&mut headers);
            vary_on_accept_encoding(&mut headers);
            assert!(headers.get_all(VARY).iter().eq(expected), "{lines:?}");
        }
    }

    #[test]
    fn several_lines_are_joined() {
        let headers = map(&[("etag", "a"), ("etag", "b"), ("vary", "c")]);
        assert_eq!(joined(&headers, &ETAG).unwrap(), "a, b");
        assert_eq!(joined(&headers, &VARY).unwrap(), "c");
        assert_eq!(joined(&headers, &ACCEPT_RANGES), None);
    }
}
