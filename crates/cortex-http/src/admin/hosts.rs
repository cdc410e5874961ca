use std::net::IpAddr;

use http::uri::Authority;

/// The names that the admin port answers to.
///
/// A page that a browser shows can let its own name point to this machine and ask then as if it were of the same origin
/// (DNS rebinding); but the name is in `Host`. An IP address is no name that anybody could point elsewhere, so all of
/// them are right.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    /// Adds a name; a port after it, and a dot at its end, mean nothing.
    pub(super) fn allow(&mut self, name: &str) {
        if let Some(Host::Name(name)) = host(name) {
            self.0.push(name);
        }
    }

    /// Says whether a `Host` header, or the authority of a target, is right.
    pub(super) fn allows(&self, authority: &str) -> bool {
        match host(authority) {
            Some(Host::Address) => true,
            Some(Host::Name(name)) => name == "localhost" || self.0.contains(&name),
            None => false,
        }
    }
}

enum Host {
    Address,
    /// In lower case.
    Name(String),
}

fn host(authority: &str) -> Option<Host> {
    let authority: Authority = authority.parse().ok()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let host = authority.host();
    let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if literal.unwrap_or(host).parse::<IpAddr>().is_ok() {
        return Some(Host::Address);
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    (literal.is_none() && !name.is_empty()).then_some(Host::Name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_what_was_named_are_right_and_nothing_else() {
        let mut hosts = Hosts::default();
        for name in ["Shop.Internal:9090", "metrics.example.", "10.0.0.1", "", "a b"] {
            hosts.allow(name);
        }
        for right in [
            "127.0.0.1",
            "127.0.0.1:9090",
            "10.1.2.3:80",
            "[::1]:9090",
            "[fd00::1]",
            "localhost",
            "LocalHost:9090",
            "shop.internal",
            "SHOP.internal.:1",
            "metrics.example:9090",
        ] {
            assert!(hosts.allows(right), "{right}");
        }
        for wrong in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:9090",
            "shop.internal@evil.example",
            "user@localhost",
            "127.0.0.1@evil.example",
            "xshop.internal",
            "internal",
            "[evil.example]",
            "[localhost]",
            "127.1",
            "0x7f000001",
            "localhost..",
            "localhost/x",
            "local host",
        ] {
            assert!(!hosts.allows(wrong), "{wrong}");
        }
    }
}
