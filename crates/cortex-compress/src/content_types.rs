use std::borrow::Cow;
use std::error::Error;
use std::fmt;

/// The content types worth compressing.
///
/// Only the essence of a type counts (`text/html` of `Text/HTML; charset=utf-8`). Two families are not on the list,
/// whatever is added: `application/grpc*`, which brings its own compression (`application/grpc-web*` may be listed), and
/// `text/event-stream`, for which [`CompressionLayer::sse`](crate::CompressionLayer::sse) is there.
///
/// # Examples
///
/// ```
/// use cortex_compress::ContentTypes;
///
/// let types = ContentTypes::compressible().allow("application/vnd.acme.table")?;
/// assert!(types.contains("application/vnd.acme.table"));
/// assert!(types.contains("application/problem+json"));
/// assert!(types.contains("Text/HTML; charset=utf-8"));
/// assert!(!types.contains("image/png"));
///
/// let only = ContentTypes::none().allow("image/*")?.allow("*+cbor")?;
/// assert!(only.contains("image/bmp") && only.contains("application/senml+cbor"));
/// assert!(!only.contains("text/html"));
/// # Ok::<(), cortex_compress::InvalidContentType>(())
/// ```
#[derive(Clone, Debug)]
pub struct ContentTypes {
    patterns: Vec<Pattern>,
}

impl ContentTypes {
    /// Makes an empty list.
    pub const fn none() -> Self {
        Self { patterns: Vec::new() }
    }

    /// Makes the default list: text, JSON, XML, JavaScript, WebAssembly, SVG, uncompressed fonts and the like.
    pub fn compressible() -> Self {
        const PATTERNS: &[Pattern] = &[
            Pattern::Family(Cow::Borrowed("text/")),
            Pattern::Exact(Cow::Borrowed("application/json")),
            Pattern::Suffix(Cow::Borrowed("+json")),
            Pattern::Suffix(Cow::Borrowed("+xml")),
            Pattern::Suffix(Cow::Borrowed("+yaml")),
            Pattern::Exact(Cow::Borrowed("application/javascript")),
            Pattern::Exact(Cow::Borrowed("application/xml")),
            Pattern::Exact(Cow::Borrowed("application/x-javascript")),
            Pattern::Exact(Cow::Borrowed("application/ecmascript")),
            Pattern::Exact(Cow::Borrowed("application/wasm")),
            Pattern::Exact(Cow::Borrowed("application/ndjson")),
            Pattern::Exact(Cow::Borrowed("application/x-ndjson")),
            Pattern::Exact(Cow::Borrowed("application/jsonl")),
            Pattern::Exact(Cow::Borrowed("application/json-seq")),
            Pattern::Exact(Cow::Borrowed("application/graphql")),
            Pattern::Exact(Cow::Borrowed("application/sql")),
            Pattern::Exact(Cow::Borrowed("application/toml")),
            Pattern::Exact(Cow::Borrowed("application/yaml")),
            Pattern::Exact(Cow::Borrowed("application/x-yaml")),
            Pattern::Exact(Cow::Borrowed("application/rtf")),
            Pattern::Exact(Cow::Borrowed("application/openmetrics-text")),
            Pattern::Exact(Cow::Borrowed("application/vnd.apple.mpegurl")),
            Pattern::Exact(Cow::Borrowed("application/vnd.ms-fontobject")),
            Pattern::Exact(Cow::Borrowed("font/collection")),
            Pattern::Exact(Cow::Borrowed("font/otf")),
            Pattern::Exact(Cow::Borrowed("font/ttf")),
            Pattern::Exact(Cow::Borrowed("image/bmp")),
            Pattern::Exact(Cow::Borrowed("image/vnd.microsoft.icon")),
            Pattern::Exact(Cow::Borrowed("image/x-icon")),
        ];
        Self {
            patterns: PATTERNS.to_vec(),
        }
    }

    /// Adds a type (`application/pdf`), all types of a family (`font/*`) or all with a suffix (`*+cbor`).
    ///
    /// # Errors
    ///
    /// The pattern has none of these three forms.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_compress::ContentTypes;
    ///
    /// assert!(ContentTypes::none().allow("font/*")?.contains("font/woff"));
    /// let error = ContentTypes::none().allow("json").unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "allow the content type \"json\": write it like \"text/html\", \"text/*\" or \"*+json\"",
    /// );
    /// # Ok::<(), cortex_compress::InvalidContentType>(())
    /// ```
    pub fn allow(mut self, pattern: &str) -> Result<Self, InvalidContentType> {
        let Some(parsed) = Pattern::parse(pattern) else {
            return Err(InvalidContentType {
                pattern: pattern.into(),
            });
        };
        self.patterns.push(parsed);
        Ok(self)
    }

    /// Tells whether a value of `Content-Type` is on the list.
    pub fn contains(&self, content_type: &str) -> bool {
        self.contains_essence(essence(content_type.as_bytes()))
    }

