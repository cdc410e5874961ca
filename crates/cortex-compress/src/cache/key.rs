//! What is kept, and what tells it apart. Section numbers are of RFC 9111 unless named.

use crate::coding::Coding;
use crate::list::{directives, elements};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, ETAG, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, SET_COOKIE,
    TRAILER, VARY,
};
use http::response::Parts;
use http::{StatusCode, Uri};
use std::fmt;

/// A longer key is not worth its memory.
pub(super) const MAX_KEY: usize = 4 << 10;

static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What has to be remembered of a `GET` for the key of its response; or of a `HEAD`, for that of the `GET` it stands
/// for.
pub(crate) struct Resource {
    uri: Uri,
    headers: HeaderMap,
    /// How often the cache had been cleared when the request came.
    epoch: u64,
}

impl Resource {
    pub(crate) fn new(uri: &Uri, headers: &HeaderMap, epoch: u64) -> Self {
        // Values are shared, not copied; which of them count is not known before the response says `Vary`.
        Self {
            uri: uri.clone(),
            headers: headers.clone(),
            epoch,
        }
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the key of a response, or nothing if it is not to be kept.
    pub(crate) fn key(&self, response: &Parts, length: u64, coding: Coding, level: u8) -> Option<Vec<u8>> {
        let tag = strong_tag(&response.headers)?;
        if response.status != StatusCode::OK || !self.may_be_kept(&response.headers) {
            return None;
        }
        let mut key = Fields(Vec::with_capacity(160));
        // All that a handler may take for the name of the site, even where they contradict each other: which of them it
        // goes by is not known here.
        let authority = self.uri.authority();
        key.push(authority.map_or(&b""[..], |authority| authority.as_str().as_bytes()));
        for name in [&HOST, &FORWARDED, &X_FORWARDED_HOST] {
            key.push_all(&self.headers, name);
        }
        key.push(
            self.uri
                .path_and_query()
                .map_or(&b""[..], |path| path.as_str().as_bytes()),
        );
        key.push(tag);
        key.0.extend_from_slice(&length.to_be_bytes());
        key.push(coding.as_str().as_bytes());
        key.0.push(level);
        for name in elements(&response.headers, &VARY) {
            // These say how the body is encoded, which is the same body.
            if name.eq_ignore_ascii_case(b"accept-encoding")
                || name.eq_ignore_ascii_case(b"available-dictionary")
            {
                continue;
            }
            // `*` is a name, too (RFC 9110, section 5.6.2), though of no header: it stands for what no request says.
            let name = HeaderName::from_bytes(name).ok().filter(|name| name != "*")?;
            key.push(name.as_str().as_bytes());
            key.push_all(&self.headers, &name);
            if key.0.len() > MAX_KEY {
                return None;
            }
        }
        Some(key.0).filter(|key| key.len() <= MAX_KEY)
    }

    fn may_be_kept(&self, response: &HeaderMap) -> bool {
        // 5.2.1.5
        if directives(&self.headers, &CACHE_CONTROL).any(|directive| is(directive, b"no-store")) {
            return false;
        }
        if response.contains_key(SET_COOKIE) || response.contains_key(TRAILER) {
            return false;
        }
        let (mut kept, mut shared) = (true, false);
        for directive in directives(response, &CACHE_CONTROL) {
            kept &= !is(directive, b"no-store") && !is(directive, b"private"); // 5.2.2.5, 5.2.2.7
            shared |= [&b"public"[..], b"s-maxage", b"must-revalidate"]
                .iter()
                .any(|name| is(directive, name));
        }
        kept && (shared || !self.headers.contains_key(AUTHORIZATION)) // 3.5
    }
}

/// The values of a request are nobody's business.
impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resource")
    }
}

/// Tells whether a directive has this name, whatever its argument.
fn is(directive: &[u8], name: &[u8]) -> bool {
    let end = directive.iter().position(|&byte| byte == b'=');
    directive[..end.unwrap_or(directive.len())]
        .trim_ascii()
        .eq_ignore_ascii_case(name)
}

/// Returns the entity tag if there is one, and it is strong (RFC 9110, section 8.8.3).
fn strong_tag(headers: &HeaderMap) -> Option<&[u8]> {
    let mut lines = headers.get_all(ETAG).iter().map(HeaderValue::as_bytes);
    let tag = lines.next().filter(|_| lines.next().is_none())?;
    let inside = tag.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    (!inside.contains(&b'"')).then_some(tag)
}

/// Fields, each with its length before it, so that no two lists of them look alike.
struct Fields(Vec<u8>);

impl Fields {
    fn push(&mut self, field: &[u8]) {
        self.0.extend_from_slice(&field.len().to_be_bytes());
        self.0.extend_from_slice(field);
    }

