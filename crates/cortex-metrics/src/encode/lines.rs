use super::encoder::Number;
use super::number::{push_float, push_signed, push_unsigned};

/// Writes series that are a line each and nothing but a number, without asking again for each how lines start.
pub(crate) struct Lines<'a> {
    pub(super) out: &'a mut Vec<u8>,
    /// The name, its suffix, the brace, and the labels of the sub-registry with a comma; if the name is in quotes, the
    /// brace comes first.
    pub(super) start: &'a str,
    /// What stands there instead before the blank, if the series has no labels of its own.
    pub(super) bare: [&'a str; 2],
}

/// The longest number: a float or `i64::MIN`.
const DIGITS: usize = 32;

impl Lines<'_> {
    #[inline]
    pub(crate) fn push(&mut self, labels: &[u8], number: Number) {
        self.out.reserve(self.start.len() + labels.len() + DIGITS);
        if labels.is_empty() {
            for part in self.bare {
                self.out.extend_from_slice(part.as_bytes());
            }
            self.out.push(b' ');
        } else {
            self.out.extend_from_slice(self.start.as_bytes());
            self.out.extend_from_slice(labels);
            self.out.extend_from_slice(b"} ");
        }
        match number {
            Number::Unsigned(value) => push_unsigned(self.out, value),
            Number::Signed(value) => push_signed(self.out, value),
            Number::Float(value) => push_float(self.out, value),
        }
        self.out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{Encoder, Header, Labels, Text, Value};
    use crate::metric::Kind;

    /// Writes series in one of the two ways.
    fn written(
        kind: Kind,
        has_utf8_name: bool,
        scope: &str,
        numbers: &[(&str, Number)],
        shortly: bool,
    ) -> String {
        let mut out = Vec::new();
        let mut text = Text::open_metrics(&mut out, false);
        text.begin(&Header {
            name: if has_utf8_name { "the things" } else { "things" },
            kind,
            unit: None,
            help: "",
            has_utf8_name,
            has_utf8_labels: false,
        });
        if shortly {
            let mut lines = text.lines(kind, scope).unwrap();
            for (labels, number) in numbers {
                lines.push(labels.as_bytes(), *number);
            }
        } else {
            for (own, number) in numbers {
                let value = match kind {
                    Kind::Counter => Value::Counter {
                        value: *number,
                        exemplar: None,
                        created: None,
                    },
                    _ => Value::Gauge(*number),
                };
                text.put(Labels { scope, own }, &value);
            }
        }
        text.end();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_what_the_long_way_writes() {
        let numbers = [
            ("a=\"b\"", Number::Unsigned(u64::MAX)),
            ("", Number::Signed(i64::MIN)),
            ("a=\"\u{e9}\",b=\"\"", Number::Float(f64::NEG_INFINITY)),
            ("", Number::Float(-f64::MIN_POSITIVE)),
        ];
        for kind in [Kind::Counter, Kind::Gauge] {
            for (scope, has_utf8_name) in [
                ("", false),
                ("zone=\"eu\"", false),
                ("", true),
                ("z=\"eu\"", true),
            ] {
                let [short, long] =
                    [true, false].map(|shortly| written(kind, has_utf8_name, scope, &numbers, shortly));
                assert_eq!(short, long);
                assert_eq!(short.lines().count(), 5);
                assert_eq!(short.contains("{\"the things"), has_utf8_name);
            }
        }
    }

    #[test]
    fn some_series_have_more_than_a_number() {
        let mut out = Vec::new();
        assert!(
            Text::open_metrics(&mut out, true)
                .lines(Kind::Counter, "")
                .is_none()
        );
        assert!(
            Text::open_metrics(&mut out, true)
                .lines(Kind::Gauge, "")
                .is_some()
        );
        assert!(Text::prometheus(&mut out).lines(Kind::Histogram, "").is_none());
    }
}
