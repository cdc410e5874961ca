use std::net::IpAddr;

use http::HeaderMap;
use http::uri::{Authority, Scheme};

use super::forwarded::{forwarded, parameter, value_at, x_forwarded_for};
use super::{Forwarded, Peer, TrustedProxies};

/// Says who a request comes from: what [`Forwarded`](crate::Forwarded) tells handlers, and what spans record as
/// `client.address`, which is personal data in many places.
///
/// Behind a proxy the other end of the connection is the proxy, and who is behind it stands in a header that anybody
/// can send. So it is believed only from proxies that are named. Of what they wrote, the right-most address that is not
/// one of them counts: what is to the left of that comes from the client. It is the other end of the connection if that
/// is no proxy, or one that names nobody. If a proxy says that it does not know, or what cannot be read, nothing is
/// known. Nor is anything of connections on a Unix socket, unless the proxies have `unix:` among them.
///
/// Choose the header that the proxies write. One that they do not know they pass on as the client sent it, so that
/// believing both would be believing everybody.
///
/// # Examples
///
/// ```
/// use cortex_http::{ClientAddress, Routes, Server, TrustedProxies};
///
/// let proxies = TrustedProxies::new(["10.0.0.0/8", "2001:db8::7"])?;
/// let server = Server::new(Routes::new()).client_address(ClientAddress::XForwardedFor(proxies));
/// # drop(server);
/// # Ok::<(), cortex_http::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum ClientAddress {
    /// Nothing.
    #[default]
    None,
    /// The other end of the connection: right where no proxy is in between.
    Peer,
    /// Whoever these proxies name in `Forwarded`, RFC 7239, where they say too what scheme and host were asked for.
    Forwarded(TrustedProxies),
    /// Whoever these proxies name in `X-Forwarded-For`.
    XForwardedFor(TrustedProxies),
    /// Whoever these proxies name in `X-Forwarded-For`, if they also write `X-Forwarded-Proto` and `X-Forwarded-Host`,
    /// the scheme and the host that were asked for. Of several values in one of these, that in the place of the client
    /// counts.
    XForwarded(TrustedProxies),
}

/// How many proxies of ours a request may pass; what claims more is not believed.
const MOST_HOPS: usize = 32;

impl ClientAddress {
    pub(crate) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// Returns the client of a request that came over a connection from `peer`, as far as it is to be known.
    pub(crate) fn find(&self, peer: Peer, headers: &HeaderMap) -> Option<IpAddr> {
        self.way(peer, headers).client
    }

    /// Returns all that proxies say of where a request came from.
    pub(crate) fn forwarded(&self, peer: Peer, headers: &HeaderMap) -> Forwarded {
        let way = self.way(peer, headers);
        let (scheme, host) = match (self, way.entry) {
            (Self::Forwarded(_), Some(entry)) => (
                parameter(headers, entry, "proto").and_then(scheme),
                parameter(headers, entry, "host").and_then(host),
            ),
            (Self::XForwarded(_), Some(entry)) => (
                value_at(headers, "x-forwarded-proto", entry).and_then(scheme),
                value_at(headers, "x-forwarded-host", entry).and_then(host),
            ),
            _ => (None, None),
        };
        Forwarded {
            client: way.client,
            scheme,
            host,
        }
    }

    fn way(&self, peer: Peer, headers: &HeaderMap) -> Way {
        match self {
            Self::None => Way::default(),
            Self::Peer => Way {
                client: peer.addr().map(|peer| peer.ip().to_canonical()),
                entry: None,
            },
            Self::Forwarded(proxies) => Way::back(peer, proxies, forwarded(headers)),
            Self::XForwardedFor(proxies) | Self::XForwarded(proxies) => {
                Way::back(peer, proxies, x_forwarded_for(headers))
            }
        }
    }
}

/// The way of a request, from the connection back to where it began.
#[derive(Debug, Default)]
struct Way {
    /// The first address that is no proxy; the last one if all are. `None` if it cannot be read.
    client: Option<IpAddr>,
    /// Which entry of the header, from the right, the proxy wrote that the client had spoken to: 0 is the last one, also
    /// if there is none. `None` if nothing is to be believed.
    entry: Option<usize>,
}

