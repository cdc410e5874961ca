//! Text from anywhere, made safe to look at.

use std::fmt::{self, Write};

/// Text that cannot make a terminal act, nor reorder what stands beside it; optionally cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printable<'a> {
    text: &'a str,
    most: usize,
}

impl<'a> Printable<'a> {
    /// All of the text.
    #[cfg(feature = "logs")]
    pub(crate) const fn whole(text: &'a str) -> Self {
        Self::cut(text, usize::MAX)
    }

    /// At most so many characters of it, and an ellipsis where there are more.
    pub(crate) const fn cut(text: &'a str, most: usize) -> Self {
        Self { text, most }
    }
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.text;
        if let Some((end, _)) = rest.char_indices().nth(self.most) {
            rest = &rest[..end];
        }
        let is_cut = rest.len() < self.text.len();
        while let Some((at, character)) = rest.char_indices().find(|(_, character)| acts(*character)) {
            f.write_str(&rest[..at])?;
            write!(f, "{}", character.escape_default())?;
            rest = &rest[at + character.len_utf8()..];
        }
        f.write_str(rest)?;
        if is_cut { f.write_char('…') } else { Ok(()) }
    }
}

/// Says whether a character does something else than to be shown where it stands.
pub(crate) fn acts(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    character.is_control() // the other half of them, which some terminals obey as well
        || matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' // marks of direction
                | '\u{2028}' | '\u{2029}' // ends of lines
                | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' // embeddings, overrides and isolates
                | '\u{feff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_acts_is_escaped_and_the_rest_is_not() {
        for (text, shown) in [
            ("plain ä ✓", "plain ä ✓"),
            ("\x1b[31mred\x07", "\\u{1b}[31mred\\u{7}"),
            ("a\nb\tc\r", "a\\nb\\tc\\r"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("", ""),
        ] {
            assert_eq!(Printable::cut(text, 100).to_string(), shown);
        }
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(Printable::cut("äöü", 3).to_string(), "äöü");
        assert_eq!(Printable::cut("äöüß", 3).to_string(), "äöü…");
        assert_eq!(Printable::cut("\n\n", 1).to_string(), "\\n…");
        assert_eq!(Printable::cut("", 0).to_string(), "");
    }

    proptest! {
        #[test]
        fn nothing_that_acts_is_left(text in "(\\PC|\\p{Cc}|\\p{Cf}){0,20}") {
            let shown = Printable::cut(&text, 10).to_string();
            prop_assert!(!shown.contains(acts), "{}", shown);
            let same = text.chars().count() <= 10 && !text.contains(acts);
            prop_assert_eq!(shown == text, same);
        }
    }
}
