use crate::coding::Coding;
use crate::list::elements;
use http::header::{ACCEPT_ENCODING, HeaderMap};

/// Chooses a coding by the `Accept-Encoding` of a request (RFC 9110, section 12.5.3).
///
/// `offers` are what the server can do, best first: the highest weight wins, then the earliest offer. The identity wins
/// only where the client names it with a higher weight than any offer.
///
/// Does not allocate.
///
/// # Examples
///
/// ```
/// # #[cfg(all(feature = "gzip", feature = "zstd"))] {
/// use cortex_compress::{Coding, Negotiated, negotiate};
/// use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(negotiate(&headers, Coding::ALL), Negotiated::Identity);
///
/// headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd;q=0.8, *;q=0"));
/// assert_eq!(negotiate(&headers, Coding::ALL), Negotiated::Encode(Coding::Gzip));
/// assert_eq!(negotiate(&headers, &[Coding::Zstd]), Negotiated::Encode(Coding::Zstd));
/// assert_eq!(negotiate(&headers, &[]), Negotiated::NotAcceptable);
/// # }
/// ```
pub fn negotiate(headers: &HeaderMap, offers: &[Coding]) -> Negotiated {
    choose(headers, offers).0
}

/// Negotiates, and tells which of the offers would be accepted.
pub(crate) fn choose(headers: &HeaderMap, offers: &[Coding]) -> (Negotiated, Accepted) {
    let mut accepted = Accepted::default();
    if !headers.contains_key(ACCEPT_ENCODING) {
        return (Negotiated::Identity, accepted);
    }
    let weights = Weights::read(headers);
    let Weights { identity, any, .. } = weights;
    let mut best = None;
    let mut highest = 0;
    for &offer in offers {
        let weight = weights.of(offer);
        if weight > 0 {
            accepted.0 |= 1 << offer.index();
        }
        if weight > highest {
            (best, highest) = (Some(offer), weight);
        }
    }
    let refuses_identity = identity.0.or(any.0.filter(|&weight| weight == 0)) == Some(0);
    let negotiated = match best {
        Some(coding) if identity.0 <= Some(highest) => Negotiated::Encode(coding),
        None if refuses_identity => Negotiated::NotAcceptable,
        _ => Negotiated::Identity,
    };
    (negotiated, accepted)
}

/// The offers that a client accepts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Accepted(u8);

impl Accepted {
    pub(crate) const fn contains(self, coding: Coding) -> bool {
        self.0 & (1 << coding.index()) != 0
    }
}

/// What [`negotiate`] found.
///
/// # Examples
///
/// ```
/// use cortex_compress::{Negotiated, negotiate};
/// use http::header::HeaderMap;
///
/// assert_eq!(negotiate(&HeaderMap::new(), &[]), Negotiated::Identity);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Negotiated {
    /// Encode with this coding.
    Encode(Coding),
    /// Send the response as it is.
    Identity,
    /// The client refuses the identity and every coding on offer.
    NotAcceptable,
}

/// What an `Accept-Encoding` says.
pub(crate) struct Weights {
    named: [Weight; Coding::COUNT],
    identity: Weight,
    any: Weight,
}

impl Weights {
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let mut named = [Weight::default(); Coding::COUNT];
        let (mut identity, mut any) = (Weight::default(), Weight::default());
        for (name, weight) in elements(headers, &ACCEPT_ENCODING).filter_map(parse) {
            if let Some(coding) = Coding::from_name(name) {
                named[coding.index()].add(weight);
            } else if name.eq_ignore_ascii_case(b"identity") {
                identity.add(weight);
            } else if name == b"*" {
                any.add(weight);
            }
        }
        Self { named, identity, any }
    }

    fn of(&self, offer: Coding) -> u16 {
        self.named[offer.index()].0.or(self.any.0).unwrap_or(0)
    }

    /// Returns the highest weight of the offers, and of the identity where that is named.
    #[cfg(feature = "dictionary")]
    pub(crate) fn highest(&self, offers: &[Coding]) -> u16 {
        let offers = offers.iter().map(|&offer| self.of(offer));
        offers.chain(self.identity.0).max().unwrap_or(0)
    }
}

/// Returns the weight of a coding for which `*` does not stand.
#[cfg(feature = "dictionary")]
pub(crate) fn weight_of(headers: &HeaderMap, coding: &str) -> u16 {
    let mut total = Weight::default();
    for (name, weight) in elements(headers, &ACCEPT_ENCODING).filter_map(parse) {
        if name.eq_ignore_ascii_case(coding.as_bytes()) {
            total.add(weight);
        }
    }
    total.0.unwrap_or(0)
}

/// The weight of a name in thousandths; `None` until the name appears.
#[derive(Clone, Copy, Default)]
struct Weight(Option<u16>);

impl Weight {
    /// Merges a further mention: a refusal wins, else the highest weight.
    fn add(&mut self, weight: u16) {
        self.0 = match self.0 {
            Some(0) => Some(0),
            Some(_) if weight == 0 => Some(0),
            before => before.max(Some(weight)),
        };
    }
}

/// Splits an element into its name and its weight; a malformed one is nothing.
fn parse(element: &[u8]) -> Option<(&[u8], u16)> {
    let Some(end) = element.iter().position(|&byte| byte == b';') else {
        return Some((element, 1000));
    };
    let (name, rest) = (
        element[..end].trim_ascii_end(),
        element[end + 1..].trim_ascii_start(),
    );
    let value = rest.strip_prefix(b"q=").or_else(|| rest.strip_prefix(b"Q="))?;
    Some((name, parse_weight(value)?))
}

/// Parses a `qvalue` (RFC 9110, section 12.4.2).
fn parse_weight(value: &[u8]) -> Option<u16> {
    let (whole, digits) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', digits @ ..] if digits.len() <= 3 => (whole, digits),
        _ => return None,
    };
    let mut thousandths = 0;
    for place in 0..3 {
        let digit = digits.get(place).unwrap_or(&b'0');
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths = thousandths * 10 + u16::from(digit - b'0');
    }
    match (whole, thousandths) {
        (b'0', thousandths) => Some(thousandths),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}
