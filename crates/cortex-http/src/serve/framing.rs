//! Requests that two parsers could see differently: where they end, and whom they are for.

use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, Method, Uri, Version};
use hyper::ext::Protocol;

use crate::guard::Refused;
use crate::outcome::Outcome;

/// Returns how a request is refused that HTTP does not allow, though hyper takes it. One walk over the headers.
///
/// On HTTP/1 that is a body in another transfer coding than `chunked` once, which hyper takes for chunked if that comes last:
/// what is `gzip, chunked` would reach the handler still packed, and a proxy that reads `chunked, chunked` as it is
/// written sees another end. And it is a host that is missing, there twice or none (RFC 9112, section 3.2). On HTTP/2 it is
/// a host that is another one than the authority (RFC 9113, section 8.3.1), and CONNECT, unless it names a protocol for its
/// stream (RFC 8441).
#[inline]
pub(crate) fn refusal(request: &Parts) -> Option<Refused> {
    let (http2, headers) = (request.version == Version::HTTP_2, &request.headers);
    if http2 && request.method == Method::CONNECT && request.extensions.get::<Protocol>().is_none() {
        return Some(Refused::of(Outcome::NotImplemented));
    }
    let authority = if http2 { request.uri.authority() } else { None };
    let mut hosts = 0;
    let mut codings = 0;
    let mut wrong = false;
    for (name, value) in headers {
        if name == HOST {
            hosts += 1;
            wrong |= !is_host(value.as_bytes());
        } else if name == TRANSFER_ENCODING {
            codings += 1;
            wrong |= !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
        }
    }
    // hyper drops the codings of a request without a body; they are wrong all the same.
    let detail = if codings > 1 || wrong && codings > 0 {
        "The body of a request may be chunked, and coded in no other way."
    } else if wrong || hosts > 1 || hosts == 0 && request.version == Version::HTTP_11 {
        "A request needs one Host header: a name or an address, and perhaps a port."
    } else if let Some(authority) = authority
        && (authority.as_str().contains('@') || hosts > 0 && !is_for(headers, &request.uri))
    {
        "The Host header of a request must be its :authority, which names no user."
    } else {
        return None;
    };
    Some(Refused::of(Outcome::BadRequest).detail(detail))
}

/// Says whether this is a name or an address, and perhaps a port (RFC 9110, section 7.2). Nothing is one, too: requests
/// whose target has no authority name that.
fn is_host(value: &[u8]) -> bool {
    let (is_name, port) = if let Some(literal) = value.strip_prefix(b"[") {
        let Some(end) = literal.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let (address, port) = (&literal[..end], &literal[end + 1..]);
        let is_address = |byte: &u8| byte.is_ascii_alphanumeric() || b".:-_~!$&'()*+,;=".contains(byte);
        (!address.is_empty() && address.iter().all(is_address), port)
    } else {
        let of_a_name = |byte: &u8| OF_A_NAME[usize::from(*byte)];
        let end = value
            .iter()
            .position(|byte| !of_a_name(byte))
            .unwrap_or(value.len());
        (true, &value[end..])
    };
    is_name
        && match port.split_first() {
            None => true,
            Some((colon, digits)) => *colon == b':' && digits.iter().all(u8::is_ascii_digit),
        }
}

/// Which bytes can stand in a registered name: a look costs less than to compare.
static OF_A_NAME: [bool; 256] = {
    let mut of_a_name = [false; 256];
    let mut byte = 0_u8;
    while byte < u8::MAX {
        of_a_name[byte as usize] = is_of_a_name(byte);
        byte += 1;
    }
    of_a_name
};

