//! Writing JSON into a string, as fast as copying allows.

use std::fmt::{self, Write};

/// Writes a quoted string.
pub(crate) fn string(out: &mut String, text: &str) {
    out.push('"');
    escape(out, text);
    out.push('"');
}

/// Writes whatever displays itself as a quoted string, without an intermediate one.
pub(crate) fn display(out: &mut String, value: impl fmt::Display) {
    out.push('"');
    // A `Display` that gives up has written what it could; the string is closed all the same.
    let _ = write!(Escaped(out), "{value}");
    out.push('"');
}

/// Writes a value that displays itself as JSON: an integer, a truth value.
pub(crate) fn plain(out: &mut String, value: impl fmt::Display) {
    write!(out, "{value}").expect("invariant: writing to a String does not fail");
}

/// Writes a finite number; says whether it was one.
pub(crate) fn finite(out: &mut String, value: f64) -> bool {
    if value.is_finite() {
        // `Debug` uses an exponent where `Display` would write three hundred digits.
        write!(out, "{value:?}").expect("invariant: writing to a String does not fail");
    }
    value.is_finite()
}

/// Writes text as the inside of a quoted string.
pub(crate) fn escape(out: &mut String, text: &str) {
    let mut copied = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = ESCAPES[usize::from(byte)];
        if escape == PLAIN {
            continue;
        }
        out.push_str(&text[copied..at]); // all that is escaped is ASCII, so these are character boundaries
        copied = at + 1;
        out.push('\\');
        out.push(char::from(escape));
        if escape == HEX {
            write!(out, "{byte:04x}").expect("invariant: writing to a String does not fail");
        }
    }
    out.push_str(&text[copied..]);
}

struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        escape(self.0, text);
        Ok(())
    }
}

const PLAIN: u8 = 0;
const HEX: u8 = b'u';

/// What follows the backslash.
const ESCAPES: [u8; 256] = {
    let mut table = [PLAIN; 256];
    let mut control = 0;
    while control < 0x20 {
        table[control] = HEX;
        control += 1;
    }
    table[0x7f] = HEX; // legal as it is, but it makes terminals act
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
        fn every_string_reads_back(text in "\\PC{0,20}|[\\x00-\\x7f]{0,20}|.{0,20}") {
            for write in [string, |out: &mut String, text: &str| display(out, text)] {
                let mut out = String::new();
                write(&mut out, &text);
                prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text.as_str());
                prop_assert!(out.bytes().all(|byte| byte >= 0x20 && byte != 0x7f));
            }
        }

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
    fn escapes_are_short_where_there_is_a_short_one() {
        let mut out = String::new();
        string(&mut out, "\"\\\n\r\t\u{0}\u{1f}\u{7f}ä\u{2028}");
        assert_eq!(out, "\"\\\"\\\\\\n\\r\\t\\u0000\\u001f\\u007fä\u{2028}\"");
        out.clear();
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