impl Way {
    /// A hop is `None` if it cannot be read: whatever is before it may be anybody.
    fn back(peer: Peer, proxies: &TrustedProxies, mut hops: impl Iterator<Item = Option<IpAddr>>) -> Self {
        // None for the proxy at the other end of a Unix socket, which has no address.
        let mut client = match peer {
            Peer::Addr(peer) => Some(peer.ip().to_canonical()),
            Peer::Unix if proxies.contain_unix() => None,
            Peer::Unix | Peer::Unknown => return Self::default(),
        };
        let mut passed = 0_usize;
        while client.is_none_or(|client| proxies.contains(client)) {
            let hop = hops.next();
            if hop.is_some() && passed == MOST_HOPS {
                return Self::default();
            }
            let entry = Some(passed.saturating_sub(usize::from(hop.is_none())));
            match hop {
                Some(Some(hop)) => client = Some(hop.to_canonical()),
                Some(None) => return Self { client: None, entry },
                None => return Self { client, entry },
            }
            passed += 1;
        }
        Self {
            client,
            entry: passed.checked_sub(1),
        }
    }
}

/// The schemes that a client of ours can have asked for.
fn scheme(text: &str) -> Option<Scheme> {
    [Scheme::HTTP, Scheme::HTTPS]
        .into_iter()
        .find(|scheme| text.eq_ignore_ascii_case(scheme.as_str()))
}

