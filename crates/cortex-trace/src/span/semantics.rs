//! The HTTP semantic conventions: what of a request is recorded, under which name, and what never is.

use std::borrow::Cow;
use std::fmt::Write;
use std::net::SocketAddr;

use http::uri::Scheme;
use http::{HeaderMap, Method, Uri, Version, header};

use super::methods::Methods;
use super::recording::Recording;
use crate::redact::Redact;

const REDACTED: &str = "REDACTED";

pub(super) fn record_method(recording: &mut Recording, methods: &Methods, method: &Method) {
    recording.set_attribute("http.request.method", methods.recorded(method, "_OTHER"));
    if !methods.know(method) {
        recording.set_attribute("http.request.method_original", method.as_str());
    }
}

/// Records what a server knows of a request from its head.
pub(super) fn record_request(recording: &mut Recording, headers: &HeaderMap, target: &str) {
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(path, query)| (path, Some(query)));
    recording.set_attribute("url.path", path);
    if let Some(query) = query {
        let query = redact_query(query, recording.tracer().secrets_of_queries()).into_owned();
        recording.set_attribute("url.query", query);
    }
    if let Some((address, port)) = text(headers, &header::HOST).as_deref().and_then(host_and_port) {
        recording.set_attribute("server.address", address);
        if let Some(port) = port {
            recording.set_attribute("server.port", port);
        }
    }
    if let Some(agent) = text(headers, &header::USER_AGENT) {
        recording.set_attribute("user_agent.original", agent.into_owned());
    }
}

/// Records where a client sends a request.
pub(super) fn record_target(recording: &mut Recording, uri: &Uri) {
    record_host(recording, uri);
    let url = full_url(uri, recording.tracer().secrets_of_queries());
    recording.set_attribute("url.full", url);
}

/// Records the server that an address names, if it names one.
pub(super) fn record_host(recording: &mut Recording, uri: &Uri) {
    let Some(host) = uri.host() else { return };
    recording.set_attribute("server.address", without_brackets(host));
    let default = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => Some(443),
        Some(scheme) if *scheme == Scheme::HTTP => Some(80),
        _ => None,
    };
    if let Some(port) = uri.port_u16().or(default) {
        recording.set_attribute("server.port", port);
    }
}

/// Records what a request says beyond its headers.
pub(super) fn record_request_line(recording: &mut Recording, uri: &Uri, version: Version) {
    record_host(recording, uri);
    match uri.scheme_str() {
        Some("http") => recording.set_attribute("url.scheme", Cow::Borrowed("http")),
        Some("https") => recording.set_attribute("url.scheme", Cow::Borrowed("https")),
        Some(other) => recording.set_attribute("url.scheme", other),
        None => {}
    }
    record_version(recording, version);
}

/// Records the other end of a connection.
#[cold] // only what is recorded gets here
pub(super) fn record_peer(recording: &mut Recording, peer: SocketAddr) {
    let address = peer.ip().to_canonical();
    recording.set_attribute("network.peer.address", address.to_string());
    recording.set_attribute("network.peer.port", peer.port());
}

pub(super) fn record_version(recording: &mut Recording, version: Version) {
    if let Some(version) = protocol(version) {
        recording.set_attribute("network.protocol.version", Cow::Borrowed(version));
    }
}

/// Returns the value of `network.protocol.version`.
fn protocol(version: Version) -> Option<&'static str> {
    Some(match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => return None,
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<Cow<'a, str>> {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
}

/// Splits a `Host` value; `None` if it is empty.
fn host_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let bracket = authority.rfind(']').unwrap_or(0);
    let (host, port) = match authority.rfind(':') {
        Some(colon) if colon >= bracket => (&authority[..colon], authority[colon + 1..].parse().ok()),
        _ => (authority, None),
    };
    let host = without_brackets(host);
    (!host.is_empty()).then_some((host, port))
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// Hides the values of query parameters that are credentials.
fn redact_query<'a>(query: &'a str, secrets: &Redact) -> Cow<'a, str> {
    let is_secret = |pair: &str| {
        let key = decoded(pair.split_once('=').map_or(pair, |(key, _)| key));
        // `user[password]`, `token[0]`, `filter[token][eq]`
        key.split(['[', ']']).any(|part| secrets.covers(part))
    };
    if !query.split('&').any(is_secret) {
        return Cow::Borrowed(query);
    }
    let mut redacted = String::with_capacity(query.len());
    for (at, pair) in query.split('&').enumerate() {
        if at > 0 {
            redacted.push('&');
        }
        match pair.split_once('=') {
            Some((key, _)) if is_secret(pair) => {
                redacted.push_str(key);
                redacted.push('=');
                redacted.push_str(REDACTED);
            }
            _ => redacted.push_str(pair),
        }
    }
    Cow::Owned(redacted)
}

