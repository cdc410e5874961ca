//! Entity tags of encoded representations. Section numbers are of RFC 9110 unless named.

use crate::dictionary::{Dictionary, name_with_dictionary};
use crate::list::tags;
use bytes::Bytes;
use http::Method;
use http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};

/// What becomes of a strong entity tag when its representation is encoded; see [`CompressionLayer::etag`].
///
/// Two codings of a representation must not share a strong tag (8.8.3.3): a cache would take the bytes of one for those
/// of the other. Weak tags stay in each case.
///
/// [`CompressionLayer::etag`]: crate::CompressionLayer::etag
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "libdeflate")] {
/// use cortex_compress::{CompressionLayer, EtagPolicy};
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use std::convert::Infallible;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let request = || Request::builder().header("accept-encoding", "gzip").body(()).unwrap();
/// for (policy, tag) in [
///     (EtagPolicy::Weaken, "W/\"v1\""),
///     (EtagPolicy::Suffix, "\"v1~cortex-gzip-4.1\""),
///     (EtagPolicy::Keep, "\"v1\""),
/// ] {
///     let service = ServiceBuilder::new().layer(CompressionLayer::new().etag(policy)).service_fn(
///         async |_: Request<()>| {
///             let text = Full::<bytes::Bytes>::from("again and ".repeat(1000));
///             let response = Response::builder().header("content-type", "text/plain").header("etag", "\"v1\"");
///             Ok::<_, Infallible>(response.body(text).unwrap())
///         },
///     );
///     let response = service.oneshot(request()).await.unwrap();
///     assert_eq!(response.headers()["etag"], tag);
/// }
/// # });
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EtagPolicy {
    /// `"x"` becomes `W/"x"`.
    ///
    /// `If-None-Match` compares weakly (13.1.2), so that nothing has to be changed in requests. A weak tag never matches
    /// in `If-Match` (13.1.1) nor in `If-Range` (13.1.5): who read an encoded representation cannot make a change
    /// conditional on it.
    #[default]
    Weaken,
    /// `"x"` becomes `"x~cortex-gzip-4.1"`: the coding, its level, and the revision of its encoder, which is another
    /// one in builds without the feature `libdeflate`.
    ///
    /// For APIs whose clients send back in `If-Match` what they got with `GET`. The suffix, and none but ours, is taken
    /// out of `If-None-Match`, and of `If-Match` where the method is not safe, before the handler sees them, and put back
    /// into a 304. Out of `If-Range` it is never taken: parts of the identity must not be added to an encoded beginning.
    ///
    /// A strong tag promises the same bytes each time, which a body that is encoded as it comes cannot keep (where it
    /// pauses, it is flushed), nor one that takes long (in slices or elsewhere, as there is time; from about 10 KB of
    /// br 4, 40 KB of gzip 4, 110 KB of zstd 1): the tags of such are weakened. What is shorter is encoded in one go,
    /// by an [`Offload`](crate::Offload) or else by the thread that serves, even where that takes a slow machine
    /// longer than the quarter of a millisecond after which a task lets others run.
    Suffix,
    /// The tag stays as it is.
    ///
    /// For handlers that know of codings themselves, and behind caches that tell responses apart by `Vary` alone.
    Keep,
}

/// What tells an encoded representation from others of the same resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Variant {
    /// By its name, as a build may have none.
    pub(crate) coding: &'static str,
    pub(crate) level: u8,
    pub(crate) etag: EtagPolicy,
}

impl Variant {
    /// The same with a dictionary, if there is one.
    pub(crate) fn with(self, dictionary: Option<&Dictionary>) -> Self {
        let coding = dictionary.map_or(self.coding, |_| name_with_dictionary(self.coding));
        Self { coding, ..self }
    }
}

/// What separates the tag of the handler from what we add.
const MARK: &[u8] = b"~cortex-";

