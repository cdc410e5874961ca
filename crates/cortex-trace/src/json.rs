//! Writing JSON into a string, as fast as copying allows.

use std::fmt::{self, Write};

/// Writes a quoted string.
pub(crate) fn string(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text);
    out.push('"');
}

/// Writes whatever displays itself as a quoted string, without an intermediate one.
#[cfg(any(feature = "file", feature = "otlp", test))]
pub(crate) fn display(out: &mut String, value: impl fmt::Display) {
    written(out, |mut inside| write!(inside, "{value}"));
}

/// Writes whatever `write` does as a quoted string.
#[inline]
pub(crate) fn written(out: &mut String, write: impl FnOnce(Escaped<'_>) -> fmt::Result) {
    out.push('"');
    // What gives up has written what it could; the string is closed all the same.
    let _ = write(Escaped(out));
    out.push('"');
}

/// Writes a value that displays itself as JSON: an integer, a truth value.
#[cfg(any(feature = "file", feature = "otlp"))]
pub(crate) fn plain(out: &mut String, value: impl fmt::Display) {
    write!(out, "{value}").expect("invariant: writing to a String does not fail");
}

/// Writes a finite number; says whether it was one.
#[cfg(any(feature = "file", feature = "otlp"))]
pub(crate) fn finite(out: &mut String, value: f64) -> bool {
    if value.is_finite() {
        // `Debug` uses an exponent where `Display` would write three hundred digits.
        write!(out, "{value:?}").expect("invariant: writing to a String does not fail");
    }
    value.is_finite()
}

/// Writes text as the inside of a quoted string.
pub(crate) fn escape(out: &mut String, text: &str) {
    let bytes = text.as_bytes();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = special(&bytes[at..]) {
        at += found;
        let escape = ESCAPES[usize::from(bytes[at])];
        let (code, length) = match (escape, bytes.get(at + 1)) {
            (HIGH, Some(second @ 0x80..=0x9f)) => (*second, 2), // a control character, which some terminals obey
            (HIGH, _) => {
                at += 2;
                continue;
            }
            _ => (bytes[at], 1),
        };
        // What is escaped is whole characters, so these are boundaries.
        out.push_str(&text[copied..at]);
        out.push('\\');
        if matches!(escape, HEX | HIGH) {
            write!(out, "u{code:04x}").expect("invariant: writing to a String does not fail");
        } else {
            out.push(char::from(escape));
        }
        at += length;
        copied = at;
    }
    out.push_str(&text[copied..]);
}

/// Returns where the first byte is that may have to be escaped.
fn special(bytes: &[u8]) -> Option<usize> {
    let mut words = bytes.chunks_exact(8);
    let mut at = 0;
    for word in words.by_ref() {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        let marks = marks(word);
        if marks != 0 {
            return Some(at + marks.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let is_special = |byte: &u8| ESCAPES[usize::from(*byte)] != PLAIN;
    words
        .remainder()
        .iter()
        .position(is_special)
        .map(|found| at + found)
}

/// Sets the high bit of the first byte that may have to be escaped, and perhaps those of later bytes.
///
/// Subtracting from each byte at once sets the high bit of those that are less, and a borrow disturbs only bytes above
/// such a one: the lowest bit is right.
const fn marks(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES << 7;
    const fn is(word: u64, byte: u8) -> u64 {
        let zero_where_equal = word ^ (ONES * byte as u64);
        zero_where_equal.wrapping_sub(ONES) & !zero_where_equal
    }
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (control | is(word, b'"') | is(word, b'\\') | is(word, 0x7f) | is(word, LEAD)) & HIGHS
}

/// Writes text as the inside of a quoted string.
pub(crate) struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

const PLAIN: u8 = 0;
const HEX: u8 = b'u';
/// The byte after it decides.
const HIGH: u8 = b'U';

/// Begins the two bytes of U+0080 to U+00BF, of which the first half are control characters.
const LEAD: u8 = 0xc2;

/// What follows the backslash.
const ESCAPES: [u8; 256] = {
    let mut table = [PLAIN; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = HEX;
        control += 1;
    }
    table[0x7f] = HEX; // legal as it is, but it makes terminals act
    table[LEAD as usize] = HIGH;
    table[b'\n' as usize] = b'n';
    table[b'\r' as usize] = b'r';
    table[b'\t' as usize] = b't';
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_string_reads_back(text in "\\PC{0,20}|[\\x00-\\x7f]{0,30}|.{0,20}|[ -~]{0,20}[\\x00-\\xff]{0,9}") {
            for write in [string, |out: &mut String, text: &str| display(out, text)] {
                let mut out = String::new();
                write(&mut out, &text);
                prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text.as_str());
                prop_assert!(!out.contains(char::is_control), "{}", out);
            }
        }

        #[cfg(any(feature = "file", feature = "otlp"))]
        #[test]
        fn every_finite_number_reads_back(bits: u64) {
            let (value, mut out) = (f64::from_bits(bits), String::new());
            prop_assert_eq!(finite(&mut out, value), value.is_finite());
            if value.is_finite() {
                // Exact by the standard library; serde_json's default parser is off by some bits far from 1.
                prop_assert_eq!(out.parse::<f64>().unwrap().to_bits(), bits, "{}", out);
                prop_assert!(serde_json::from_str::<f64>(&out).is_ok(), "{}", out);
            } else {
                prop_assert_eq!(out, "");
            }
        }
    }

    #[test]
    fn every_place_of_a_word_is_looked_at() {
        for special in [
            "\"", "\\", "\u{0}", "\u{1f}", "\u{7f}", "\u{80}", "\u{9f}", "\u{a0}",
        ] {
            for before in 0..18 {
                for after in 0..10 {
                    let text = format!("{}{special}{}", "!".repeat(before), "é ~".repeat(after));
                    let mut out = String::new();
                    string(&mut out, &text);
                    assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
                    assert_eq!(out.contains('\\'), special != "\u{a0}", "{out}");
                }
            }
        }
    }

    #[test]
    fn escapes_are_short_where_there_is_a_short_one() {
        let mut out = String::new();
        string(&mut out, "\"\\\n\r\t\u{0}\u{1f}\u{7f}ä\u{2028}");
        assert_eq!(out, "\"\\\"\\\\\\n\\r\\t\\u0000\\u001f\\u007fä\u{2028}\"");
    }

    #[cfg(any(feature = "file", feature = "otlp"))]
    #[test]
    fn integers_are_plain() {
        let mut out = String::new();
        plain(&mut out, -7);
        assert_eq!(out, "-7");
    }

    #[test]
    fn a_display_that_fails_still_gives_a_string() {
        struct Fails;
        impl fmt::Display for Fails {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("half\n")?;
                Err(fmt::Error)
            }
        }
        let mut out = String::new();
        display(&mut out, Fails);
        assert_eq!(out, "\"half\\n\"");
    }
}
