use std::fmt::{self, Write};

/// The most bytes of a value that stand in a line, before any are escaped.
pub(super) const VALUE: usize = 64 << 10;

/// Stands at the end of a value that was cut.
const CUT: char = '…';

/// Passes on as much text as a value may have, then a mark, and stops whoever writes more.
#[derive(Debug)]
pub(super) struct Bounded<W> {
    out: W,
    left: usize,
    is_cut: bool,
}

impl<W: Write> Bounded<W> {
    #[inline]
    pub(super) const fn new(out: W) -> Self {
        Self {
            out,
            left: VALUE,
            is_cut: false,
        }
    }

    #[cold]
    fn cut(&mut self, text: &str) -> fmt::Result {
        if !std::mem::replace(&mut self.is_cut, true) {
            self.out.write_str(&text[..text.floor_char_boundary(self.left)])?;
            self.out.write_char(CUT)?;
        }
        self.left = 0;
        Err(fmt::Error)
    }
}

impl<W: Write> Write for Bounded<W> {
    #[inline]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.len() > self.left {
            return self.cut(text);
        }
        self.left -= text.len();
        self.out.write_str(text)
    }
}

/// Returns as much of a text as a value may have, with a mark.
#[cold]
pub(super) fn cut(text: &str) -> String {
    let mut start = text[..text.floor_char_boundary(VALUE)].to_owned();
    start.push(CUT);
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_two_characters_and_ends_with_a_mark() {
        let mut out = String::new();
        let mut bounded = Bounded::new(&mut out);
        bounded.write_str(&"x".repeat(VALUE - 1)).unwrap();
        bounded.write_str("").unwrap();
        assert!(bounded.write_str("é").is_err());
        assert!(bounded.write_str("y").is_err()); // who does not heed the error writes nothing either
        assert_eq!(out, format!("{}…", "x".repeat(VALUE - 1)));

        let (fits, long) = ("x".repeat(VALUE), "é".repeat(VALUE));
        let mut out = String::new();
        assert!(Bounded::new(&mut out).write_str(&fits).is_ok());
        assert_eq!(out, fits);
        let mut out = String::new();
        assert!(write!(Bounded::new(&mut out), "{long}").is_err());
        assert_eq!((out.len(), out.chars().last()), (VALUE + 3, Some('…')));
        assert_eq!(cut(&long), out);
    }
}
