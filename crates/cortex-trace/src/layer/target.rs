//! Where a request goes to, and over what.

use std::borrow::Cow;

use http::Uri;
use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, Scheme};

/// Returns the whole address of a request: below a connection that is made already, requests name only the path, and
/// the rest stands in `Host`.
pub(super) fn whole(parts: &Parts, https: bool) -> Cow<'_, Uri> {
    if parts.uri.authority().is_some() {
        return Cow::Borrowed(&parts.uri);
    }
    let mut whole = parts.uri.clone().into_parts();
    whole.authority = from_host(parts);
    whole.scheme = Some(if https { Scheme::HTTPS } else { Scheme::HTTP });
    match Uri::from_parts(whole) {
        Ok(whole) => Cow::Owned(whole),
        Err(_) => Cow::Borrowed(&parts.uri), // there is no host, or it is the `*` of OPTIONS
    }
}

/// Returns the host that a request goes to, as one writes it in a list: lowercase, without port, brackets, and the dot
/// of the root; empty if it is not known.
pub(super) fn host(parts: &Parts) -> Cow<'_, str> {
    match parts.uri.host() {
        Some(host) => normal(host),
        None => from_host(parts).map_or(Cow::Borrowed(""), |authority| {
            Cow::Owned(normal(authority.host()).into_owned())
        }),
    }
}

fn normal(host: &str) -> Cow<'_, str> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = v6.unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

fn from_host(parts: &Parts) -> Option<Authority> {
    parts.headers.get(HOST)?.as_bytes().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(uri: &str, host: Option<&[u8]>) -> Parts {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn addresses() {
        for (uri, header, full, named) in [
            ("http://a.example/x?y", None, "http://a.example/x?y", "a.example"),
            (
                "http://A.Example.:81/x",
                Some(&b"b"[..]),
                "http://A.Example.:81/x",
                "a.example",
            ),
            (
                "http://user:secret@a.example/",
                None,
                "http://user:secret@a.example/",
                "a.example",
            ),
            (
                "http://[2001:DB8::1]:8080/",
                None,
                "http://[2001:DB8::1]:8080/",
                "2001:db8::1",
            ),
            (
                "/x?y",
                Some(b"B.example:8080"),
                "https://B.example:8080/x?y",
                "b.example",
            ),
            ("/x", Some(b"\xff"), "/x", ""),
            ("/x", Some(b""), "/x", ""),
            ("/x", None, "/x", ""),
            ("a.example:443", None, "a.example:443", "a.example"), // CONNECT
        ] {
            let parts = parts(uri, header);
            assert_eq!(whole(&parts, true).to_string(), full, "{uri}");
            assert_eq!(host(&parts), named, "{uri}");
        }
    }
}
