use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderValue, Uri};

/// Where a request is sent.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) address: Address,
    pub(super) port: Option<u16>,
}

/// A host's name or address, without the user and the password that may stand before it; compared without case.
///
/// It borrows from the request, so that a look-up allocates nothing. A clone is what a family keeps of it: the bytes
/// of the host alone, so that no URI with its secrets stays in memory.
pub(super) struct Address(Source);

enum Source {
    Unknown,
    Uri(Authority),
    Header(HeaderValue),
    Kept(Arc<str>),
}

/// No name in the DNS is longer; whatever is, is no address.
const MAX_BYTES: usize = 253;

impl Origin {
    /// Takes the address from the URI, or else from the header `Host`.
    pub(super) fn of(parts: &Parts, https: bool) -> Self {
        let source = match parts.uri.authority() {
            Some(authority) => Source::Uri(authority.clone()),
            None => parts
                .headers
                .get(HOST)
                .map_or(Source::Unknown, |host| Source::Header(host.clone())),
        };
        let (host, port) = split(source.authority());
        let known = !host.is_empty() && host.len() <= MAX_BYTES;
        let default = if is_https(&parts.uri, https) { 443 } else { 80 };
        Self {
            port: known.then(|| port.and_then(|port| port.parse().ok()).unwrap_or(default)),
            address: Address(if known { source } else { Source::Unknown }),
        }
    }
}

/// Says whether a request goes over TLS; `default` where its URI does not say.
pub(super) fn is_https(uri: &Uri, default: bool) -> bool {
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => default,
    }
}

/// Splits the host from the port; brackets of an IPv6 address go, as OpenTelemetry has it.
fn split(authority: &str) -> (&str, Option<&str>) {
    let place = authority.rsplit('@').next().unwrap_or_default();
    if let Some((host, rest)) = place.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    place
        .split_once(':')
        .map_or((place, None), |(host, port)| (host, Some(port)))
}

impl Source {
    fn authority(&self) -> &str {
        match self {
            Self::Unknown | Self::Kept(_) => "",
            Self::Uri(authority) => authority.as_str(),
            Self::Header(host) => host.to_str().unwrap_or_default(),
        }
    }
}

impl Address {
    fn host(&self) -> &str {
        match &self.0 {
            Source::Kept(host) => host,
            source => split(source.authority()).0,
        }
    }
}

impl Clone for Address {
    fn clone(&self) -> Self {
        Self(match &self.0 {
            Source::Unknown => Source::Unknown,
            Source::Kept(host) => Source::Kept(Arc::clone(host)),
            Source::Uri(_) | Source::Header(_) => Source::Kept(self.host().to_ascii_lowercase().into()),
        })
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.host().eq_ignore_ascii_case(other.host())
    }
}

impl Eq for Address {}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let host = self.host();
        state.write_usize(host.len());
        for chunk in host.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            word.make_ascii_lowercase();
            state.write_u64(u64::from_le_bytes(word));
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host().to_ascii_lowercase()) // once per series
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.host()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use foldhash::fast::RandomState;
    use http::Request;

    use super::*;

    fn origin(uri: &str, host: Option<&[u8]>) -> Origin {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        Origin::of(&request.body(()).unwrap().into_parts().0, false)
    }

    #[test]
    fn the_address_and_the_port_of_a_request() {
        let long = format!("http://{}/", "a".repeat(254));
        for (uri, host, address, port) in [
            ("http://a.example/x", None, "a.example", Some(80)),
            ("https://A.Example/x", None, "a.example", Some(443)),
            ("https://a.example:8443/x", None, "a.example", Some(8443)),
            ("http://user:secret@a.example:81/", None, "a.example", Some(81)),
            ("http://[2001:DB8::1]:8080/", None, "2001:db8::1", Some(8080)),
            ("http://[::1]/", None, "::1", Some(80)),
            ("a.example:443", None, "a.example", Some(443)), // CONNECT
            ("/x", Some(&b"b.example:8080"[..]), "b.example", Some(8080)),
            ("/x", Some(b"b.example"), "b.example", Some(80)),
            ("/x", Some(b"b.example:99999"), "b.example", Some(80)),
            ("http://a.example/x", Some(b"b.example"), "a.example", Some(80)),
            ("/x", Some(b"\xff"), "", None),
            ("/x", None, "", None),
            (&long, None, "", None),
        ] {
            let origin = origin(uri, host);
            assert_eq!(
                (&*origin.address.to_string(), origin.port),
                (address, port),
                "{uri}"
            );
        }
    }

    #[test]
    fn a_clone_is_the_same_key_and_keeps_the_host_only() {
        let hasher = RandomState::default();
        let seen = origin("http://user:secret@Payments.Example.internal:81/", None).address;
        let kept = seen.clone();
        assert!(matches!(&kept.0, Source::Kept(host) if **host == *"payments.example.internal"));
        for other in [kept.clone(), kept] {
            assert_eq!(seen, other);
            assert_eq!(hasher.hash_one(&seen), hasher.hash_one(&other));
            assert_eq!(format!("{other:?}"), r#"Address("payments.example.internal")"#);
        }
        let other = origin("http://payments.example.internaL2/", None).address;
        assert_ne!(seen, other);
        assert_ne!(hasher.hash_one(&seen), hasher.hash_one(&other));
        assert_eq!(origin("/", None).address.clone(), origin("/", None).address);
    }
}
