use http::header::{ACCEPT, HeaderMap};

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// draft-inadarei-api-health-check-06.
    HealthJson,
    /// The shape of Spring Boot's health endpoint.
    Actuator,
    /// A line per check.
    Text,
    /// The same, with what happened of late. No media type asks for it.
    Verbose,
}

impl Format {
    pub(crate) const COUNT: usize = 4;
}

/// A media type that can be sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) format: Format,
    pub(crate) content_type: &'static str,
    kind: &'static str,
    subtype: &'static str,
}

/// Best first.
static OFFERS: [Offer; 4] = [
    Offer {
        format: Format::HealthJson,
        content_type: "application/health+json",
        kind: "application",
        subtype: "health+json",
    },
    Offer {
        format: Format::Actuator,
        content_type: "application/json",
        kind: "application",
        subtype: "json",
    },
    Offer {
        format: Format::Actuator,
        content_type: "application/vnd.spring-boot.actuator.v3+json",
        kind: "application",
        subtype: "vnd.spring-boot.actuator.v3+json",
    },
    Offer {
        format: Format::Text,
        content_type: "text/plain; charset=utf-8",
        kind: "text",
        subtype: "plain",
    },
];

/// Chooses by `Accept` (RFC 9110, section 12.5.1): the highest weight, then the earliest offer.
///
/// A client that accepts none of them gets the first: a probe that fails over a media type would help nobody.
pub(crate) fn negotiate(headers: &HeaderMap) -> &'static Offer {
    // For each offer the weight of the most specific range that matches, and how specific that is.
    let mut found = [(0u8, 0u16); OFFERS.len()];
    let values = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    for range in values.flat_map(|value| value.split(',')).filter_map(Range::parse) {
        for (offer, best) in OFFERS.iter().zip(&mut found) {
            if let Some(specificity) = range.matches(offer)
                && specificity > best.0
            {
                *best = (specificity, range.weight);
            }
        }
    }
    let mut chosen = (&OFFERS[0], 0);
    for (offer, (_, weight)) in OFFERS.iter().zip(found) {
        if weight > chosen.1 {
            chosen = (offer, weight);
        }
    }
    chosen.0
}

struct Range<'a> {
    kind: &'a str,
    subtype: &'a str,
    /// In thousandths.
    weight: u16,
}

impl<'a> Range<'a> {
    /// Parses an element of the list; a malformed one is nothing.
    fn parse(element: &'a str) -> Option<Self> {
        let mut parts = element.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut weight = 1000;
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=')
                && name.eq_ignore_ascii_case("q")
            {
                weight = parse_weight(value)?;
            }
        }
        Some(Self {
            kind,
            subtype,
            weight,
        })
    }

    fn matches(&self, offer: &Offer) -> Option<u8> {
        if (self.kind, self.subtype) == ("*", "*") {
            return Some(1);
        }
        match self.kind.eq_ignore_ascii_case(offer.kind) {
            true if self.subtype == "*" => Some(2),
            true if self.subtype.eq_ignore_ascii_case(offer.subtype) => Some(3),
            _ => None,
        }
    }
}

/// Parses a `qvalue` (RFC 9110, section 12.4.2).
fn parse_weight(value: &str) -> Option<u16> {
    let (whole, digits) = value.split_once('.').unwrap_or((value, ""));
    if digits.len() > 3 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let mut thousandths = match whole {
        "0" => 0,
        "1" => 1000,
        _ => return None,
    };
    for (digit, place) in digits.bytes().zip([100, 10, 1]) {
        thousandths += u16::from(digit - b'0') * place;
    }
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn chosen(values: &[&str]) -> &'static str {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
        }
        negotiate(&headers).content_type
    }

    #[test]
    fn chooses_what_the_client_likes_best() {
        let health = "application/health+json";
        let text = "text/plain; charset=utf-8";
        let table: [(&[&str], &str); 18] = [
            (&[], health),
            (&["*/*"], health),
            (&["application/*"], health),
            (&["application/health+json"], health),
            (&["application/json"], "application/json"),
            (&["APPLICATION/Json; charset=utf-8"], "application/json"),
            (
                &["application/vnd.spring-boot.actuator.v3+json, application/json;q=0.9"],
                "application/vnd.spring-boot.actuator.v3+json",
            ),
            (&["text/plain"], text),
            (&["text/*;q=0.3, */*;q=0.2"], text),
            (
                &["text/plain;q=0.5, application/json;q=0.501"],
                "application/json",
            ),
            (&["text/plain;q=0.5", "application/json;q=0.4"], text),
            (&["*/*, application/health+json;q=0"], "application/json"),
            (&["application/*;q=0.1, text/plain;q=0.05"], health),
            (
                &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
                health,
            ),
            (&["image/png"], health),
            (&["text/plain;q=0"], health),
            (
                &["text/plain;q=2, nonsense, /, ;;, application/json;q=0.1"],
                "application/json",
            ),
            (
                &["text/plain;q=1.001, text/plain;q=0.1234, text/plain;q=.5, text/plain;q=0.x"],
                health,
            ),
        ];
        for (accept, expected) in table {
            assert_eq!(chosen(accept), expected, "{accept:?}");
        }
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(value in "[ -~]{0,60}") {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(&value).unwrap());
            prop_assert!(OFFERS.contains(negotiate(&headers)));
        }

        #[test]
        fn weights_are_thousandths(weight in 0u16..=1000) {
            let text = format!("{}.{:03}", weight / 1000, weight % 1000);
            prop_assert_eq!(parse_weight(&text), Some(weight));
        }
    }
}
