use http::Uri;
use std::fmt;

/// A URL, taken apart as far as a request needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// As the `Host` header has it.
    pub(super) authority: String,
    pub(super) path: String,
}

impl Url {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidUrl> {
        let refuse = |kind| Err(InvalidUrl { kind });
        let Ok(uri) = text.parse::<Uri>() else {
            return refuse(InvalidUrlKind::Malformed);
        };
        let is_tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") if cfg!(feature = "tls") => true,
            Some("https") => return refuse(InvalidUrlKind::TlsMissing),
            _ => return refuse(InvalidUrlKind::Scheme),
        };
        let Some(authority) = uri.authority() else {
            return refuse(InvalidUrlKind::Malformed);
        };
        if authority.as_str().contains('@') {
            return refuse(InvalidUrlKind::Credentials);
        }
        let host = authority.host();
        let port = match authority.as_str().strip_prefix(host).unwrap_or_default() {
            "" => Some(if is_tls { 443 } else { 80 }),
            port => port
                .strip_prefix(':')
                .filter(|port| port.bytes().all(|byte| byte.is_ascii_digit())) // `parse` takes a sign
                .and_then(|port| port.parse().ok())
                .filter(|port| *port != 0),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let (Some(port), false) = (port, host.is_empty()) else {
            return refuse(InvalidUrlKind::Malformed);
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            is_tls,
            host: host.to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}") // only a query
            },
        })
    }
}

impl fmt::Display for Url {
    /// Leaves the query out: there may be a token in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.authority)
    }
}

/// Why [`HttpGet::new`](super::HttpGet::new) refused a URL.
///
/// # Examples
///
/// ```
/// use cortex_health::checks::{HttpGet, InvalidUrlKind};
///
/// let error = HttpGet::new("ftp://files.internal/").unwrap_err();
/// assert_eq!(error.kind(), InvalidUrlKind::Scheme);
/// assert_eq!(error.to_string(), "accept the URL: it begins neither with `http://` nor with `https://`");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUrl {
    kind: InvalidUrlKind,
}

impl InvalidUrl {
    /// Returns what is wrong.
    pub const fn kind(&self) -> InvalidUrlKind {
        self.kind
    }
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.kind {
            InvalidUrlKind::Malformed => "it is not `http://host[:port][/path][?query]`",
            InvalidUrlKind::Scheme => "it begins neither with `http://` nor with `https://`",
            InvalidUrlKind::Credentials => "it holds credentials; set the header `authorization` instead",
            InvalidUrlKind::TlsMissing => "`https` needs the feature `tls`",
        };
        write!(f, "accept the URL: {why}")
    }
}

impl std::error::Error for InvalidUrl {}

/// The kinds of [`InvalidUrl`].
///
/// # Examples
///
/// ```
/// use cortex_health::checks::{HttpGet, InvalidUrlKind};
///
/// let kind = |url: &str| HttpGet::new(url).unwrap_err().kind();
/// assert_eq!(kind("http://app:hunter2@orders/readyz"), InvalidUrlKind::Credentials);
/// assert_eq!(kind("http://"), InvalidUrlKind::Malformed);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidUrlKind {
    /// It is not an absolute URL.
    Malformed,
    /// Its scheme is not `http` or `https`.
    Scheme,
    /// It has a user or a password, which would stand in reports.
    Credentials,
    /// It begins with `https://`, and the feature `tls` is off.
    TlsMissing,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> (String, u16, String, String) {
        let url = Url::parse(text).unwrap();
        (url.host, url.port, url.authority, url.path)
    }

    fn own(host: &str, port: u16, authority: &str, path: &str) -> (String, u16, String, String) {
        (host.into(), port, authority.into(), path.into())
    }

    #[test]
    fn urls_come_apart() {
        assert_eq!(parts("http://a"), own("a", 80, "a", "/"));
        assert_eq!(
            parts("HTTP://a.b:8080/c/d?e=f#g"),
            own("a.b", 8080, "a.b:8080", "/c/d?e=f")
        );
        assert_eq!(parts("http://[::1]:81?x"), own("::1", 81, "[::1]:81", "/?x"));
        assert_eq!(parts("http://10.0.0.1/"), own("10.0.0.1", 80, "10.0.0.1", "/"));
        let shown = Url::parse("http://a:1/b?token=c").unwrap().to_string();
        assert_eq!(shown, "http://a:1/b");
        #[cfg(feature = "tls")]
        assert_eq!(parts("https://a"), own("a", 443, "a", "/"));
    }

    #[test]
    fn what_is_no_url_is_refused() {
        use InvalidUrlKind::{Credentials, Malformed, Scheme};
        for (text, kind) in [
            ("", Malformed),
            ("/path", Scheme),
            ("a:80", Scheme),
            ("http:///path", Malformed),
            ("http://a b/", Malformed),
            ("http://a/\r\nx: y", Malformed),
            ("http://a:0/", Malformed),
            ("http://a:99999/", Malformed),
            ("http://a:/", Malformed),
            ("http://a:+1/", Malformed),
            ("http://u:p@a/", Credentials),
            ("gopher://a/", Scheme),
        ] {
            let error = Url::parse(text).unwrap_err();
            assert_eq!(error.kind(), kind, "{text:?}");
            assert!(!error.to_string().contains("u:p"), "{error}");
        }
        #[cfg(not(feature = "tls"))]
        assert_eq!(
            Url::parse("https://a/").unwrap_err().kind(),
            InvalidUrlKind::TlsMissing
        );
    }

    proptest! {
        #[test]
        fn nothing_smuggles_a_line_into_the_request(text in "\\PC{0,40}", tail in "[\\x00-\\x7f]{0,20}") {
            if let Ok(url) = Url::parse(&format!("http://{text}{tail}")) {
                let line = format!("{}{}", url.path, url.authority);
                prop_assert!(!line.bytes().any(|byte| byte <= b' ' || byte == 0x7f), "{:?}", line);
            }
        }
    }
}
