use bytes::Bytes;
use http::response::Parts;
use http::{HeaderName, HeaderValue};
use std::error::Error;
use std::fmt;

static USE_AS_DICTIONARY: HeaderName = HeaderName::from_static("use-as-dictionary");

/// A response extension: the response is a dictionary for later ones (RFC 9842, section 2.1). The layer writes it
/// into the header, as `Use-As-Dictionary`, unless the handler has done so.
///
/// The client keeps the response as long as it is fresh, so it needs a `Cache-Control` with a `max-age`. Then it sends
/// `Available-Dictionary` with each request of the same origin that the pattern covers. What it has is the content
/// without its content coding: put that into the [`DictionaryStore`](crate::DictionaryStore).
///
/// # Examples
///
/// ```
/// use axum::{Extension, Router, body::Body, routing::get};
/// use cortex_compress::{CompressionLayer, UseAsDictionary};
/// use http::Request;
/// use tower::ServiceExt;
///
/// let mark = UseAsDictionary::new("/app/*/main.js")?.destinations(["script"])?.id("v1")?;
/// let script = || async { (Extension(mark), [("cache-control", "max-age=604800")], "export {};") };
/// let app = Router::new().route("/app/v1/main.js", get(script)).layer(CompressionLayer::new());
/// let request = Request::builder().uri("/app/v1/main.js").body(Body::empty()).unwrap();
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// assert_eq!(
///     app.oneshot(request).await.unwrap().headers()["use-as-dictionary"],
///     r#"match="/app/*/main.js", match-dest=("script"), id="v1""#
/// );
/// # });
/// # Ok::<(), cortex_compress::InvalidDictionaryField>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseAsDictionary {
    pattern: String,
    destinations: Vec<String>,
    id: String,
}

impl UseAsDictionary {
    /// The most characters of an [`id`](Self::id) (section 2.1.3).
    const MAX_ID: usize = 1024;

    /// Says for which URLs the dictionary is good: those that this [URL pattern] covers, relative to the URL of the
    /// response, such as `/app/*` (section 2.1.1).
    ///
    /// [URL pattern]: https://urlpattern.spec.whatwg.org/
    ///
    /// # Errors
    ///
    /// The pattern is empty, has characters that are not printable ASCII, or has groups with regular expressions,
    /// which start with `(` and which clients do not take.
    pub fn new(pattern: impl Into<String>) -> Result<Self, InvalidDictionaryField> {
        let pattern = pattern.into();
        check(&pattern)?;
        if pattern.is_empty() {
            return Err(InvalidDictionaryField::Empty);
        }
        let mut escaped = false;
        for byte in pattern.bytes() {
            if byte == b'(' && !escaped {
                return Err(InvalidDictionaryField::RegularExpression);
            }
            escaped = byte == b'\\' && !escaped;
        }
        Ok(Self {
            pattern,
            destinations: Vec::new(),
            id: String::new(),
        })
    }

    /// Restricts it to requests with one of these destinations, such as `document`, `script` or `style` (section
    /// 2.1.2); all by default, and for clients that know of none.
    ///
    /// # Errors
    ///
    /// One has characters that are not printable ASCII.
    pub fn destinations<D: Into<String>>(
        mut self,
        destinations: impl IntoIterator<Item = D>,
    ) -> Result<Self, InvalidDictionaryField> {
        self.destinations = destinations.into_iter().map(Into::into).collect();
        self.destinations.iter().try_for_each(|each| check(each))?;
        Ok(self)
    }

    /// Gives the dictionary a name that clients send back in `Dictionary-ID` (section 2.1.3).
    ///
    /// The layer does not look at it: it finds a dictionary by its hash.
    ///
    /// # Errors
    ///
    /// It has more than 1024 characters, or such that are not printable ASCII.
    pub fn id(mut self, id: impl Into<String>) -> Result<Self, InvalidDictionaryField> {
        self.id = id.into();
        check(&self.id)?;
        if self.id.len() > Self::MAX_ID {
            return Err(InvalidDictionaryField::IdTooLong(self.id.len()));
        }
        Ok(self)
    }

    /// Returns the value of `Use-As-Dictionary`.
    ///
    /// The type is left out: `raw` is the default, and there is no other (section 2.1.4).
    pub fn to_value(&self) -> HeaderValue {
        let mut value = String::from("match=");
        push_string(&mut value, &self.pattern);
        if !self.destinations.is_empty() {
            value.push_str(", match-dest=(");
            for (at, destination) in self.destinations.iter().enumerate() {
                if at > 0 {
                    value.push(' ');
                }
                push_string(&mut value, destination);
            }
            value.push(')');
        }
        if !self.id.is_empty() {
            value.push_str(", id=");
            push_string(&mut value, &self.id);
        }
        to_header(value)
    }
}

