use std::borrow::Cow;
use std::fmt;

use super::percent;

/// A member of a [`Baggage`](super::Baggage): a key, a value, and properties.
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::Baggage;
///
/// let baggage: Baggage = "tier = gold%21; ttl=60; internal".parse()?;
/// let member = baggage.member("tier").ok_or("not there")?;
/// assert_eq!((member.key(), &*member.value()), ("tier", "gold!"));
/// assert_eq!(member.as_str(), "tier = gold%21; ttl=60; internal");
///
/// let properties: Vec<_> = member.properties().map(|property| property.key()).collect();
/// assert_eq!(properties, ["ttl", "internal"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BaggageMember<'a> {
    /// Valid.
    text: &'a str,
}

impl<'a> BaggageMember<'a> {
    pub(super) const fn of_valid(text: &'a str) -> Self {
        Self { text }
    }

    /// Returns the key.
    pub fn key(&self) -> &'a str {
        self.split().0
    }

    /// Returns the value, decoded; what it encodes that is no UTF-8 becomes U+FFFD.
    pub fn value(&self) -> Cow<'a, str> {
        percent::decode(self.encoded_value())
    }

    /// Returns the value as it stands in the header.
    pub fn encoded_value(&self) -> &'a str {
        self.split().1
    }

    /// Returns the properties in their order.
    pub fn properties(&self) -> impl Iterator<Item = BaggageProperty<'a>> + use<'a> {
        self.text
            .split(';')
            .skip(1)
            .map(|text| BaggageProperty { text: trim(text) })
    }

    /// Returns the member as it stands in the header.
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    fn split(&self) -> (&'a str, &'a str) {
        let end = self.text.find(';').unwrap_or(self.text.len());
        split(&self.text[..end]).expect("invariant: a valid member has a `=`")
    }
}

impl fmt::Display for BaggageMember<'_> {
    /// Writes the member as it stands in the header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Debug for BaggageMember<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text, f)
    }
}

/// A property of a [`BaggageMember`]: a key, and a value if it has one. What it means is up to the member.
///
/// # Examples
///
/// ```
/// use cortex_trace::propagation::Baggage;
///
/// let baggage: Baggage = "tier=gold;ttl=60;internal".parse()?;
/// let member = baggage.member("tier").ok_or("not there")?;
/// let mut properties = member.properties();
/// assert_eq!(properties.next().and_then(|ttl| ttl.value()).as_deref(), Some("60"));
/// assert_eq!(properties.next().ok_or("one more")?.value(), None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BaggageProperty<'a> {
    /// Valid.
    text: &'a str,
}

impl<'a> BaggageProperty<'a> {
    /// Returns the key.
    pub fn key(&self) -> &'a str {
        split(self.text).map_or(self.text, |(key, _)| key)
    }

    /// Returns the value, decoded like that of a member; `None` if the property is a key alone.
    pub fn value(&self) -> Option<Cow<'a, str>> {
        split(self.text).map(|(_, value)| percent::decode(value))
    }

    /// Returns the property as it stands in the header.
    pub const fn as_str(&self) -> &'a str {
        self.text
    }
}

impl fmt::Display for BaggageProperty<'_> {
    /// Writes the property as it stands in the header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

impl fmt::Debug for BaggageProperty<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text, f)
    }
}

/// Says whether a member, without white space around it, is one by the grammar.
//= https://www.w3.org/TR/baggage/#definition
//# list-member            =  key OWS "=" OWS value *( OWS ";" OWS property )
pub(super) fn is_member(text: &str) -> bool {
    let mut parts = text.split(';');
    let member = parts.next().and_then(split);
    member.is_some_and(|(key, value)| is_token(key) && is_value(value)) && parts.all(is_property)
}

//= https://www.w3.org/TR/baggage/#definition
//# property               =  key OWS "=" OWS value
//= https://www.w3.org/TR/baggage/#definition
//# property               =/ key OWS
fn is_property(text: &str) -> bool {
    match split(text) {
        Some((key, value)) => is_token(key) && is_value(value),
        None => is_token(trim(text)),
    }
}

//= https://www.w3.org/TR/baggage/#value
//# Parsers MUST NOT assume that the equal sign is only used to separate key and value.
fn split(text: &str) -> Option<(&str, &str)> {
    let (key, value) = text.split_once('=')?;
    Some((trim(key), trim(value)))
}

