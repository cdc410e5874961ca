//! The addresses in the headers of proxies, from the right to the left: as the last one wrote, then those before it.
//!
//! From the right, since only what proxies wrote there can be trusted to be well-formed; a quote that a client leaves
//! open would swallow that for who reads from the left.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;

/// Returns the hops of `Forwarded` (RFC 7239, section 4); `None` for one whose address is hidden or cannot be read.
pub(super) fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    elements(headers, "forwarded", true).map(|element| value_of(element, "for").and_then(node))
}

/// Returns a parameter of an entry of `Forwarded`, of which 0 is the last one.
pub(super) fn parameter<'a>(headers: &'a HeaderMap, entry: usize, name: &str) -> Option<&'a str> {
    let element = elements(headers, "forwarded", true).nth(entry)?;
    value_of(element, name)
}

/// Returns the value of a parameter, if there is just one: of two, one may be a lie.
fn value_of<'a>(element: &'a [u8], name: &str) -> Option<&'a str> {
    let mut values = Parts::from_right(element, b';').filter_map(|pair| {
        let at = pair.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (pair[..at].trim_ascii(), pair[at + 1..].trim_ascii());
        key.eq_ignore_ascii_case(name.as_bytes()).then(|| unquoted(value))
    });
    match (values.next(), values.next()) {
        (Some(value), None) => value,
        _ => None,
    }
}

/// Returns an element of a list, of which 0 is the last one; of a list with one element that one, wherever it is asked
/// for.
pub(super) fn value_at<'a>(headers: &'a HeaderMap, name: &'static str, entry: usize) -> Option<&'a str> {
    let mut elements = elements(headers, name, false);
    let last = elements.next()?;
    let value = match elements.next() {
        None => last,
        Some(_) if entry == 0 => last,
        Some(second) if entry == 1 => second,
        Some(_) => elements.nth(entry - 2)?,
    };
    str::from_utf8(value).ok()
}

/// Returns the hops of `X-Forwarded-For`; `None` for one that is no address.
pub(super) fn x_forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    elements(headers, "x-forwarded-for", false).map(|element| node(str::from_utf8(element).ok()?))
}

/// Returns the elements of a list in one header or several, last one first, without those that are empty.
fn elements<'a>(headers: &'a HeaderMap, name: &'static str, quoted: bool) -> impl Iterator<Item = &'a [u8]> {
    let values = headers.get_all(name).into_iter().rev();
    values
        .flat_map(move |value| Parts {
            rest: Some(value.as_bytes()),
            separator: b',',
            heeds_quotes: quoted,
        })
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// The parts of a text between separators, last one first.
struct Parts<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
    heeds_quotes: bool,
}

impl<'a> Parts<'a> {
    const fn from_right(text: &'a [u8], separator: u8) -> Self {
        Self {
            rest: Some(text),
            separator,
            heeds_quotes: true,
        }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest.take()?;
        let mut is_quoted = false;
        let at = rest.iter().rposition(|&byte| {
            // A quote may be escaped; but no address has one, so an element that does is not read, see `unquoted`.
            is_quoted ^= byte == b'"' && self.heeds_quotes;
            byte == self.separator && !is_quoted
        });
        let Some(at) = at else { return Some(rest) };
        self.rest = Some(&rest[..at]);
        Some(&rest[at + 1..])
    }
}

fn unquoted(value: &[u8]) -> Option<&str> {
    let value = match value {
        [b'"', inside @ .., b'"'] => inside,
        token => token,
    };
    str::from_utf8(value).ok() // what has further quotes is no address
}

/// Reads the address of a node: `192.0.2.7`, `[2001:db8::7]`, either with a port, or bare as `X-Forwarded-For` has it.
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (address, port): (IpAddr, _) = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        (address.parse::<Ipv6Addr>().ok()?.into(), port)
    } else {
        let (address, port) = text.split_at(text.find(':')?);
        (address.parse::<Ipv4Addr>().ok()?.into(), port)
    };
    // A port may be hidden, too: `_name`.
    let is_port = |port: &str| {
        !port.is_empty()
            && port
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, values: &[&[u8]]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, http::HeaderValue::from_bytes(value).unwrap());
        }
        let show = |hop: Option<IpAddr>| hop.map_or_else(|| "?".to_owned(), |address| address.to_string());
        match name {
            "forwarded" => forwarded(&headers).map(show).collect(),
            _ => x_forwarded_for(&headers).map(show).collect(),
        }
    }

    #[test]
    fn nodes() {
        for (text, address) in [
            ("192.0.2.7", Some("192.0.2.7")),
            ("192.0.2.7:47011", Some("192.0.2.7")),
            ("192.0.2.7:_gazonk", Some("192.0.2.7")),
            ("[2001:db8::7]", Some("2001:db8::7")),
            ("[2001:db8::7]:47011", Some("2001:db8::7")),
            ("2001:db8::7", Some("2001:db8::7")),
            ("192.0.2.7:", None),
            ("192.0.2.7:a b", None),
            ("192.0.2.256", None),
            ("192.0.2.7 198.51.100.7", None),
            ("[192.0.2.7]", None),
            ("[2001:db8::7", None),
            ("[2001:db8::7]80", None),
            ("unknown", None),
            ("_hidden", None),
            ("host.example", None),
            ("\"192.0.2.7\"", None),
            ("", None),
        ] {
            assert_eq!(
                node(text).map(|address| address.to_string()).as_deref(),
                address,
                "{text}"
            );
        }
    }

    #[test]
    fn what_the_last_proxy_wrote_comes_first() {
        let cases: [(&[&[u8]], &str); 6] = [
            (
                &[b"192.0.2.1, 192.0.2.2", b"192.0.2.3"],
                "192.0.2.3 192.0.2.2 192.0.2.1",
            ),
            (&[b" , 192.0.2.1 ,,"], "192.0.2.1"),
            (&[b"\xff\xfe, 192.0.2.1"], "192.0.2.1 ?"),
            (&[b"\"192.0.2.1, 192.0.2.2"], "192.0.2.2 ?"),
            (&[b""], ""),
            (&[], ""),
        ];
        for (values, hops) in cases {
            assert_eq!(read("x-forwarded-for", values).join(" "), hops);
        }
    }

    #[test]
    fn elements_of_forwarded() {
        for (value, hops) in [
            ("for=192.0.2.1", "192.0.2.1"),
            ("for=\"192.0.2.1\"", "192.0.2.1"),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("by=203.0.113.43 ; FOR = 192.0.2.60", "192.0.2.60"),
            (
                "for=192.0.2.43, for=\"[2001:db8:cafe::17]:4711\"",
                "2001:db8:cafe::17 192.0.2.43",
            ),
            ("for=192.0.2.43,for=_SEVKISEK", "? 192.0.2.43"),
            ("host=\"a,b;for=192.0.2.9\";for=192.0.2.43", "192.0.2.43"),
            ("proto=https", "?"),
            ("for", "?"),
            ("for=", "?"),
            ("for=192.0.2.1;for=192.0.2.2", "?"),
            ("for=\"192.0.2.1", "?"),
            ("for=\"192.0.\\2.1\"", "?"),
            ("for=\"\"192.0.2.1\"\"", "?"),
        ] {
            assert_eq!(read("forwarded", &[value.as_bytes()]).join(" "), hops, "{value}");
        }
    }
}
