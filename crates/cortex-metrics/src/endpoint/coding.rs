use http::HeaderMap;
use http::header::ACCEPT_ENCODING;

use crate::encode::{elements, quality};

/// How an exposition is coded on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    #[cfg(feature = "gzip")]
    Gzip,
    #[cfg(feature = "zstd")]
    Zstd,
}

impl Coding {
    /// What this build can do beside the identity, best first.
    pub(super) const OFFERS: &'static [Self] = &[
        #[cfg(feature = "zstd")]
        Self::Zstd,
        #[cfg(feature = "gzip")]
        Self::Gzip,
    ];

    /// Returns the value of `Content-Encoding`; the identity has none.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            #[cfg(feature = "gzip")]
            Self::Gzip => Some("gzip"),
            #[cfg(feature = "zstd")]
            Self::Zstd => Some("zstd"),
        }
    }

    /// Chooses by `Accept-Encoding` (RFC 9110, section 12.5.3).
    ///
    /// The highest weight wins, then the earlier offer. The identity wins where it is named with a higher weight than
    /// any offer, and where nothing else is accepted: even refused, an exposition is worth more than an error.
    pub(super) fn negotiate(headers: &HeaderMap) -> Self {
        let (mut best, mut highest) = (Self::Identity, 0);
        for &offer in Self::OFFERS {
            let weight = weight(headers, |name| offer.is_called(name))
                .or_else(|| weight(headers, |name| name == "*"))
                .unwrap_or(0);
            if weight > highest {
                (best, highest) = (offer, weight);
            }
        }
        match weight(headers, |name| name.eq_ignore_ascii_case("identity")) {
            Some(identity) if identity > highest => Self::Identity,
            _ => best,
        }
    }

    fn is_called(self, name: &str) -> bool {
        // RFC 9110, section 8.4.1.3: x-gzip is the same as gzip.
        let name = if name.eq_ignore_ascii_case("x-gzip") {
            "gzip"
        } else {
            name
        };
        self.name().is_some_and(|own| own.eq_ignore_ascii_case(name))
    }
}

/// The highest weight given to a coding, in thousandths; a refusal wins. Nothing if it is not named.
fn weight(headers: &HeaderMap, is_meant: impl Fn(&str) -> bool) -> Option<u16> {
    let mut found: Option<u16> = None;
    for element in elements(headers, &ACCEPT_ENCODING) {
        let (name, parameter) = element.split_once(';').unwrap_or((element, "q=1"));
        if !is_meant(name.trim()) {
            continue;
        }
        let Some((q, value)) = parameter.split_once('=') else {
            continue;
        };
        if !q.trim().eq_ignore_ascii_case("q") {
            continue;
        }
        match (quality(value.trim()), found) {
            (None, _) | (_, Some(0)) => {}
            (Some(0), _) => found = Some(0),
            (Some(weight), before) => found = before.max(Some(weight)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn accept(lines: &[&str]) -> &'static str {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        Coding::negotiate(&headers).name().unwrap_or("identity")
    }

    #[test]
    fn the_identity_is_always_there() {
        assert_eq!(accept(&[]), "identity");
        for line in [
            "",
            " , ;, ",
            "br",
            "identity",
            "identity;q=0",
            "*;q=0",
            "br, *;q=0",
            "gzip;q=0",
            "gzip;q=0, zstd;q=0, *",
            "gzip;q=0.5, zstd;q=0.5, identity",
            "\u{e9}",
        ] {
            assert_eq!(accept(&[line]), "identity", "{line}");
        }
    }

    #[cfg(all(feature = "gzip", feature = "zstd"))]
    #[test]
    fn table() {
        for (line, coding) in [
            ("gzip", "gzip"),
            ("GZip", "gzip"),
            ("x-gzip", "gzip"),
            ("X-GZIP;q=0.1", "gzip"),
            ("zstd", "zstd"),
            ("gzip, deflate, br, zstd", "zstd"),
            ("gzip, deflate, br", "gzip"),
            ("gzip;q=1.0, zstd;q=0.9", "gzip"),
            ("gzip;q=0.8, zstd;q=0.8", "zstd"),
            ("gzip ; q = 0.9 , zstd;Q=0.8", "gzip"),
            // wildcards
            ("*", "zstd"),
            ("zstd;q=0, *", "gzip"),
            ("zstd;q=0.1, *;q=0.5", "gzip"),
            ("gzip, *;q=0", "gzip"),
            // the identity
            ("identity, gzip", "gzip"),
            ("identity;q=0.5, gzip;q=1", "gzip"),
            ("identity;q=0.5, gzip;q=0.4", "identity"),
            ("identity;q=0, gzip;q=0.1", "gzip"),
            // malformed weights name nothing
            ("zstd;q=2, gzip", "gzip"),
            ("zstd;q=nan, gzip;q=0.1", "gzip"),
            ("zstd;level=3, gzip;q=0.1", "gzip"),
            ("zstd;q, gzip;q=0.1", "gzip"),
            // said twice
            ("gzip;q=0.1, zstd;q=0.5, gzip;q=0.9", "gzip"),
            ("gzip, gzip;q=0, zstd;q=0.1", "zstd"),
        ] {
            assert_eq!(accept(&[line]), coding, "{line}");
        }
        assert_eq!(accept(&["br", "gzip"]), "gzip");
    }

    proptest! {
        #[test]
        fn nothing_panics(line in "[gzipxstd*;,=\\- q0-9.\u{e9}]{0,40}") {
            accept(&[&line]);
        }
    }
}
