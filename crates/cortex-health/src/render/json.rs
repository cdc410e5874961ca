use super::time::Rfc3339;
use std::fmt::{Display, Write};
use std::time::{Duration, SystemTime};

/// Writes a JSON object, a member at a time.
pub(super) struct Object<'a> {
    out: &'a mut String,
    empty: bool,
}

impl<'a> Object<'a> {
    pub(super) fn open(out: &'a mut String) -> Self {
        out.push('{');
        Self { out, empty: true }
    }

    pub(super) fn close(self) {
        self.out.push('}');
    }

    /// Writes the name and hands out the place of the value.
    pub(super) fn member(&mut self, name: &str) -> &mut String {
        if !std::mem::take(&mut self.empty) {
            self.out.push(',');
        }
        string(self.out, name);
        self.out.push(':');
        self.out
    }

    pub(super) fn string(&mut self, name: &str, value: &str) {
        string(self.member(name), value);
    }

    pub(super) fn time(&mut self, name: &str, value: SystemTime) {
        let out = self.member(name);
        out.push('"');
        Rfc3339(value).push_to(out);
        out.push('"');
    }

    /// Writes milliseconds, to the microsecond.
    pub(super) fn millis(&mut self, name: &str, value: Duration) {
        let micros = value.as_micros();
        self.literal(name, format_args!("{}.{:03}", micros / 1000, micros % 1000));
    }

    /// Writes a number that is finite; there is no other in JSON.
    pub(super) fn number(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.literal(name, value);
        }
    }

    pub(super) fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.literal(name, true);
        }
    }

    /// Writes an array of names, unless there are none.
    pub(super) fn names<'n>(&mut self, name: &str, names: impl IntoIterator<Item = &'n str>) {
        self.list(name, names, string);
    }

    /// Writes an array of what `write` makes of the items, unless there are none.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut String, T),
    ) {
        let mut items = items.into_iter().peekable();
        if items.peek().is_none() {
            return;
        }
        let out = self.member(name);
        for (index, item) in items.enumerate() {
            out.push(if index == 0 { '[' } else { ',' });
            write(out, item);
        }
        out.push(']');
    }

    /// Writes an object of texts, unless there are none.
    pub(super) fn texts<'t>(&mut self, name: &str, texts: impl ExactSizeIterator<Item = (&'t str, &'t str)>) {
        if texts.len() == 0 {
            return;
        }
        let mut object = Object::open(self.member(name));
        for (key, text) in texts {
            object.string(key, text);
        }
        object.close();
    }

    fn literal(&mut self, name: &str, value: impl Display) {
        let _ = write!(self.member(name), "{value}"); // a String takes everything
    }
}

/// Writes a string with its quotes (RFC 8259, section 7).
pub(super) fn string(out: &mut String, value: &str) {
    out.push('"');
    // Most often there is nothing to escape. Without a way out of its middle this loop takes many bytes at once.
    let is_special = |byte| byte < b' ' || byte == b'"' || byte == b'\\';
    if value.bytes().fold(false, |any, byte| any | is_special(byte)) {
        escaped(out, value);
    } else {
        out.push_str(value);
    }
    out.push('"');
}

fn escaped(out: &mut String, value: &str) {
    let mut copied = 0;
    // What needs an escape is ASCII, so that everything between is whole characters.
    for (at, byte) in value.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..b' ' => "",
            _ => continue,
        };
        out.push_str(&value[copied..at]);
        copied = at + 1;
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&value[copied..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn strings_read_back(value in any::<String>()) {
            let mut out = String::new();
            string(&mut out, &value);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), value);
        }
    }

    #[test]
    fn objects_read_back() {
        let mut out = String::new();
        let mut object = Object::open(&mut out);
        object.string("text", "\u{1}\"\\\n");
        object.millis("long", Duration::from_micros(1_234_567));
        object.millis("round", Duration::from_millis(3));
        object.flag("yes", true);
        object.number("number", 0.25);
        object.number("not a number", f64::NAN);
        object.flag("no", false);
        object.names("none", []);
        object.names("names", ["a", "b"]);
        Object::open(object.member("inner")).close();
        object.close();
        let expected = r#"{"text":"\u0001\"\\\n","long":1234.567,"round":3.000,"yes":true,"number":0.25,"names":["a","b"],"inner":{}}"#;
        assert_eq!(out, expected);
        assert!(serde_json::from_str::<serde_json::Value>(&out).is_ok());
    }
}
