use std::fmt::{Display, Write};

use crate::problem::write_text;

/// Writes one JSON object, a member at a time.
pub(super) struct Object(String);

impl Object {
    pub(super) fn new() -> Self {
        Self("{".into())
    }

    /// Writes the name and hands out the place of the value.
    pub(super) fn member(&mut self, name: &str) -> &mut String {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        string(&mut self.0, name);
        self.0.push(':');
        &mut self.0
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        string(self.member(name), value);
    }

    /// Writes what is JSON as it is: a number, a boolean, an object.
    pub(super) fn literal(&mut self, name: &str, value: impl Display) {
        write!(self.member(name), "{value}").expect("invariant: a string takes all that is written");
    }

    pub(super) fn texts<'t>(&mut self, name: &str, values: impl IntoIterator<Item = &'t str>) {
        list(self.member(name), values, string);
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// Writes an array of what `write` makes of the items.
pub(super) fn list<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
    out.push(']');
}

fn string(out: &mut String, value: &str) {
    write_text(value, out);
}

/// The value of a member of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    Text(String),
}

/// The most members that a request may have.
const MEMBERS: usize = 16;

/// Reads an object without objects and arrays inside, which is all that requests are made of.
///
/// # Errors
///
/// It is no such object, has too many members or one twice: says what was expected, and at which byte.
pub(super) fn parse(input: &[u8]) -> Result<Vec<(String, Scalar)>, String> {
    let input =
        std::str::from_utf8(input).map_err(|error| format!("UTF-8 at byte {}", error.valid_up_to()))?;
    let mut parser = Parser { input, at: 0 };
    parser
        .object()
        .map_err(|what| format!("{what} at byte {}", parser.at))
}

struct Parser<'a> {
    input: &'a str,
    at: usize,
}

type Expected = &'static str;

impl Parser<'_> {
    fn object(&mut self) -> Result<Vec<(String, Scalar)>, Expected> {
        let mut members: Vec<(String, Scalar)> = Vec::new();
        self.expect("{", "an object")?;
        if !self.take("}") {
            loop {
                self.blanks();
                let name = self.string()?;
                if members.iter().any(|(other, _)| *other == name) {
                    return Err("each member once");
                }
                if members.len() == MEMBERS {
                    return Err("at most 16 members");
                }
                self.expect(":", "a colon")?;
                members.push((name, self.scalar()?));
                if self.take("}") {
                    break;
                }
                self.expect(",", "a comma or the end of the object")?;
            }
        }
        self.blanks();
        if self.at < self.input.len() {
            return Err("nothing after the object");
        }
        Ok(members)
    }

    fn scalar(&mut self) -> Result<Scalar, Expected> {
        self.blanks();
        for (word, value) in [
            ("null", Scalar::Null),
            ("true", Scalar::Bool(true)),
            ("false", Scalar::Bool(false)),
        ] {
            if self.take(word) {
                return Ok(value);
            }
        }
        if self.rest().starts_with('"') {
            return self.string().map(Scalar::Text);
        }
        let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let length = self.rest().bytes().take_while(|byte| is_part(byte)).count();
        let number = &self.rest()[..length];
        if !is_number(number) {
            return Err("a string, a number, true, false or null");
        }
        let number = number.to_owned();
        self.at += length;
        Ok(Scalar::Number(number))
    }

    fn string(&mut self) -> Result<String, Expected> {
        let mut text = String::new();
        self.expect("\"", "a string")?;
        loop {
            let character = self.next("the end of the string")?;
            match character {
                '"' => return Ok(text),
                '\\' => text.push(self.escaped()?),
                '\0'..='\x1f' => return Err("an escape instead of a control character"),
                other => text.push(other),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, Expected> {
        Ok(match self.next("an escape")? {
            plain @ ('"' | '\\' | '/') => plain,
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = self.hex()?;
                let code = if (0xd800..0xdc00).contains(&unit) && self.rest().starts_with("\\u") {
                    self.at += 2;
                    let low = self.hex()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err("the second half of a character");
                    }
                    0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00)
                } else {
                    unit
                };
                char::from_u32(code).ok_or("a character, not half of one")?
            }
            _ => return Err("an escape that JSON has"),
        })
    }

    fn hex(&mut self) -> Result<u32, Expected> {
        const WHAT: Expected = "four hexadecimal digits";
        let digits = self.rest().get(..4).ok_or(WHAT)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(WHAT);
        }
        let unit = u32::from_str_radix(digits, 16).map_err(|_| WHAT)?;
        self.at += 4;
        Ok(unit)
    }

    fn next(&mut self, what: Expected) -> Result<char, Expected> {
        let character = self.rest().chars().next().ok_or(what)?;
        self.at += character.len_utf8();
        Ok(character)
    }

    fn expect(&mut self, token: &str, what: Expected) -> Result<(), Expected> {
        self.take(token).then_some(()).ok_or(what)
    }

    fn take(&mut self, token: &str) -> bool {
        self.blanks();
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn rest(&self) -> &str {
        &self.input[self.at..]
    }
}

