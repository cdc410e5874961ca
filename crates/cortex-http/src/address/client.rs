use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use super::TrustedProxies;
use super::forwarded::{forwarded, x_forwarded_for};

/// Says what spans record as `client.address`: who a request comes from, which is personal data in many places.
///
/// Behind a proxy the other end of the connection is the proxy, and who is behind it stands in a header that anybody
/// can send. So it is believed only from proxies that are named. Of what they wrote, the right-most address that is not
/// one of them counts: what is to the left of that comes from the client. It is the other end of the connection if that
/// is no proxy, or one that names nobody. If a proxy says that it does not know, or what cannot be read, nothing is
/// recorded.
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
    /// Whoever these proxies name in `Forwarded`, RFC 7239.
    Forwarded(TrustedProxies),
    /// Whoever these proxies name in `X-Forwarded-For`.
    XForwardedFor(TrustedProxies),
}

/// How many proxies of ours a request may pass; what claims more is not believed.
const MOST_HOPS: usize = 32;

impl ClientAddress {
    /// Returns the client of a request that came over a connection from `peer`, as far as it is to be recorded.
    pub(crate) fn find(&self, peer: SocketAddr, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = peer.ip().to_canonical();
        match self {
            Self::None => None,
            Self::Peer => Some(peer),
            Self::Forwarded(proxies) => right_most(peer, proxies, forwarded(headers)),
            Self::XForwardedFor(proxies) => right_most(peer, proxies, x_forwarded_for(headers)),
        }
    }
}

/// Returns the first address that is no proxy, on the way from the connection back to where the request began; the last
/// one if all are. A hop is `None` if it cannot be read: whatever is before it may be anybody.
fn right_most(
    peer: IpAddr,
    proxies: &TrustedProxies,
    mut hops: impl Iterator<Item = Option<IpAddr>>,
) -> Option<IpAddr> {
    let (mut client, mut passed) = (peer, 0);
    while proxies.contains(client) {
        match hops.next() {
            None => break,
            Some(hop) => client = hop?.to_canonical(),
        }
        passed += 1;
        if passed > MOST_HOPS {
            return None;
        }
    }
    Some(client)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let peer = SocketAddr::new(peer.parse().unwrap(), 50000);
        client.find(peer, &headers).map(|address| address.to_string())
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
        let peer = "10.0.0.1:50000".parse().unwrap();
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