/// Returns the revision of the encoder that encodes whole bodies: one for all that give the same bytes.
///
/// An encoder that gives other bytes for some input and level, as a new version of it may, needs a number of its own.
/// A test has the hashes of what these give.
fn revision(coding: &str) -> u8 {
    match coding {
        // By zlib-rs, and not by libdeflate.
        "deflate" | "gzip" if cfg!(not(feature = "libdeflate")) => 2,
        _ => 1,
    }
}

/// Gives a representation that is encoded now a tag of its own; `whole` says that the same body will always give the
/// same bytes.
pub(crate) fn mark_encoded(headers: &mut HeaderMap, variant: Variant, whole: bool) {
    match variant.etag {
        EtagPolicy::Keep => {}
        EtagPolicy::Suffix if whole => drop(set(headers, |tag| Some(suffixed(tag, variant)))),
        EtagPolicy::Weaken | EtagPolicy::Suffix => drop(set(headers, |tag| Some(weakened(tag)))),
    }
}

/// Gives the entity tag of a 304 the form that the client holds, `if_none_match` being what it sent, and `variant` what
/// a 200 would be encoded with.
///
/// A cache that holds `W/"x"` cannot freshen it by a 304 with `"x"` (RFC 9111, section 4.3.4).
///
/// Tells whether the form is that of an encoded representation.
pub(crate) fn mark_not_modified(
    headers: &mut HeaderMap,
    if_none_match: &HeaderValue,
    policy: EtagPolicy,
    variant: Option<Variant>,
) -> bool {
    if policy == EtagPolicy::Keep {
        return false;
    }
    let suffixes = policy == EtagPolicy::Suffix;
    set(headers, |tag| {
        let current = variant.filter(|_| suffixes).map(|variant| suffixed(tag, variant));
        let (mut weak, mut strong, mut other) = (false, false, None);
        for held in tags(if_none_match.as_bytes()) {
            strong |= held == tag;
            weak |= held.strip_prefix(b"W/") == Some(tag);
            if suffixes && stripped(held).is_some_and(|base| is_closed(base, tag)) {
                if current.as_deref() == Some(held) {
                    return current;
                }
                other = Some(held);
            }
        }
        if weak && (variant.is_some() || !strong) {
            return Some(weakened(tag));
        }
        other.filter(|_| !strong).map(<[u8]>::to_vec)
    })
}

/// Takes our suffixes out of what a request compares with the tags of its handler.
pub(crate) fn strip_conditions(method: &Method, headers: &mut HeaderMap) {
    strip_field(headers, &IF_NONE_MATCH);
    if !method.is_safe() {
        strip_field(headers, &IF_MATCH);
    }
}

/// Tells whether one of the tags in a line has a suffix of ours.
pub(crate) fn has_suffix(line: &HeaderValue) -> bool {
    tags(line.as_bytes()).any(|tag| stripped(tag).is_some())
}

/// Line by line: a quote that is not closed must not change the meaning of other lines.
fn strip_field(headers: &mut HeaderMap, name: &HeaderName) {
    if !headers.get_all(name).iter().any(has_suffix) {
        return;
    }
    let lines: Vec<_> = headers.get_all(name).iter().cloned().collect();
    headers.remove(name);
    for line in lines {
        let line = if has_suffix(&line) {
            strip_line(line.as_bytes())
        } else {
            line
        };
        headers.append(name, line);
    }
}

fn strip_line(line: &[u8]) -> HeaderValue {
    let mut plain = Vec::with_capacity(line.len());
    for tag in tags(line) {
        if !plain.is_empty() {
            plain.extend_from_slice(b", ");
        }
        match stripped(tag) {
            Some(base) => {
                plain.extend_from_slice(base);
                plain.push(b'"');
            }
            None => plain.extend_from_slice(tag),
        }
    }
    value(plain)
}