/// Returns a value of `Link` that has clients fetch a dictionary when they have nothing else to do (RFC 9842, section
/// 3).
///
/// # Errors
///
/// The target is empty, or has characters that a URI has not.
///
/// # Examples
///
/// ```
/// use cortex_compress::dictionary_link;
///
/// assert_eq!(dictionary_link("/dictionary.dat")?, "</dictionary.dat>; rel=\"compression-dictionary\"");
/// assert!(dictionary_link("/a>; rel=stylesheet").is_err());
/// # Ok::<(), cortex_compress::InvalidDictionaryField>(())
/// ```
pub fn dictionary_link(target: &str) -> Result<HeaderValue, InvalidDictionaryField> {
    check(target)?;
    if target.is_empty() {
        return Err(InvalidDictionaryField::Empty);
    }
    // RFC 3986, appendix A: none of these is in a URI.
    if target.contains([' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}']) {
        return Err(InvalidDictionaryField::Character);
    }
    Ok(to_header(format!("<{target}>; rel=\"compression-dictionary\"")))
}

/// Writes a mark of the handler into the header.
#[inline]
pub(crate) fn mark(response: &mut Parts) {
    if let Some(mark) = response.extensions.get::<UseAsDictionary>()
        && !response.headers.contains_key(&USE_AS_DICTIONARY)
    {
        let value = mark.to_value();
        response.headers.insert(USE_AS_DICTIONARY.clone(), value);
    }
}

/// A string of structured fields has printable ASCII (RFC 9651, section 3.3.3).
fn check(text: &str) -> Result<(), InvalidDictionaryField> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        Ok(())
    } else {
        Err(InvalidDictionaryField::Character)
    }
}

/// RFC 9651, section 4.1.6.
fn push_string(value: &mut String, text: &str) {
    value.push('"');
    for character in text.chars() {
        if let '"' | '\\' = character {
            value.push('\\');
        }
        value.push(character);
    }
    value.push('"');
}

/// Makes a header value of printable characters.
pub(super) fn to_header(value: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(value)).expect("invariant: checked to be printable")
}

/// Why a header field about dictionaries cannot be written.
///
/// # Examples
///
/// ```
/// use cortex_compress::UseAsDictionary;
///
/// let error = UseAsDictionary::new("/app/(v[0-9]+)/*").unwrap_err();
/// assert_eq!(error.to_string(), "match a regular expression: patterns of dictionaries have none");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidDictionaryField {
    /// The pattern or the target is empty.
    Empty,
    /// There is a character that is not printable ASCII or, in a target, that a URI has not.
    Character,
    /// The pattern has a group with a regular expression.
    RegularExpression,
    /// The name has this many characters; 1024 are allowed.
    IdTooLong(usize),
}

impl fmt::Display for InvalidDictionaryField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("match or link nothing: there has to be a pattern or a target"),
            Self::Character => {
                f.write_str("write a character: it has to be printable ASCII, and of a URI in a link")
            }
            Self::RegularExpression => {
                f.write_str("match a regular expression: patterns of dictionaries have none")
            }
            Self::IdTooLong(length) => write!(
                f,
                "name a dictionary with {length} characters: there may be {}",
                UseAsDictionary::MAX_ID
            ),
        }
    }
}

impl Error for InvalidDictionaryField {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_written() {
        // Sections 2.1.5.1 and 2.1.5.2.
        let products = UseAsDictionary::new("/product/*").unwrap();
        let products = products.destinations(["document"]).unwrap();
        assert_eq!(
            products.to_value(),
            r#"match="/product/*", match-dest=("document")"#
        );
        let versions = UseAsDictionary::new("/app/*/main.js").unwrap();
        assert_eq!(versions.to_value(), r#"match="/app/*/main.js""#);
    }

    #[test]
    fn strings_are_escaped_and_lists_have_spaces() {
        let mark = UseAsDictionary::new(r"/a\(b").unwrap();
        let mark = mark
            .destinations(["script", "style"])
            .unwrap()
            .id("a\"b")
            .unwrap();
        assert_eq!(
            mark.to_value(),
            r#"match="/a\\(b", match-dest=("script" "style"), id="a\"b""#
        );
    }

    #[test]
    fn what_no_client_would_take_is_refused() {
        use InvalidDictionaryField::{Character, Empty, IdTooLong, RegularExpression};
        for (pattern, error) in [
            ("", Empty),
            ("/ä", Character),
            ("/a\r\nb", Character),
            ("/a\tb", Character),
            ("/(.*)", RegularExpression),
            ("/:name([a-z]+)", RegularExpression),
            (r"/\\(a)", RegularExpression),
        ] {
            assert_eq!(UseAsDictionary::new(pattern).unwrap_err(), error, "{pattern:?}");
        }
        let mark = || UseAsDictionary::new("/:name/*").unwrap();
        assert_eq!(mark().id("i".repeat(1025)).unwrap_err(), IdTooLong(1025));
        assert!(mark().id("i".repeat(1024)).is_ok());
        assert_eq!(mark().id("\u{7f}").unwrap_err(), Character);
        assert_eq!(mark().destinations(["a", "b\n"]).unwrap_err(), Character);
        for (target, error) in [
            ("", Empty),
            ("/a b", Character),
            ("</a", Character),
            ("/ö", Character),
        ] {
            assert_eq!(dictionary_link(target).unwrap_err(), error, "{target:?}");
        }
    }
}