    pub(crate) fn contains_essence(&self, essence: &[u8]) -> bool {
        !is_event_stream(essence)
            && !is_grpc(essence)
            && self.patterns.iter().any(|pattern| pattern.matches(essence))
    }
}

impl Default for ContentTypes {
    fn default() -> Self {
        Self::compressible()
    }
}

/// A pattern that no content type has.
///
/// # Examples
///
/// ```
/// use cortex_compress::{ContentTypes, InvalidContentType};
///
/// let refused: InvalidContentType = ContentTypes::none().allow("*/*").unwrap_err();
/// assert!(refused.to_string().starts_with("allow the content type \"*/*\""));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidContentType {
    pattern: Box<str>,
}

impl fmt::Display for InvalidContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "allow the content type {:?}: write it like \"text/html\", \"text/*\" or \"*+json\"",
            self.pattern
        )
    }
}

impl Error for InvalidContentType {}

/// Cuts the parameters off a content type.
pub(crate) fn essence(content_type: &[u8]) -> &[u8] {
    let end = content_type.iter().position(|&byte| byte == b';');
    content_type[..end.unwrap_or(content_type.len())].trim_ascii()
}

pub(crate) fn is_event_stream(essence: &[u8]) -> bool {
    essence.eq_ignore_ascii_case(b"text/event-stream")
}

/// Tells whether it is gRPC, which compresses by itself; gRPC-Web does not.
pub(crate) fn is_grpc(essence: &[u8]) -> bool {
    has_prefix(essence, b"application/grpc") && !has_prefix(essence, b"application/grpc-web")
}

fn has_prefix(essence: &[u8], prefix: &[u8]) -> bool {
    essence
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[derive(Clone, Debug)]
enum Pattern {
    Exact(Cow<'static, str>),
    /// Up to and with the slash.
    Family(Cow<'static, str>),
    /// From the plus on.
    Suffix(Cow<'static, str>),
}

impl Pattern {
    fn parse(pattern: &str) -> Option<Self> {
        let parts = pattern.split_once('/');
        let named = |part: &str| !part.is_empty() && part.bytes().all(is_type_byte);
        Some(match (parts, pattern.strip_prefix('*')) {
            (Some((family, "*")), _) if named(family) => {
                Self::Family(pattern[..=family.len()].to_owned().into())
            }
            (Some((family, subtype)), _) if named(family) && named(subtype) => {
                Self::Exact(pattern.to_owned().into())
            }
            (None, Some(suffix)) if suffix.strip_prefix('+').is_some_and(named) => {
                Self::Suffix(suffix.to_owned().into())
            }
            _ => return None,
        })
    }

    fn matches(&self, essence: &[u8]) -> bool {
        match self {
            Self::Exact(whole) => essence.eq_ignore_ascii_case(whole.as_bytes()),
            Self::Family(family) => has_prefix(essence, family.as_bytes()),
            Self::Suffix(suffix) => essence
                .len()
                .checked_sub(suffix.len())
                .is_some_and(|start| essence[start..].eq_ignore_ascii_case(suffix.as_bytes())),
        }
    }
}

/// Tells whether a byte may stand in a type or subtype (RFC 6838, section 4.2).
fn is_type_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_list_is_text_and_its_kin() {
        let types = ContentTypes::default();
        for yes in [
            "text/html",
            "TEXT/PLAIN",
            "text/css;charset=utf-8",
            " application/json ; charset=utf-8",
            "application/ld+json",
            "application/atom+xml",
            "image/svg+xml",
            "application/wasm",
            "application/x-ndjson",
            "font/ttf",
            "application/openmetrics-text; version=1.0.0",
            "application/vnd.oai.openapi+yaml",
            "application/vnd.apple.mpegurl",
        ] {
            assert!(types.contains(yes), "{yes}");
        }
        for no in [
            "",
            "text",
            "image/png",
            "application/zip",
            "font/woff2",
            "video/mp4",
            "application/octet-stream",
            "json",
            "application/jsonx",
        ] {
            assert!(!types.contains(no), "{no}");
        }
    }

    #[test]
    fn grpc_and_event_streams_stay_out_whatever_the_list_says() {
        let types = ContentTypes::compressible()
            .allow("application/*")
            .unwrap()
            .allow("text/event-stream")
            .unwrap();
        for no in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc+json",
            "Application/GRPC",
            "text/event-stream",
            "text/event-stream; charset=utf-8",
        ] {
            assert!(!types.contains(no), "{no}");
        }
        assert!(types.contains("application/grpc-web+proto"));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in [
            "",
            "*",
            "*/*",
            "text",
            "text/",
            "/html",
            "te xt/html",
            "*+",
            "text/html; q=1",
            "*json",
        ] {
            let error = ContentTypes::none().allow(pattern).unwrap_err();
            assert!(error.to_string().contains(&format!("{pattern:?}")), "{error}");
        }
    }
}