/// Returns what stands before our suffix in a tag, without the closing quote; none where there is no such suffix.
fn stripped(tag: &[u8]) -> Option<&[u8]> {
    let inside = tag.strip_suffix(b"\"")?;
    let at = inside.windows(MARK.len()).rposition(|part| part == MARK)?;
    let mut parts = inside[at + MARK.len()..].splitn(2, |&byte| byte == b'-');
    let (coding, rest) = (parts.next()?, parts.next()?);
    let mut numbers = rest.split(|&byte| byte == b'.');
    let (level, revision) = (numbers.next()?, numbers.next()?);
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    let is_ours = !coding.is_empty()
        && coding.iter().all(u8::is_ascii_lowercase)
        && is_number(level)
        && is_number(revision)
        && numbers.next().is_none();
    (is_ours && inside[..at].contains(&b'"')).then_some(&inside[..at])
}

/// Compares the beginning of a tag, weakly, with a strong tag, which closes.
fn is_closed(base: &[u8], tag: &[u8]) -> bool {
    tag.strip_suffix(b"\"") == Some(base.strip_prefix(b"W/").unwrap_or(base))
}

fn suffixed(tag: &[u8], variant: Variant) -> Vec<u8> {
    let Variant { coding, level, .. } = variant;
    let revision = revision(coding);
    let mut tag = tag.strip_suffix(b"\"").unwrap_or(tag).to_vec();
    tag.extend_from_slice(MARK);
    tag.extend_from_slice(format!("{coding}-{level}.{revision}\"").as_bytes());
    tag
}

fn weakened(tag: &[u8]) -> Vec<u8> {
    [b"W/", tag].concat()
}