fn host(text: &str) -> Option<Authority> {
    let host: Authority = text.parse().ok()?;
    (!text.contains('@') && !host.host().is_empty()).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    fn peer(address: &str) -> Peer {
        match address {
            "unix" => Peer::Unix,
            "unknown" => Peer::Unknown,
            address => Peer::Addr(SocketAddr::new(address.parse().unwrap(), 50000)),
        }
    }

    fn find(header: &'static str, peer: &str, values: &[&str]) -> Option<String> {
        let proxies = TrustedProxies::new(["10.0.0.0/8", "fd00::/8"]).unwrap();
        let client = match header {
            "forwarded" => ClientAddress::Forwarded(proxies),
            _ => ClientAddress::XForwardedFor(proxies),
        };
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header, value.parse().unwrap());
        }
        client
            .find(self::peer(peer), &headers)
            .map(|address| address.to_string())
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_is_the_client() {
        for (peer, values, client) in [
            // What one that is no proxy says is nothing.
            ("192.0.2.1", &["198.51.100.7"] as &[_], Some("192.0.2.1")),
            ("::ffff:192.0.2.1", &["198.51.100.7"], Some("192.0.2.1")),
            ("192.0.2.1", &["garbage"], Some("192.0.2.1")),
            // A proxy that names nobody asks for itself.
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("10.0.0.1", &[""], Some("10.0.0.1")),
            ("10.0.0.1", &["198.51.100.7"], Some("198.51.100.7")),
            ("::ffff:10.0.0.1", &["198.51.100.7"], Some("198.51.100.7")),
            ("fd00::1", &["2001:db8::9, 10.0.0.2"], Some("2001:db8::9")),
            // What the client had put there before stands to the left.
            ("10.0.0.1", &["6.6.6.6, 198.51.100.7"], Some("198.51.100.7")),
            (
                "10.0.0.1",
                &["6.6.6.6, 198.51.100.7,10.0.0.3 , 10.0.0.2"],
                Some("198.51.100.7"),
            ),
            (
                "10.0.0.1",
                &["6.6.6.6", "198.51.100.7", "10.0.0.2"],
                Some("198.51.100.7"),
            ),
            ("10.0.0.1", &["rubbish, 198.51.100.7"], Some("198.51.100.7")),
            // All of it is in the house.
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], Some("10.0.0.3")),
            // A proxy does not know, or is not understood: then nobody does.
            ("10.0.0.1", &["198.51.100.7, unknown"], None),
            ("10.0.0.1", &["198.51.100.7, 10.0.0"], None),
        ] {
            assert_eq!(
                find("x-forwarded-for", peer, values).as_deref(),
                client,
                "{values:?}"
            );
        }
        for (values, client) in [
            (
                &["for=6.6.6.6, for=198.51.100.7;proto=https"] as &[_],
                Some("198.51.100.7"),
            ),
            (
                &["for=6.6.6.6", "For=\"[2001:db8::9]:4711\", for=10.0.0.2;by=_us"],
                Some("2001:db8::9"),
            ),
            // A quote that the client opens does not swallow what the proxy adds.
            (&["for=6.6.6.6, for=\"x, for=198.51.100.7"], Some("198.51.100.7")),
            (&["for=6.6.6.6;by=\", for=\"[2001:db8::9]\""], Some("2001:db8::9")),
            (&["for=198.51.100.7, for=unknown"], None),
            (&["for=198.51.100.7, proto=https"], None),
        ] {
            assert_eq!(
                find("forwarded", "10.0.0.1", values).as_deref(),
                client,
                "{values:?}"
            );
        }
    }

    #[test]
    fn only_the_header_that_was_chosen_counts() {
        let proxies = TrustedProxies::new(["10.0.0.1"]).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("forwarded", "for=6.6.6.6".parse().unwrap());
        headers.insert("x-forwarded-for", "198.51.100.7".parse().unwrap());
        let peer = peer("10.0.0.1");
        for (client, found) in [
            (ClientAddress::None, None),
            (ClientAddress::Peer, Some("10.0.0.1")),
            (ClientAddress::Forwarded(proxies.clone()), Some("6.6.6.6")),
            (ClientAddress::XForwardedFor(proxies), Some("198.51.100.7")),
        ] {
            let address = client.find(peer, &headers).map(|address| address.to_string());
            assert_eq!(address.as_deref(), found);
        }
    }

    fn origin(
        policy: fn(TrustedProxies) -> ClientAddress,
        peer: &str,
        headers: &[(&'static str, &str)],
    ) -> String {
        origin_by(&["10.0.0.0/8"], policy, peer, headers)
    }

    fn origin_by(
        proxies: &[&str],
        policy: fn(TrustedProxies) -> ClientAddress,
        peer: &str,
        headers: &[(&'static str, &str)],
    ) -> String {
        let proxies = TrustedProxies::new(proxies).unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let policy = policy(proxies);
        let Forwarded { client, scheme, host } = policy.forwarded(self::peer(peer), &map);
        let client = client.map_or("-".to_owned(), |client| client.to_string());
        let scheme = scheme.map_or("-".to_owned(), |scheme| scheme.to_string());
        format!(
            "{client} {scheme} {}",
            host.as_ref().map_or("-", Authority::as_str)
        )
    }

    #[test]
    fn scheme_and_host_are_what_the_proxy_says_that_the_client_spoke_to() {
        const FORWARDED: fn(TrustedProxies) -> ClientAddress = ClientAddress::Forwarded;
        for (peer, value, expected) in [
            (
                "10.0.0.1",
                "for=192.0.2.1;proto=https;host=shop.example",
                "192.0.2.1 https shop.example",
            ),
            (
                "10.0.0.1",
                "for=192.0.2.1;PROTO=HTTPS;Host=\"shop.example:8443\"",
                "192.0.2.1 https shop.example:8443",
            ),
            // What the client had put there stands to the left, what the next proxy says to the right.
            (
                "10.0.0.1",
                "for=6.6.6.6;proto=http;host=evil.example, for=192.0.2.1;proto=https;host=shop.example, for=10.0.0.2;proto=http;host=inner",
                "192.0.2.1 https shop.example",
            ),
            (
                "10.0.0.1",
                "for=10.0.0.3;proto=https;host=shop.example",
                "10.0.0.3 https shop.example",
            ),
            // Who it is for may be hidden; the rest of the entry is as good.
            ("10.0.0.1", "for=unknown;proto=https", "- https -"),
            (
                "10.0.0.1",
                "proto=https;host=shop.example",
                "- https shop.example",
            ),
            ("10.0.0.1", "for=192.0.2.1", "192.0.2.1 - -"),
            ("10.0.0.1", "", "10.0.0.1 - -"),
            // No entry says a thing twice, and nothing that cannot be.
            (
                "10.0.0.1",
                "for=192.0.2.1;proto=https;proto=http",
                "192.0.2.1 - -",
            ),
            (
                "10.0.0.1",
                "for=192.0.2.1;proto=gopher;host=\"a b\"",
                "192.0.2.1 - -",
            ),
            (
                "10.0.0.1",
                "for=192.0.2.1;host=\"user@shop.example\"",
                "192.0.2.1 - -",
            ),
            ("10.0.0.1", "for=192.0.2.1;host=\"\"", "192.0.2.1 - -"),
            ("10.0.0.1", "for=192.0.2.1;host=\":80\"", "192.0.2.1 - -"),
            // Strangers say nothing.
            (
                "192.0.2.9",
                "for=6.6.6.6;proto=https;host=evil.example",
                "192.0.2.9 - -",
            ),
        ] {
            assert_eq!(
                origin(FORWARDED, peer, &[("forwarded", value)]),
                expected,
                "{value}"
            );
        }
    }

    #[test]
    fn the_headers_with_an_x_go_together() {
        const X: fn(TrustedProxies) -> ClientAddress = ClientAddress::XForwarded;
        let (hop, proto, name) = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host");
        for (headers, expected) in [
            (
                &[(hop, "192.0.2.1"), (proto, "https"), (name, "shop.example")] as &[_],
                "192.0.2.1 https shop.example",
            ),
            // One value is for the whole way; of several, one is for each hop.
            (
                &[(hop, "6.6.6.6, 192.0.2.1, 10.0.0.2"), (proto, "https")],
                "192.0.2.1 https -",
            ),
            (
                &[
                    (hop, "6.6.6.6, 192.0.2.1, 10.0.0.2"),
                    (proto, "ftp, https, http"),
                    (name, "a, b, c"),
                ],
                "192.0.2.1 https b",
            ),
            (&[(hop, "192.0.2.1"), (proto, "http, https")], "192.0.2.1 https -"),
            (
                &[(hop, "192.0.2.1, 10.0.0.2, 10.0.0.3"), (proto, "https, http")],
                "192.0.2.1 - -",
            ),
            (
                &[(proto, "https"), (name, "shop.example")],
                "10.0.0.1 https shop.example",
            ),
            (&[(hop, "rubbish"), (proto, "https")], "- https -"),
        ] {
            assert_eq!(origin(X, "10.0.0.1", headers), expected, "{headers:?}");
            let stranger = origin(X, "192.0.2.9", headers);
            assert_eq!(stranger, "192.0.2.9 - -", "{headers:?}");
        }
        // Who only writes the first passes the others on as they came.
        let headers = [(hop, "192.0.2.1"), (proto, "https"), (name, "evil.example")];
        assert_eq!(
            origin(ClientAddress::XForwardedFor, "10.0.0.1", &headers),
            "192.0.2.1 - -"
        );
        assert_eq!(
            origin(|_| ClientAddress::Peer, "10.0.0.1", &headers),
            "10.0.0.1 - -"
        );
        assert_eq!(origin(|_| ClientAddress::None, "10.0.0.1", &headers), "- - -");
        let way = ["10.0.0.2"; MOST_HOPS + 1].join(",");
        let headers = [(hop, way.as_str()), (proto, "https")];
        assert_eq!(origin(X, "10.0.0.1", &headers), "- - -");
    }

    #[test]
    fn a_proxy_without_an_address_is_believed_if_it_is_named() {
        const X: fn(TrustedProxies) -> ClientAddress = ClientAddress::XForwarded;
        let named: &[&str] = &["unix:", "10.0.0.0/8"];
        let x = |hops| [("x-forwarded-for", hops), ("x-forwarded-proto", "https")];
        for (proxies, peer, headers, expected) in [
            (
                named,
                "unix",
                x("6.6.6.6, 192.0.2.1, 10.0.0.2"),
                "192.0.2.1 https -",
            ),
            (named, "unix", x("192.0.2.1"), "192.0.2.1 https -"),
            (named, "unix", x("unix:"), "- https -"),
            (named, "unix", x(""), "- https -"),
            // Neither a socket that nobody is known of, nor an address becomes one by it.
            (named, "unknown", x("192.0.2.1"), "- - -"),
            (named, "192.0.2.9", x("192.0.2.1"), "192.0.2.9 - -"),
            (named, "10.0.0.1", x("192.0.2.1"), "192.0.2.1 https -"),
            (&named[1..], "unix", x("192.0.2.1"), "- - -"),
            (&["0.0.0.0/0", "::/0"], "unix", x("192.0.2.1"), "- - -"),
            (&named[..1], "10.0.0.1", x("192.0.2.1"), "10.0.0.1 - -"),
        ] {
            let found = origin_by(proxies, X, peer, &headers);
            assert_eq!(found, expected, "{proxies:?} {peer} {headers:?}");
        }
        let entry = [("forwarded", "for=192.0.2.1;proto=https;host=shop.example")];
        let found = origin_by(named, ClientAddress::Forwarded, "unix", &entry);
        assert_eq!(found, "192.0.2.1 https shop.example");
        let found = origin_by(named, |_| ClientAddress::Peer, "unix", &entry);
        assert_eq!(found, "- - -");
    }

    #[test]
    fn a_long_way_is_not_followed() {
        let way = |hops: usize| vec!["10.0.0.2"; hops].join(",");
        assert_eq!(
            find("x-forwarded-for", "10.0.0.1", &[&way(MOST_HOPS)]).as_deref(),
            Some("10.0.0.2")
        );
        assert_eq!(find("x-forwarded-for", "10.0.0.1", &[&way(MOST_HOPS + 1)]), None);
        // It is only about what is looked at.
        let long = format!("{},198.51.100.7", way(2000));
        assert_eq!(
            find("x-forwarded-for", "10.0.0.1", &[&long]).as_deref(),
            Some("198.51.100.7")
        );
    }
}
