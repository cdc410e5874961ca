//! Edits of the response header. Section numbers are of RFC 9110 unless named.

use crate::coding::Coding;
use crate::list::{elements, split};
use http::header::{
    ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, HeaderName, HeaderValue, VARY,
};

/// Describes an encoded representation: its coding, and nothing that is true of the identity only.
pub(crate) fn describe_encoded(headers: &mut HeaderMap, coding: Coding, length: Option<u64>) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.as_str()));
    match length {
        Some(length) => headers.insert(CONTENT_LENGTH, HeaderValue::from(length)),
        None => headers.remove(CONTENT_LENGTH),
    };
    headers.remove(ACCEPT_RANGES); // 14.3: ranges would be of the encoded bytes, which are made anew each time
    remove_digests(headers);
    vary_on_accept_encoding(headers);
    weaken_etag(headers);
}

/// Removes the digests of the identity (RFC 9530, sections 2 and 3, and their forerunners).
pub(crate) fn remove_digests(headers: &mut HeaderMap) {
    for name in ["content-digest", "repr-digest", "digest", "content-md5"] {
        headers.remove(HeaderName::from_static(name));
    }
}

/// Adds `Accept-Encoding` to `Vary` (12.5.5) unless it is there, or `*` is.
pub(crate) fn vary_on_accept_encoding(headers: &mut HeaderMap) {
    let varies =
        elements(headers, &VARY).any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"));
    if !varies {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Makes a strong entity tag weak (8.8.1): two codings of a representation must not share a strong one.
pub(crate) fn weaken_etag(headers: &mut HeaderMap) {
    let Some(tag) = headers.get(ETAG).filter(|tag| is_strong(tag)) else {
        return;
    };
    let weak = [b"W/", tag.as_bytes()].concat();
    let weak = HeaderValue::from_maybe_shared(bytes::Bytes::from(weak))
        .expect("invariant: a header value stays one with W/ before it");
    headers.insert(ETAG, weak);
}

/// Gives the entity tag of a 304 the form that the client holds, `if_none_match` being what it sent.
///
/// A cache that holds `W/"x"` cannot freshen it by a 304 with `"x"` (RFC 9111, section 4.3.4).
pub(crate) fn match_etag(headers: &mut HeaderMap, if_none_match: &HeaderValue, would_encode: bool) {
    let Some(tag) = headers.get(ETAG).filter(|tag| is_strong(tag)) else {
        return;
    };
    let (mut weak, mut strong) = (false, false);
    for held in split(if_none_match.as_bytes()) {
        strong |= held == tag.as_bytes();
        weak |= held.strip_prefix(b"W/") == Some(tag.as_bytes());
    }
    if weak && (would_encode || !strong) {
        weaken_etag(headers);
    }
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

fn is_strong(tag: &HeaderValue) -> bool {
    tag.as_bytes().starts_with(b"\"")
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn t1_and_t4_strong_tags_are_weakened_and_weak_ones_stay() {
        for (before, after) in [("\"x\"", "W/\"x\""), ("W/\"x\"", "W/\"x\""), ("broken", "broken")] {
            let mut headers = map(&[("etag", before)]);
            weaken_etag(&mut headers);
            assert_eq!(headers[ETAG], after);
        }
        let mut headers = HeaderMap::new();
        weaken_etag(&mut headers);
        assert!(headers.is_empty());
    }

    #[test]
    fn t1_a_304_carries_the_form_that_was_matched() {
        let cases = [
            (r#"W/"x""#, false, r#"W/"x""#),
            (r#"W/"x""#, true, r#"W/"x""#),
            (r#""x""#, true, r#""x""#),
            (r#""y", W/"x""#, false, r#"W/"x""#),
            (r#""x", W/"x""#, false, r#""x""#),
            (r#""x", W/"x""#, true, r#"W/"x""#),
            ("*", true, r#""x""#),
            (r#"W/"a,W/"x"""#, true, r#""x""#),
        ];
        for (held, would_encode, expected) in cases {
            let mut headers = map(&[("etag", r#""x""#)]);
            match_etag(&mut headers, &HeaderValue::from_static(held), would_encode);
            assert_eq!(headers[ETAG], expected, "{held} {would_encode}");
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