/// Changes a strong tag, and tells whether it did. Others, and what is none, stay as they are.
fn set(headers: &mut HeaderMap, change: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> bool {
    let tag = headers.get(ETAG).map(HeaderValue::as_bytes);
    let is_strong = |tag: &&[u8]| tag.len() >= 2 && tag.starts_with(b"\"") && tag.ends_with(b"\"");
    let Some(changed) = tag.filter(is_strong).and_then(change) else {
        return false;
    };
    headers.insert(ETAG, value(changed));
    true
}

fn value(bytes: Vec<u8>) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(bytes))
        .expect("invariant: what header values and printable text are made of")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(tag: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(ETAG, HeaderValue::from_static(tag))])
    }

    fn variant(etag: EtagPolicy) -> Variant {
        Variant {
            coding: "gzip",
            level: 5,
            etag,
        }
    }

    #[test]
    fn t1_and_t4_strong_tags_are_weakened_and_weak_ones_stay() {
        let variant = variant(EtagPolicy::Weaken);
        for (before, after) in [
            ("\"x\"", "W/\"x\""),
            ("\"\"", "W/\"\""),
            ("W/\"x\"", "W/\"x\""),
            ("broken", "broken"),
            ("\"", "\""),
            ("\"open", "\"open"),
        ] {
            let mut headers = tagged(before);
            mark_encoded(&mut headers, variant, true);
            assert_eq!(headers[ETAG], after);
        }
        let mut headers = HeaderMap::new();
        mark_encoded(&mut headers, variant, true);
        assert!(headers.is_empty());
    }

    #[test]
    fn t1_a_304_carries_the_form_that_was_matched() {
        for (held, would_encode, expected) in [
            (r#"W/"x""#, false, r#"W/"x""#),
            (r#"W/"x""#, true, r#"W/"x""#),
            (r#""x""#, true, r#""x""#),
            (r#""y", W/"x""#, false, r#"W/"x""#),
            (r#""x", W/"x""#, false, r#""x""#),
            (r#""x", W/"x""#, true, r#"W/"x""#),
            (r#""a\", W/"x""#, true, r#"W/"x""#),
            ("*", true, r#""x""#),
            (r#"W/"a,W/"x"""#, true, r#""x""#),
            (r#""x~cortex-gzip-5.1""#, true, r#""x""#), // of a time when the policy was another
        ] {
            let mut headers = tagged(r#""x""#);
            let variant = would_encode.then(|| variant(EtagPolicy::Weaken));
            let held_value = HeaderValue::from_static(held);
            let marked = mark_not_modified(&mut headers, &held_value, EtagPolicy::Weaken, variant);
            assert_eq!(marked, expected != r#""x""#, "{held} {would_encode}");
            assert_eq!(headers[ETAG], expected, "{held} {would_encode}");
        }
    }

    #[test]
    fn t3_only_our_suffix_is_one() {
        for (tag, base) in [
            ("\"x~cortex-gzip-5.1\"", Some("\"x")),
            ("W/\"x~cortex-br-11.20\"", Some("W/\"x")),
            ("\"~cortex-zstd-1.1\"", Some("\"")),
            ("\"a~cortex-gzip-5.1~cortex-br-4.1\"", Some("\"a~cortex-gzip-5.1")),
            ("\"x\"", None),
            ("\"x-gzip\"", None),
            ("\"x~cortex-gzip-5\"", None),
            ("\"x~cortex-gzip-5.1.1\"", None),
            ("\"x~cortex-gzip-5.\"", None),
            ("\"x~cortex--5.1\"", None),
            ("\"x~cortex-gzip-a.1\"", None),
            ("\"x~cortex-gzip-5.1", None),
            ("x~cortex-gzip-5.1\"", None),
            ("~cortex-gzip-5.1\"", None),
            ("", None),
            ("*", None),
        ] {
            assert_eq!(stripped(tag.as_bytes()), base.map(str::as_bytes), "{tag}");
        }
    }

    #[test]
    fn t3_what_is_added_is_what_is_taken_out() {
        let variant = variant(EtagPolicy::Suffix);
        for tag in ["\"x\"", "\"\"", "\"a,b\"", "\"a\\\"", "\"x~cortex-gzip-5.1\""] {
            let marked = suffixed(tag.as_bytes(), variant);
            let base = stripped(&marked).unwrap();
            assert!(is_closed(base, tag.as_bytes()), "{tag}");
            let weak = weakened(&marked);
            assert!(is_closed(stripped(&weak).unwrap(), tag.as_bytes()), "{tag}");
        }
    }

    #[test]
    fn t3_conditions_are_rewritten_only_where_our_suffix_is() {
        let lines = ["\"a,b\" ,W/\"x~cortex-gzip-5.1\"", "\"y~cortex-br-4.1\", *"];
        let made = |name: &HeaderName| -> HeaderMap {
            let lines = lines.map(|line| (name.clone(), HeaderValue::from_static(line)));
            HeaderMap::from_iter(lines)
        };
        let values = |headers: &HeaderMap, name: &HeaderName| -> Vec<String> {
            let lines = headers.get_all(name).iter();
            lines.map(|line| line.to_str().unwrap().to_owned()).collect()
        };
        let rewritten = ["\"a,b\", W/\"x\"", "\"y\", *"];
        for (method, name, changes) in [
            (Method::GET, IF_NONE_MATCH, true),
            (Method::PUT, IF_NONE_MATCH, true),
            (Method::PUT, IF_MATCH, true),
            (Method::DELETE, IF_MATCH, true),
            (Method::GET, IF_MATCH, false),
            (Method::HEAD, IF_MATCH, false),
            (Method::GET, http::header::IF_RANGE, false),
            (Method::PUT, http::header::IF_RANGE, false),
        ] {
            let mut headers = made(&name);
            strip_conditions(&method, &mut headers);
            let expected: &[&str] = if changes { &rewritten } else { &lines };
            assert_eq!(values(&headers, &name), expected, "{method} {name}");
        }
        let foreign = HeaderValue::from_static("\"a\"  ,  \"b\"");
        let mut headers = HeaderMap::from_iter([(IF_NONE_MATCH, foreign.clone())]);
        strip_conditions(&Method::GET, &mut headers);
        assert_eq!(headers[IF_NONE_MATCH], foreign);
    }
}
