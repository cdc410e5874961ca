use std::borrow::Cow;
use std::fmt;

use http::header::HOST;
use http::request::Parts;
use http::uri::{Authority, Scheme};

/// Who a request goes to, without anything that could be secret.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    authority: Option<Authority>,
    /// Zero if it is not known.
    pub(super) port: u16,
}

impl Target {
    pub(super) fn of(parts: &Parts) -> Self {
        let uri = &parts.uri;
        let default = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => 443,
            Some(scheme) if *scheme == Scheme::HTTP => 80,
            _ => 0,
        };
        // Below a connection that is made already, requests name only the path, and the rest stands in `Host`.
        let authority = uri.authority().cloned();
        let authority = authority.or_else(|| parts.headers.get(HOST)?.as_bytes().try_into().ok());
        let port = authority.as_ref().and_then(Authority::port_u16);
        Self {
            port: port.unwrap_or(default),
            authority,
        }
    }

    /// Returns the host in lowercase, without brackets and the dot of the root; empty if it is not known.
    pub(super) fn host(&self) -> Cow<'_, str> {
        let host = self.authority.as_ref().map_or("", Authority::host);
        let host = host.strip_suffix('.').unwrap_or(host);
        let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = v6.unwrap_or(host);
        if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.authority.as_ref().map_or("", Authority::host) {
            "" => f.write_str("nobody"),
            host if self.port == 0 => f.write_str(host),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_server_and_nothing_else() {
        for (uri, header, host, shown) in [
            ("http://a.example/x?y=z", None, "a.example", "a.example:80"),
            ("https://A.Example./", None, "a.example", "A.Example.:443"),
            (
                "http://user:secret@a.example:81/",
                None,
                "a.example",
                "a.example:81",
            ),
            (
                "http://[2001:DB8::1]:8080/",
                None,
                "2001:db8::1",
                "[2001:DB8::1]:8080",
            ),
            ("/x", Some("B.example:8080"), "b.example", "B.example:8080"),
            ("/x", Some("b.example"), "b.example", "b.example"),
            ("/x", None, "", "nobody"),
        ] {
            let mut request = http::Request::get(uri);
            if let Some(header) = header {
                request = request.header(HOST, header);
            }
            let target = Target::of(&request.body(()).unwrap().into_parts().0);
            assert_eq!(target.host(), host, "{uri}");
            assert_eq!(target.to_string(), shown, "{uri}");
        }
    }
}