/// RFC 8259, section 6.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        None => (unsigned, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction) && digits(exponent) && (whole == "0" || !whole.starts_with('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_json_is() {
        let text = |text: &str| Scalar::Text(text.into());
        let number = |number: &str| Scalar::Number(number.into());
        let table: [(&str, &[(&str, Scalar)]); 6] = [
            ("{}", &[]),
            (" \r\n{ \t} ", &[]),
            (
                r#"{"filter": "info,my=debug", "for_seconds":600}"#,
                &[("filter", text("info,my=debug")), ("for_seconds", number("600"))],
            ),
            (
                r#"{"a":null,"b":true,"c":false,"d":-1.5e+3}"#,
                &[
                    ("a", Scalar::Null),
                    ("b", Scalar::Bool(true)),
                    ("c", Scalar::Bool(false)),
                    ("d", number("-1.5e+3")),
                ],
            ),
            (
                r#"{"ä":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00"}"#,
                &[("ä", text("\"\\/\x08\x0c\n\r\té😀"))],
            ),
            (r#"{"" : "" }"#, &[("", text(""))]),
        ];
        for (input, expected) in table {
            let found = parse(input.as_bytes()).unwrap();
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, value)| ((*name).into(), value.clone()))
                .collect();
            assert_eq!(found, expected, "{input}");
        }
    }

    #[test]
    fn refuses_everything_else_and_says_where() {
        let many: Vec<_> = (0..17).map(|index| format!(r#""{index}":0"#)).collect();
        let many = format!("{{{}}}", many.join(","));
        let table = [
            ("", "an object at byte 0"),
            ("[]", "an object"),
            ("{", "a string"),
            (r#"{"a"}"#, "a colon at byte 4"),
            (r#"{"a":}"#, "a string, a number"),
            (r#"{"a":1,}"#, "a string at byte 7"),
            (r#"{"a":1 "b":2}"#, "a comma"),
            (r#"{"a":1}{}"#, "nothing after"),
            (r#"{"a":1,"a":2}"#, "each member once"),
            (r#"{"a":{}}"#, "a string, a number"),
            (r#"{"a":[1]}"#, "a string, a number"),
            (r#"{"a":01}"#, "a string, a number"),
            (r#"{"a":1.}"#, "a string, a number"),
            (r#"{"a":"x"#, "the end of the string"),
            (r#"{"a":"\x"}"#, "an escape that"),
            (r#"{"a":"\u12"}"#, "four hexadecimal"),
            (r#"{"a":"\u+123"}"#, "four hexadecimal"),
            (r#"{"a":"\ud800"}"#, "half"),
            (r#"{"a":"\ud800\u0041"}"#, "half"),
            ("{\"a\":\"\n\"}", "control"),
            (&many, "at most 16"),
        ];
        for (input, expected) in table {
            let error = parse(input.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{input}: {error}");
        }
        assert!(parse(b"{\"\xff\":0}").unwrap_err().contains("UTF-8 at byte 2"));
    }

    #[test]
    fn what_is_written_is_json_and_no_html() {
        let mut object = Object::new();
        object.text("a \"b\"", "line\nback\\slash \u{1} <script>&\u{2028}é");
        object.literal("n", 1.5);
        object.texts("list", ["x", "y"]);
        let written = object.finish();
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read["a \"b\""], "line\nback\\slash \u{1} <script>&\u{2028}é");
        assert_eq!((&read["n"], &read["list"]), (&1.5.into(), &vec!["x", "y"].into()));
        assert!(!written.contains(['<', '>', '&']), "{written}");
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_too_strange_and_nothing_wrong_is_taken(input in r#"[{}\[\]":,\\u0-9a-e.+ -]{0,24}"#) {
            if parse(input.as_bytes()).is_ok() {
                let read: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(&input);
                // 1e999 is JSON, but no number that serde_json can hold.
                proptest::prop_assert!(read.is_ok() || input.contains(['e', 'E']), "{input}");
            }
        }
    }
}