//= https://www.w3.org/TR/baggage/#key
//# Leading and trailing whitespaces (OWS) are allowed and are not considered to be a part of the key.
//= https://www.w3.org/TR/baggage/#value
//# Leading and trailing whitespaces (OWS) are allowed and are not considered to be a part of the value.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// Says whether `text` is a token of RFC 7230, section 3.2.6.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && all_are(text, TOKEN)
}

fn is_value(text: &str) -> bool {
    all_are(text, OCTET)
}

/// Says whether a byte can stand in a value as it is.
pub(super) fn is_verbatim(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & OCTET != 0 && byte != b'%'
}

fn all_are(text: &str, wanted: u8) -> bool {
    text.bytes()
        .fold(wanted, |common, byte| common & CLASSES[usize::from(byte)])
        == wanted
}

const TOKEN: u8 = 1;
const OCTET: u8 = 2;

const CLASSES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0x21_u8;
    while byte < 0x7f {
        table[byte as usize] = match byte {
            b'"' | b',' | b';' | b'\\' => 0,
            b'(' | b')' | b'/' | b':' | b'<' | b'=' | b'>' | b'?' | b'@' | b'[' | b']' | b'{' | b'}' => OCTET,
            _ => TOKEN | OCTET,
        };
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_tokens() {
        for byte in 0..=0xff_u8 {
            let key = char::from(byte).to_string();
            let is_one = byte.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char::from(byte));
            assert_eq!(is_token(&key), is_one, "{key:?}");
            assert_eq!(
                is_member(&format!("a{key}=1")),
                is_one || " \t=".contains(&key),
                "{key:?}"
            );
        }
        assert!(!is_member("=1"));
        assert!(!is_member(" =1"));
        assert!(is_member(&format!("{}=1", "k".repeat(4000))));
    }

    //= https://www.w3.org/TR/baggage/#definition
    //= type=test
    //# list-member            =  key OWS "=" OWS value *( OWS ";" OWS property )
    //= https://www.w3.org/TR/baggage/#definition
    //= type=test
    //# property               =  key OWS "=" OWS value
    //= https://www.w3.org/TR/baggage/#definition
    //= type=test
    //# property               =/ key OWS
    //= https://www.w3.org/TR/baggage/#value
    //= type=test
    //# Parsers MUST NOT assume that the equal sign is only used to separate key and value.
    //= https://www.w3.org/TR/baggage/#key
    //= type=test
    //# Leading and trailing whitespaces (OWS) are allowed and are not considered to be a part of the key.
    //= https://www.w3.org/TR/baggage/#value
    //= type=test
    //# Leading and trailing whitespaces (OWS) are allowed and are not considered to be a part of the value.
    #[test]
    fn members_are_taken_apart() {
        for (text, key, value, properties) in [
            ("a=1", "a", "1", vec![]),
            ("a \t = \t 1", "a", "1", vec![]),
            ("a=", "a", "", vec![]),
            ("a= ;p", "a", "", vec![("p", None)]),
            ("a==b=c=", "a", "=b=c=", vec![]),
            ("A=1", "A", "1", vec![]),
            ("a%20b=1", "a%20b", "1", vec![]),
            (
                "a=1;p;q=2 \t; \tr \t = \t3",
                "a",
                "1",
                vec![("p", None), ("q", Some("2")), ("r", Some("3"))],
            ),
            ("a=1;p=", "a", "1", vec![("p", Some(""))]),
            ("a=1;p=%C3%A9=;p", "a", "1", vec![("p", Some("é=")), ("p", None)]),
            ("a;b=1;c=2", "", "", vec![]), // no member
        ] {
            if key.is_empty() {
                assert!(!is_member(text));
                continue;
            }
            assert!(is_member(text), "{text}");
            let member = BaggageMember::of_valid(text);
            assert_eq!((member.key(), &*member.value()), (key, value), "{text}");
            let read: Vec<_> = member
                .properties()
                .map(|property| (property.key(), property.value()))
                .collect();
            let read: Vec<_> = read.iter().map(|(key, value)| (*key, value.as_deref())).collect();
            assert_eq!(read, properties, "{text}");
        }
    }

    #[test]
    fn what_breaks_the_grammar_is_no_member() {
        for text in [
            "",
            "a",
            "a b=1",
            "a=1 2",
            "a=\"1\"",
            "a=1\\",
            "a=é",
            "a=1\u{7f}",
            "a=\0",
            "é=1",
            "a=1;",
            "a=1;;p",
            "a=1;=2",
            "a=1;p q",
            "a=1;p=\"x\"",
            "a=1; ",
            "(a)=1",
            "a=1\u{a0}",
            ";a=1",
        ] {
            assert!(!is_member(text), "{text:?}");
        }
    }
}