/// Says whether a byte can stand in a registered name (RFC 3986, section 3.2.2).
const fn is_of_a_name(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'%'
        | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

/// Says whether the host is the authority of the target; one may name the port that the other takes for granted.
fn is_for(headers: &HeaderMap, target: &Uri) -> bool {
    let (Some(host), Some(authority)) = (headers.get(HOST), target.authority()) else {
        return true;
    };
    let (host, authority) = (host.as_bytes(), authority.as_str().as_bytes());
    if host.eq_ignore_ascii_case(authority) {
        return true;
    }
    let usual: &[u8] = if target.scheme_str() == Some("https") {
        b":443"
    } else {
        b":80"
    };
    let bare = |name: &'_ [u8]| name.strip_suffix(usual).map_or(name.len(), <[u8]>::len);
    host[..bare(host)].eq_ignore_ascii_case(&authority[..bare(authority)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn refused(version: Version, uri: &str, headers: &[(&str, &str)]) -> Option<u16> {
        let mut request = Request::builder().version(version).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        refusal(&request.into_parts().0).map(|refused| refused.status().as_u16())
    }

    #[test]
    fn only_chunks_alone_are_plain() {
        for (codings, wrong) in [
            (&[][..], None),
            (&["chunked"], None),
            (&[" Chunked "], None),
            (&["chunked, chunked"], Some(400)),
            (&["chunked", "chunked"], Some(400)),
            (&["gzip, chunked"], Some(400)),
            (&["identity"], Some(400)),
            (&[""], Some(400)),
        ] {
            let mut headers = vec![("host", "a")];
            headers.extend(codings.iter().map(|coding| ("transfer-encoding", *coding)));
            assert_eq!(refused(Version::HTTP_11, "/", &headers), wrong, "{codings:?}");
        }
    }

    #[test]
    fn a_request_names_one_host() {
        for (host, wrong) in [
            ("a", None),
            ("shop.example:8080", None),
            ("shop.example:", None),
            ("127.0.0.1:80", None),
            ("[::1]", None),
            ("[2001:db8::7]:443", None),
            ("b%C3%BCcher.example", None),
            ("my_service", None),
            ("", None),
            ("a b", Some(400)),
            ("user@a", Some(400)),
            ("a/b", Some(400)),
            ("a:b", Some(400)),
            ("a:1:2", Some(400)),
            ("http://a", Some(400)),
            ("[::1", Some(400)),
            ("[]", Some(400)),
            ("[::1]x", Some(400)),
            ("a\u{e9}", Some(400)),
            ("a?b", Some(400)),
        ] {
            assert_eq!(
                refused(Version::HTTP_11, "/", &[("host", host)]),
                wrong,
                "{host:?}"
            );
        }
        let twice = [("host", "a"), ("accept", "*/*"), ("host", "a")];
        assert_eq!(refused(Version::HTTP_11, "/", &twice), Some(400));
        assert_eq!(refused(Version::HTTP_10, "/", &twice), Some(400));
        assert_eq!(refused(Version::HTTP_11, "/", &[("accept", "*/*")]), Some(400));
        assert_eq!(refused(Version::HTTP_10, "/", &[]), None);
    }

    #[test]
    fn the_host_of_http2_is_its_authority() {
        for (target, host, wrong) in [
            ("http://a/", None, None),
            ("http://a/", Some("a"), None),
            ("http://A/", Some("a:80"), None),
            ("https://a:443/", Some("a"), None),
            ("https://a/", Some("a:443"), None),
            ("/", Some("a"), None),
            ("http://a/", Some("b"), Some(400)),
            ("http://a:80/", Some("a:81"), Some(400)),
            ("https://a/", Some("a:80"), Some(400)),
            ("http://a/", Some(""), Some(400)),
            ("http://user@a/", None, Some(400)),
        ] {
            let headers: Vec<_> = host.iter().map(|host| ("host", *host)).collect();
            assert_eq!(
                refused(Version::HTTP_2, target, &headers),
                wrong,
                "{target} {host:?}"
            );
        }
    }

    #[test]
    fn connect_is_for_http1_or_names_a_protocol() {
        for (version, protocol, wrong) in [
            (Version::HTTP_11, None, None),
            (Version::HTTP_2, None, Some(501)),
            (Version::HTTP_2, Some("websocket"), None),
        ] {
            let request = Request::connect("a:443").version(version).header("host", "a:443");
            let mut request = request.body(()).unwrap();
            if let Some(protocol) = protocol {
                request.extensions_mut().insert(Protocol::from_static(protocol));
            }
            let refused = refusal(&request.into_parts().0);
            assert_eq!(refused.map(|refused| refused.status().as_u16()), wrong);
        }
    }
}
