//! Reads the JSON that a collector answers, of which only one part matters.

use super::answer::{Rejection, cut};

/// Deeper than any answer; who nests deeper is not read.
const MAX_DEPTH: usize = 32;

/// Reads an `ExportTraceServiceResponse` or one of logs; one that is malformed says nothing.
pub(super) fn rejection(body: &[u8]) -> Option<Rejection> {
    let mut rejection = Rejection::default();
    let mut reader = Reader { rest: body };
    reader.object(|key, reader| match key {
        b"partialSuccess" if reader.peek() == Some(b'{') => reader.object(|key, reader| match key {
            b"rejectedSpans" | b"rejectedLogRecords" => {
                rejection.items = reader.number()?;
                Some(())
            }
            b"errorMessage" if reader.peek() == Some(b'"') => {
                rejection.message = cut(&reader.string()?);
                Some(())
            }
            _ => reader.skip(0),
        }),
        _ => reader.skip(0),
    })?;
    (rejection.items > 0).then_some(rejection)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// Returns the next byte that is no space.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.rest = &self.rest[1..])
    }

    /// Reads an object; `member` reads the value of each key.
    fn object(&mut self, mut member: impl FnMut(&[u8], &mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.expect(b'}').is_some() {
            return Some(());
        }
        loop {
            self.peek()?;
            let key = self.string()?;
            self.expect(b':')?;
            member(&key, self)?;
            if self.expect(b',').is_none() {
                return self.expect(b'}');
            }
        }
    }

    /// Reads a number, or one as text, as 64-bit integers are written.
    fn number(&mut self) -> Option<u64> {
        let text = match self.peek()? {
            b'"' => self.string()?,
            _ => self.word().to_vec(),
        };
        // Negative ones, and whatever else this is, count for nothing.
        Some(str::from_utf8(&text).ok()?.parse().unwrap_or(0))
    }

    /// Reads a number, `true`, `false` or `null`.
    fn word(&mut self) -> &[u8] {
        let end = self.rest.iter().position(|byte| b",]} \t\r\n".contains(byte));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    fn string(&mut self) -> Option<Vec<u8>> {
        self.expect(b'"')?;
        let mut text = Vec::new();
        loop {
            match self.byte()? {
                b'"' => return Some(text),
                b'\\' => {
                    let character = match self.byte()? {
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        b'b' => '\u{8}',
                        b'f' => '\u{c}',
                        b'u' => self.escape()?,
                        byte => char::from(byte),
                    };
                    text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
                byte => text.push(byte),
            }
        }
    }

    /// Reads what follows `\u`, and the second half of a pair.
    fn escape(&mut self) -> Option<char> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first) && self.rest.starts_with(b"\\u") {
            self.rest = &self.rest[2..];
            let second = self.hex()?.checked_sub(0xdc00).filter(|low| *low < 0x400);
            let code = second.map(|low| 0x10000 + ((first - 0xd800) << 10) + low);
            return Some(
                code.and_then(char::from_u32)
                    .unwrap_or(char::REPLACEMENT_CHARACTER),
            );
        }
        Some(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hex(&mut self) -> Option<u32> {
        let mut code = 0;
        for _ in 0..4 {
            code = code << 4 | char::from(self.byte()?).to_digit(16)?;
        }
        Some(code)
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    /// Reads over a value.
    fn skip(&mut self, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' => self.object(|_, reader| reader.skip(depth + 1)),
            b'[' => {
                self.expect(b'[')?;
                if self.expect(b']').is_some() {
                    return Some(());
                }
                loop {
                    self.skip(depth + 1)?;
                    if self.expect(b',').is_none() {
                        return self.expect(b']');
                    }
                }
            }
            _ => (!self.word().is_empty()).then_some(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_what_was_rejected_among_everything_else() {
        let body = r#" { "other" : [1, -2.5e3, {"rejectedSpans": 9}, [], {}, "]}\"", null],
            "partialSuccess" : { "x": true, "errorMessage": "a\u00e9\ud83d\ude00\n\"", "rejectedSpans" : "7" } } "#;
        let rejection = rejection(body.as_bytes()).unwrap();
        assert_eq!((rejection.items, rejection.message.as_str()), (7, "aé😀\n\""));
    }

    #[test]
    fn numbers_may_be_numbers() {
        let read = |body: &str| rejection(body.as_bytes()).map(|rejection| rejection.items);
        assert_eq!(read(r#"{"partialSuccess":{"rejectedLogRecords":3}}"#), Some(3));
        for nothing in [
            "",
            "{}",
            "null",
            r#"{"partialSuccess":null}"#,
            r#"{"partialSuccess":{}}"#,
            r#"{"partialSuccess":{"rejectedSpans":"0","errorMessage":"well"}}"#,
            r#"{"partialSuccess":{"rejectedSpans":-3}}"#,
            r#"{"partialSuccess":{"rejectedSpans":3"#,
        ] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
        let deep = format!(
            r#"{{"a":{}1{},"partialSuccess":{{"rejectedSpans":3}}}}"#,
            "[".repeat(99),
            "]".repeat(99)
        );
        assert_eq!(read(&deep), None);
        let endless = format!("{{\"a\":{}", "[".repeat(1 << 16));
        assert_eq!(read(&endless), None);
    }

    proptest! {
        #[test]
        fn reads_what_others_write(items in 1_u64.., message in ".{0,60}", other in ".{0,20}") {
            let body = json!({
                &other: [&other, {"a": &other}],
                "partialSuccess": {"rejectedSpans": items.to_string(), "errorMessage": &message},
            });
            let expected = Rejection { items, message: cut(message.as_bytes()) };
            if other != "partialSuccess" {
                prop_assert_eq!(rejection(body.to_string().as_bytes()), Some(expected));
            }
        }

        #[test]
        fn nothing_is_too_strange(body in "[{}\\[\\]\":,\\\\u0-9a-z]{0,64}") {
            let _ = rejection(body.as_bytes());
        }
    }
}
