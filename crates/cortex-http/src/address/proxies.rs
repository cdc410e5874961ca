use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::Arc;

use crate::{Error, ErrorKind};

/// The proxies whose word about the client counts, by address or network; `unix:` is whoever connects to our Unix sockets.
///
/// # Examples
///
/// ```
/// use cortex_http::TrustedProxies;
///
/// assert!(TrustedProxies::new(["127.0.0.1", "::1", "10.0.0.0/8"]).is_ok());
/// assert!(TrustedProxies::new(["unix:"]).is_ok());
/// let error = TrustedProxies::new(["10.0.0.1/8"]).unwrap_err();
/// assert!(error.to_string().contains("10.0.0.0/8"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Arc<[Network]>,
    unix: bool,
}

/// What names the clients of Unix sockets, in the configuration of nginx too.
const UNIX: &str = "unix:";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

impl TrustedProxies {
    /// Takes addresses, networks as `10.0.0.0/8`, and `unix:`: the proxy that connects to a
    /// [Unix socket](crate::Listener::unix) of this server.
    ///
    /// A connection on such a socket has no address. Without `unix:` nobody is known there: neither is what a proxy says
    /// believed, nor can the proxy itself be named, and all requests are of one client for a
    /// [`RateLimit`](crate::RateLimit). With it, everybody whom the permissions of the socket let connect is believed. It
    /// is not for a listener with the [PROXY protocol](crate::Listener::proxy_protocol), where the header says whose
    /// connection it is.
    ///
    /// # Errors
    ///
    /// One is neither, or has an address in the midst of the network: it would trust more than it seems to.
    pub fn new<I>(proxies: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut unix = false;
        let mut networks = Vec::new();
        for proxy in proxies {
            match proxy.as_ref() {
                UNIX => unix = true,
                network => networks.push(network.parse()?),
            }
        }
        Ok(Self {
            networks: networks.into(),
            unix,
        })
    }

    /// Says whether whoever connects to a Unix socket is one of them.
    pub(crate) const fn contain_unix(&self) -> bool {
        self.unix
    }

    /// Says whether one of them has this address, which is that of IPv4 if it can be.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && first(address, self.prefix) == first(self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = |why: &str| {
            let message = format!("trust the proxy {text:?}: {why}");
            Error::new(ErrorKind::Proxy, message, None)
        };
        let expected = "expected an address or a network, as 192.0.2.7 or 10.0.0.0/8, or unix:";
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| refused(expected))?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) if !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                let prefix = prefix.parse().ok().filter(|prefix| *prefix <= bits);
                prefix.ok_or_else(|| refused(&format!("the prefix has {bits} bits at most")))?
            }
            Some(_) => return Err(refused(expected)),
        };
        let start = first(address, prefix);
        if start != address {
            return Err(refused(&format!("the network begins at {start}/{prefix}")));
        }
        // As addresses that are asked for are: a socket of IPv6 knows those of IPv4 by such a name.
        match address.to_canonical() {
            IpAddr::V4(mapped) if address.is_ipv6() && prefix >= 96 => Ok(Self {
                address: IpAddr::V4(mapped),
                prefix: prefix - 96,
            }),
            _ => Ok(Self { address, prefix }),
        }
    }
}

/// Returns the first address of the network of this size that an address is in.
fn first(address: IpAddr, prefix: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() & mask))
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            IpAddr::V6((address.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_is_in_them() {
        for (network, inside, outside) in [
            (
                "10.0.0.0/8",
                &["10.0.0.0", "10.255.255.255"] as &[&str],
                &["9.255.255.255", "11.0.0.0", "::a00:1"] as &[&str],
            ),
            ("192.0.2.7", &["192.0.2.7"], &["192.0.2.6", "192.0.2.8"]),
            (
                "192.0.2.6/31",
                &["192.0.2.6", "192.0.2.7"],
                &["192.0.2.5", "192.0.2.8"],
            ),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::"]),
            ("::/0", &["::", "ffff::1"], &["1.2.3.4"]),
            ("2001:db8::/32", &["2001:db8:ffff::1"], &["2001:db9::"]),
            ("::1", &["::1"], &["::2", "::"]),
            ("::ffff:10.0.0.0/104", &["10.1.2.3"], &["11.0.0.0"]),
            ("::ffff:10.0.0.1", &["10.0.0.1"], &["10.0.0.2"]),
        ] {
            let proxies = TrustedProxies::new([network]).unwrap();
            for address in inside {
                assert!(proxies.contains(address.parse().unwrap()), "{network} {address}");
            }
            for address in outside {
                assert!(!proxies.contains(address.parse().unwrap()), "{network} {address}");
            }
        }
        assert!(
            !TrustedProxies::new([""; 0])
                .unwrap()
                .contains("10.0.0.1".parse().unwrap())
        );
    }

    #[test]
    fn what_is_no_network_is_refused_with_what_is_allowed() {
        for (text, why) in [
            ("", "expected an address or a network"),
            ("proxy.example", "expected an address or a network"),
            ("unix:/run/shop.sock", "or unix:"),
            ("10.0.0.0/", "expected an address or a network"),
            ("10.0.0.0/+8", "expected an address or a network"),
            ("10.0.0.0/255.0.0.0", "expected an address or a network"),
            ("10.0.0.1:80", "expected an address or a network"),
            ("10.0.0.0/33", "32 bits at most"),
            ("10.0.0.0/99999999999", "32 bits at most"),
            ("::/129", "128 bits at most"),
            ("10.1.2.3/8", "begins at 10.0.0.0/8"),
            ("2001:db8::1/32", "begins at 2001:db8::/32"),
        ] {
            let error = TrustedProxies::new(["::1", text]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Proxy);
            assert!(
                error.to_string().contains(why) && error.to_string().contains(text),
                "{error}"
            );
        }
    }
}
