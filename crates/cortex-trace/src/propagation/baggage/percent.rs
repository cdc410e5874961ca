//! Percent-encoding (RFC 3986, section 2.1), as baggage values need it.

use std::borrow::Cow;

use super::member::is_verbatim;

/// Appends `value`, with everything encoded that must be.
//= https://www.w3.org/TR/baggage/#value
//# Any code points outside of the baggage-octet range MUST be percent-encoded.
//= https://www.w3.org/TR/baggage/#value
//# The percent code point (U+0025) MUST be percent-encoded.
pub(super) fn encode(value: &str, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if is_verbatim(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 0xf)]));
        }
    }
}

/// Decodes a valid value; a `%` that two hex digits do not follow stands for itself.
//= https://www.w3.org/TR/baggage/#value
//# When decoding the value, percent-encoded octet sequences that do not match the UTF-8 encoding scheme MUST be replaced with the replacement code point (U+FFFD).
pub(super) fn decode(value: &str) -> Cow<'_, str> {
    let Some(first) = value.find('%') else {
        return Cow::Borrowed(value);
    };
    let (plain, mut rest) = value.as_bytes().split_at(first);
    let mut decoded = Vec::with_capacity(value.len());
    decoded.extend_from_slice(plain);
    while let [first, others @ ..] = rest {
        let byte;
        (byte, rest) = match rest {
            [b'%', high, low, others @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (digit(*high) << 4 | digit(*low), others)
            }
            _ => (*first, others),
        };
        decoded.push(byte);
    }
    Cow::Owned(match String::from_utf8(decoded) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

fn digit(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        _ => (hex | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(value: &str) -> String {
        let mut out = String::new();
        encode(value, &mut out);
        out
    }

    /// One character after the other, and UTF-8 errors by their length.
    fn oracle(value: &str) -> String {
        let mut bytes = Vec::new();
        let mut chars = value.chars();
        while let Some(char) = chars.next() {
            let code: String = chars.as_str().chars().take(2).collect();
            let both_are_digits = code.len() == 2 && code.chars().all(|digit| digit.is_ascii_hexdigit());
            if char == '%' && both_are_digits {
                bytes.push(u8::from_str_radix(&code, 16).unwrap());
                chars.nth(1);
            } else {
                bytes.extend(char.to_string().into_bytes());
            }
        }
        let (mut text, mut rest) = (String::new(), bytes.as_slice());
        loop {
            match str::from_utf8(rest) {
                Ok(valid) => return text + valid,
                Err(error) => {
                    text += str::from_utf8(&rest[..error.valid_up_to()]).unwrap();
                    text.push('\u{fffd}');
                    let bad = error.error_len().unwrap_or(rest.len() - error.valid_up_to());
                    rest = &rest[error.valid_up_to() + bad..];
                }
            }
        }
    }

    //= https://www.w3.org/TR/baggage/#value
    //= type=test
    //# Any code points outside of the baggage-octet range MUST be percent-encoded.
    //= https://www.w3.org/TR/baggage/#value
    //= type=test
    //# The percent code point (U+0025) MUST be percent-encoded.
    #[test]
    fn every_byte_is_encoded_or_stands_as_it_is() {
        for byte in 0..0x80_u8 {
            let text = char::from(byte).to_string();
            let stays = matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
            let expected = if stays && byte != b'%' {
                text.clone()
            } else {
                format!("%{byte:02X}")
            };
            assert_eq!(encoded(&text), expected);
        }
        assert_eq!(encoded("Amélie"), "Am%C3%A9lie");
        assert_eq!(encoded("DF 28"), "DF%2028");
    }

    //= https://www.w3.org/TR/baggage/#value
    //= type=test
    //# When decoding the value, percent-encoded octet sequences that do not match the UTF-8 encoding scheme MUST be replaced with the replacement code point (U+FFFD).
    #[test]
    fn what_is_no_text_becomes_the_replacement() {
        for (value, decoded) in [
            ("Am%C3%A9lie", "Amélie"),
            ("Am%c3%a9lie", "Amélie"),
            ("%ff", "\u{fffd}"),
            ("a%C3b", "a\u{fffd}b"),
            ("%C3%28", "\u{fffd}("),
            ("%ED%A0%80", "\u{fffd}\u{fffd}\u{fffd}"), // a surrogate
            ("%F0%9F%92%A9", "\u{1f4a9}"),
            ("%F0%9F%92", "\u{fffd}"),
            ("100%", "100%"),
            ("%4", "%4"),
            ("%4g%41", "%4gA"),
            ("%%41", "%A"),
            ("%2541", "%41"),
            ("a+b", "a+b"),
            ("%00", "\0"),
        ] {
            assert_eq!(decode(value), decoded, "{value}");
        }
        assert!(matches!(decode("alice"), Cow::Borrowed("alice")));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn decodes_what_the_oracle_decodes(value in "(%[0-9a-fA-F]{2}|%[cdefCDEF][0-9a-f]%[89ab][0-9]|%|[!-~]){0,12}") {
            prop_assert_eq!(decode(&value), oracle(&value));
        }

        #[test]
        fn decodes_what_it_encodes(value: String) {
            let text = encoded(&value);
            prop_assert_eq!(decode(&text), value);
        }
    }
}