    fn push_all(&mut self, headers: &HeaderMap, name: &HeaderName) {
        let lines = headers.get_all(name);
        self.0.extend_from_slice(&lines.iter().count().to_be_bytes());
        for line in lines {
            if self.0.len() > MAX_KEY {
                return; // it will not be used
            }
            self.push(line.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};

    type Lines<'a> = &'a [(&'static str, &'static str)];

    fn key_of(uri: &'static str, request: Lines<'_>, response: Lines<'_>) -> Option<Vec<u8>> {
        let (mut head, ()) = Request::builder().uri(uri).body(()).unwrap().into_parts();
        for &(name, value) in request {
            head.headers.append(name, HeaderValue::from_static(value));
        }
        let mut answer = Response::builder();
        for &(name, value) in response {
            answer = answer.header(name, value);
        }
        let (answer, ()) = answer.body(()).unwrap().into_parts();
        let &coding = Coding::ALL.first()?;
        Resource::new(&head.uri, &head.headers, 0).key(&answer, 5000, coding, 1)
    }

    #[test]
    fn what_was_made_for_one_person_or_has_no_strong_tag_is_not_kept() {
        if Coding::ALL.is_empty() {
            return;
        }
        let tag = ("etag", "\"x\"");
        let signed_in = ("authorization", "Bearer x");
        let cases: &[(Lines<'_>, Lines<'_>, bool)] = &[
            (&[], &[tag], true),
            (&[], &[("etag", "\"\"")], true),
            (&[], &[], false),
            (&[], &[("etag", "W/\"x\"")], false),
            (&[], &[("etag", "x")], false),
            (&[], &[("etag", "\"")], false),
            (&[], &[("etag", "\"x\"y\"")], false),
            (&[], &[tag, ("etag", "\"y\"")], false),
            (
                &[],
                &[tag, ("cache-control", "max-age=60, must-revalidate")],
                true,
            ),
            (&[], &[tag, ("cache-control", "no-cache")], true), // the handler is asked each time
            (&[], &[tag, ("cache-control", "no-store")], false),
            (
                &[],
                &[tag, ("cache-control", "public"), ("cache-control", "No-Store")],
                false,
            ),
            (&[], &[tag, ("cache-control", "private")], false),
            (
                &[],
                &[tag, ("cache-control", "private=\"set-cookie, x\", max-age=5")],
                false,
            ),
            (&[], &[tag, ("cache-control", "x=\"private\", privately")], true),
            (&[], &[tag, ("set-cookie", "a=b")], false),
            (&[], &[tag, ("trailer", "checksum")], false),
            (&[], &[tag, ("vary", "*")], false),
            (&[], &[tag, ("vary", "origin"), ("vary", "accept, *")], false),
            (&[], &[tag, ("vary", "no name")], false),
            (&[], &[tag, ("vary", "origin, accept-encoding")], true),
            (&[], &[tag, ("vary", "origin, Available-Dictionary")], true),
            (&[("cache-control", "no-store")], &[tag], false),
            (&[("cache-control", "no-cache, max-age=0")], &[tag], true),
            (&[("cookie", "a=b")], &[tag], true),
            (&[signed_in], &[tag], false),
            (&[signed_in], &[tag, ("cache-control", "max-age=60")], false),
            (&[signed_in], &[tag, ("cache-control", "Public")], true),
            (&[signed_in], &[tag, ("cache-control", "s-maxage = 5")], true),
            (&[signed_in], &[tag, ("cache-control", "must-revalidate")], true),
            (&[signed_in], &[tag, ("cache-control", "public, private")], false),
        ];
        for &(request, response, kept) in cases {
            let key = key_of("/", request, response);
            assert_eq!(key.is_some(), kept, "{request:?} {response:?}");
        }
    }

    #[test]
    fn only_whole_representations_are_kept() {
        let Some(&coding) = Coding::ALL.first() else {
            return;
        };
        let resource = Resource::new(&Uri::from_static("/"), &HeaderMap::new(), 0);
        for status in [201, 203, 206, 304, 400, 404, 500] {
            let response = Response::builder().status(status).header("etag", "\"x\"");
            let (head, ()) = response.body(()).unwrap().into_parts();
            assert_eq!(resource.key(&head, 5000, coding, 1), None, "{status}");
        }
    }

    #[test]
    fn whatever_may_make_a_difference_makes_another_key() {
        if Coding::ALL.is_empty() {
            return;
        }
        let cases: &[(&str, Lines<'_>, Lines<'_>)] = &[
            ("/", &[("host", "a")], &[("etag", "\"x\"")]),
            ("/", &[("host", "b")], &[("etag", "\"x\"")]),
            ("/", &[("host", "a"), ("host", "b")], &[("etag", "\"x\"")]),
            ("/", &[], &[("etag", "\"x\"")]),
            ("/", &[("host", "a")], &[("etag", "\"y\"")]),
            ("/?", &[("host", "a")], &[("etag", "\"x\"")]),
            ("/?a", &[("host", "a")], &[("etag", "\"x\"")]),
            ("/a", &[("host", "a")], &[("etag", "\"x\"")]),
            ("https://a/", &[("host", "b")], &[("etag", "\"x\"")]),
            ("https://b/", &[("host", "b")], &[("etag", "\"x\"")]),
            ("https://a/", &[("host", "a")], &[("etag", "\"x\"")]),
            ("https://a/", &[], &[("etag", "\"x\"")]),
            (
                "/",
                &[("host", "a"), ("forwarded", "host=b")],
                &[("etag", "\"x\"")],
            ),
            (
                "/",
                &[("host", "a"), ("x-forwarded-host", "b")],
                &[("etag", "\"x\"")],
            ),
            (
                "/",
                &[("host", "a"), ("x-forwarded-host", "host=b")],
                &[("etag", "\"x\"")],
            ),
            ("/", &[("host", "a")], &[("etag", "\"x\""), ("vary", "origin")]),
            (
                "/",
                &[("host", "a"), ("origin", "")],
                &[("etag", "\"x\""), ("vary", "origin")],
            ),
            (
                "/",
                &[("host", "a"), ("origin", "o")],
                &[("etag", "\"x\""), ("vary", "origin")],
            ),
            (
                "/",
                &[("host", "a"), ("origin", "o"), ("origin", "o")],
                &[("etag", "\"x\""), ("vary", "origin")],
            ),
            (
                "/",
                &[("host", "a"), ("accept", "o")],
                &[("etag", "\"x\""), ("vary", "origin, accept")],
            ),
            (
                "/",
                &[("host", "a"), ("origin", "o")],
                &[("etag", "\"x\""), ("vary", "origin, accept")],
            ),
        ];
        let keys: Vec<_> = cases
            .iter()
            .map(|&(uri, request, response)| key_of(uri, request, response).unwrap())
            .collect();
        for (at, key) in keys.iter().enumerate() {
            for (other, before) in keys[..at].iter().enumerate() {
                assert_ne!(key, before, "{:?} {:?}", cases[at], cases[other]);
            }
        }
        let &coding = Coding::ALL.last().unwrap();
        let resource = Resource::new(&Uri::from_static("/"), &HeaderMap::new(), 0);
        let (head, ()) = Response::builder()
            .header("etag", "\"x\"")
            .body(())
            .unwrap()
            .into_parts();
        let key = |length, level| resource.key(&head, length, coding, level).unwrap();
        assert!(key(5000, 1) != key(5000, 2) && key(5000, 1) != key(5001, 1));
    }

    #[test]
    fn what_makes_no_difference_makes_no_other_key() {
        let varies: Lines<'_> = &[("etag", "\"x\""), ("vary", "Accept-Encoding, Origin")];
        let key = key_of("/", &[("accept-encoding", "gzip"), ("cookie", "a")], varies);
        for (request, response) in [
            (&[("accept-encoding", "br, gzip"), ("cookie", "b")][..], varies),
            (&[], &[("etag", "\"x\""), ("vary", "origin"), ("server", "s")][..]),
            (
                &[("available-dictionary", ":AA==:")],
                &[
                    ("etag", "\"x\""),
                    ("vary", "origin, accept-encoding, Available-Dictionary"),
                ],
            ),
        ] {
            assert_eq!(key_of("/", request, response), key);
        }
    }

    #[test]
    fn long_keys_are_not_worth_their_memory() {
        let long: &'static str = Box::leak("a".repeat(MAX_KEY).into_boxed_str());
        let vary: Lines<'_> = &[("etag", "\"x\""), ("vary", "accept")];
        assert_eq!(key_of("/", &[("host", long)], &[("etag", "\"x\"")]), None);
        assert_eq!(key_of("/", &[("accept", long)], vary), None);
        assert_eq!(
            key_of("/", &[("host", "a")], &[("etag", "\"x\""), ("vary", long)]),
            None
        );
        let path = Box::leak(format!("/{long}").into_boxed_str());
        assert_eq!(key_of(path, &[], &[("etag", "\"x\"")]), None);
    }

    #[test]
    fn nothing_of_a_request_gets_into_logs() {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("secret"))]);
        let resource = Resource::new(&Uri::from_static("/secret"), &headers, 0);
        assert!(!format!("{resource:?}").contains("secret"));
    }
}
