//! Comma-separated header fields (RFC 9110, section 5.6.1).

use http::header::{HeaderMap, HeaderName};

/// Iterates over the elements of all lines of a field, without white space and empty elements.
pub(crate) fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .iter()
        .flat_map(|line| split(line.as_bytes()))
}

/// Iterates over the elements of one line. A comma inside a quoted string does not separate.
pub(crate) fn split(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    Split { rest: line }
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

struct Split<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        let end = self.rest.iter().position(|&byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b',' => return !quoted,
                _ => {}
            }
            false
        });
        let (element, rest) = match end {
            Some(at) => (&self.rest[..at], &self.rest[at + 1..]),
            None => (self.rest, &[][..]),
        };
        self.rest = rest;
        Some(element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_trimmed_and_empty_ones_dropped() {
        let cases: [(&str, &[&str]); 7] = [
            ("", &[]),
            (" , \t,,", &[]),
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            (" a ,\tb\t,", &["a", "b"]),
            (r#"private="a, b", c"#, &[r#"private="a, b""#, "c"]),
            (r#""a\",b", c"#, &[r#""a\",b""#, "c"]),
        ];
        for (line, expected) in cases {
            let found: Vec<_> = split(line.as_bytes()).collect();
            let expected: Vec<_> = expected.iter().map(|element| element.as_bytes()).collect();
            assert_eq!(found, expected, "{line}");
        }
    }
}