/// Undoes percent encoding, as whoever reads the query does; what is malformed stays as it is.
fn decoded(key: &str) -> Cow<'_, str> {
    if !key.contains('%') {
        return Cow::Borrowed(key);
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(key.len()), key.as_bytes());
    while let [byte, after @ ..] = rest {
        let digit = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        let encoded = digit(0).zip(digit(1)).filter(|_| *byte == b'%');
        if let Some(decoded) = encoded.and_then(|(high, low)| u8::try_from(high << 4 | low).ok()) {
            bytes.push(decoded);
            rest = &after[2..];
        } else {
            bytes.push(*byte);
            rest = after;
        }
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes an address without user name, password and what is secret in the query.
fn full_url(uri: &Uri, secrets: &Redact) -> String {
    let mut url = String::new();
    if let Some(scheme) = uri.scheme_str() {
        url.push_str(scheme);
        url.push_str("://");
    }
    if let Some(authority) = uri.authority() {
        let (user, host) = authority
            .as_str()
            .rsplit_once('@')
            .unwrap_or(("", authority.as_str()));
        if !user.is_empty() {
            write!(url, "{REDACTED}:{REDACTED}@").expect("invariant: writing to a String does not fail");
        }
        url.push_str(host);
    }
    url.push_str(uri.path());
    if let Some(query) = uri.query() {
        url.push('?');
        url.push_str(&redact_query(query, secrets));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (authority, split) in [
            ("shop.example", Some(("shop.example", None))),
            ("shop.example:8080", Some(("shop.example", Some(8080)))),
            ("127.0.0.1:80", Some(("127.0.0.1", Some(80)))),
            ("[::1]:8080", Some(("::1", Some(8080)))),
            ("[::1]", Some(("::1", None))),
            ("shop:", Some(("shop", None))),
            ("shop:99999", Some(("shop", None))),
            ("", None),
            (":80", None),
            ("[]", None),
        ] {
            assert_eq!(host_and_port(authority), split, "{authority}");
        }
    }

    #[test]
    fn credentials_are_redacted() {
        let mut secrets = Redact::of_queries();
        secrets.add(["card", "Ä"]);
        for (query, shown) in [
            ("a=1&b=2", "a=1&b=2"),
            ("sig=abc&x=1", "sig=REDACTED&x=1"),
            ("x=1&X-Amz-Signature=a=b&&y", "x=1&X-Amz-Signature=REDACTED&&y"),
            ("x-goog-signature=1", "x-goog-signature=REDACTED"),
            ("sig", "sig"),
            ("signature2=1", "signature2=1"),
            ("", ""),
            (
                "token=1&access_token=2&api_key=3&password=4&Api-Key=5&apikey=6",
                "token=REDACTED&access_token=REDACTED&api_key=REDACTED&password=REDACTED&Api-Key=REDACTED&apikey=REDACTED",
            ),
            (
                "%74oken=1&to%6bEn=2&x=%26token%3d",
                "%74oken=REDACTED&to%6bEn=REDACTED&x=%26token%3d",
            ),
            (
                "user[password]=1&user%5Bpassword%5D=2",
                "user[password]=REDACTED&user%5Bpassword%5D=REDACTED",
            ),
            (
                "token[]=1&user.pwd=2&[]=3&token[0]=4&filter[token][eq]=5&a[0]=6",
                "token[]=REDACTED&user.pwd=REDACTED&[]=3&token[0]=REDACTED&filter[token][eq]=REDACTED&a[0]=6",
            ),
            (
                "card=1&%63ARD=2&%c3%a4=3&%C3%84=4",
                "card=REDACTED&%63ARD=REDACTED&%c3%a4=REDACTED&%C3%84=REDACTED",
            ),
            (
                "%=1&%7=2&%zz=3&%ff=4&tokens=5&next=token",
                "%=1&%7=2&%zz=3&%ff=4&tokens=5&next=token",
            ),
        ] {
            assert_eq!(redact_query(query, &secrets), shown);
        }
        for (uri, shown) in [
            ("http://a.example/x?sig=1", "http://a.example/x?sig=REDACTED"),
            (
                "https://u:p@a.example:444/",
                "https://REDACTED:REDACTED@a.example:444/",
            ),
            ("/relative?a=1", "/relative?a=1"),
            ("http://[::1]:8080", "http://[::1]:8080/"),
        ] {
            assert_eq!(full_url(&uri.parse().unwrap(), &secrets), shown);
        }
    }

    #[test]
    fn versions() {
        let all = [
            (Version::HTTP_09, "0.9"),
            (Version::HTTP_10, "1.0"),
            (Version::HTTP_11, "1.1"),
            (Version::HTTP_2, "2"),
            (Version::HTTP_3, "3"),
        ];
        for (version, name) in all {
            assert_eq!(protocol(version), Some(name));
        }
    }
}
