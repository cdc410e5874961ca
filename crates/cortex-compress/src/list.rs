//! Comma-separated header fields (RFC 9110, section 5.6.1).

use http::header::{HeaderMap, HeaderName};

/// Iterates over the elements of all lines of a field that has no quoted strings, without white space and empty
/// elements.
///
/// A stray quote is a part of its element: it must not take the rest of the line with it.
pub(crate) fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).iter();
    trimmed(lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b',')))
}

/// Iterates over the elements of all lines of a field whose arguments may be quoted strings (5.6.4).
pub(crate) fn directives<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).iter();
    trimmed(lines.flat_map(|line| Quoted::new(line.as_bytes(), true)))
}

/// Iterates over the entity tags of a line. They are quoted, but nothing is escaped in them (8.8.3).
pub(crate) fn tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    trimmed(Quoted::new(line, false))
}

fn trimmed<'a>(elements: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    elements
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
}

/// Splits a line at the commas that are not quoted.
struct Quoted<'a> {
    rest: &'a [u8],
    escapes: bool,
}

impl<'a> Quoted<'a> {
    const fn new(line: &'a [u8], escapes: bool) -> Self {
        Self { rest: line, escapes }
    }
}

impl<'a> Iterator for Quoted<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        let end = self.rest.iter().position(|&byte| {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = self.escapes,
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
    use http::header::{CACHE_CONTROL, HeaderValue, VARY};

    fn text<'a>(elements: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
        elements
            .map(|element| String::from_utf8_lossy(element).into_owned())
            .collect()
    }

    #[test]
    fn elements_are_trimmed_and_empty_ones_dropped() {
        let cases: [(&'static str, &[&str]); 6] = [
            ("", &[]),
            (" , \t,,", &[]),
            ("a", &["a"]),
            ("a,b", &["a", "b"]),
            (" a ,\tb\t,", &["a", "b"]),
            ("\"a, b", &["\"a", "b"]),
        ];
        for (line, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.append(VARY, HeaderValue::from_static(line));
            headers.append(VARY, HeaderValue::from_static("last"));
            let expected: Vec<_> = expected.iter().chain([&"last"]).collect();
            assert_eq!(
                text(elements(&headers, &VARY)).iter().collect::<Vec<_>>(),
                expected,
                "{line}"
            );
        }
    }

    #[test]
    fn commas_inside_quotes_do_not_separate() {
        for (line, expected) in [
            ("private=\"a, b\", c", ["private=\"a, b\"", "c"]),
            ("\"a\\\",b\", c", ["\"a\\\",b\"", "c"]),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(line))]);
            assert_eq!(text(directives(&headers, &CACHE_CONTROL)), expected, "{line}");
        }
    }

    #[test]
    fn a_backslash_in_an_entity_tag_escapes_nothing() {
        for (line, expected) in [
            ("\"a\\\", W/\"b\"", ["\"a\\\"", "W/\"b\""]),
            ("\"a,b\" ,, \"c\\\\\"", ["\"a,b\"", "\"c\\\\\""]),
        ] {
            assert_eq!(text(tags(line.as_bytes())), expected, "{line}");
        }
    }
}
