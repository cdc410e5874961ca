use http::header::HeaderName;

use super::Baggage;
use crate::propagation::{Extractor, Injector};

//= https://www.w3.org/TR/baggage/#header-name
//# In order to increase interoperability across multiple protocols and encourage successful integration, implementations SHOULD keep the header name lowercase.
static BAGGAGE: HeaderName = HeaderName::from_static("baggage");

/// Reads the baggage that came with a request or a message; empty if there is none. It needs no trace context beside it.
///
/// # Performance
///
/// Without the header it is one look-up. Otherwise the lines are copied, and read when somebody asks for a member.
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::extract_baggage;
///
/// let mut headers = http::HeaderMap::new();
/// assert!(extract_baggage(&headers).is_empty());
/// headers.append("baggage", "userId=alice".parse()?);
/// headers.append("baggage", "serverNode=DF%2028,isProduction=false".parse()?);
/// assert_eq!(extract_baggage(&headers).get("serverNode").as_deref(), Some("DF 28"));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
pub fn extract_baggage<E: Extractor + ?Sized>(carrier: &E) -> Baggage {
    Baggage::from_lines(carrier.values(&BAGGAGE).map(|value| value.as_bytes()))
}

/// Writes baggage into the headers of a request or a message, in place of what stood there; what is empty is not sent.
///
/// Everybody on the way can read it: send it to your own services, and to others only what they asked for.
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::{Baggage, inject_baggage};
///
/// let mut baggage = Baggage::default();
/// baggage.set("serverNode", "DF 28")?;
/// let mut headers = http::HeaderMap::new();
/// inject_baggage(&baggage, &mut headers);
/// assert_eq!(headers["baggage"], "serverNode=DF%2028");
/// # Ok::<(), cortex_trace::propagation::InvalidBaggage>(())
/// ```
pub fn inject_baggage<I: Injector + ?Sized>(baggage: &Baggage, carrier: &mut I) {
    match baggage.to_header() {
        Some(value) => carrier.set_shared(&BAGGAGE, &value),
        None => carrier.remove(&BAGGAGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};

    fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                name.parse::<HeaderName>().unwrap(),
                HeaderValue::from_bytes(value).unwrap(),
            );
        }
        headers
    }

    #[test]
    fn lines_are_joined_in_order_whatever_the_case_of_the_name() {
        let received = headers(&[
            ("Baggage", b"a=1, b=2".as_slice()),
            ("BAGGAGE", b""),
            ("baggage", b"\xff=1,c=3"),
            ("other", b"d=4"),
        ]);
        assert_eq!(extract_baggage(&received).to_string(), "a=1,b=2,c=3");
    }

    //= https://www.w3.org/TR/baggage/#header-name
    //= type=test
    //# In order to increase interoperability across multiple protocols and encourage successful integration, implementations SHOULD keep the header name lowercase.
    #[test]
    fn sends_one_lowercase_line_and_replaces_every_old_one() {
        let received = headers(&[("baggage", b"a=1 , a = 2;p".as_slice()), ("Baggage", b"b=3")]);
        let mut sent = received.clone();
        inject_baggage(&extract_baggage(&received), &mut sent);
        let lines: Vec<_> = sent
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(lines, [("baggage", "a=1,a = 2;p,b=3")]);
        inject_baggage(&Baggage::EMPTY, &mut sent);
        assert!(sent.is_empty());
    }

    #[test]
    fn no_header_is_sent_for_bad_members_alone() {
        let mut sent = HeaderMap::new();
        inject_baggage(&extract_baggage(&headers(&[("baggage", b"nothing;")])), &mut sent);
        assert!(sent.is_empty());
    }
}
