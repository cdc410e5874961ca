use std::ops::Range;

use super::number::push_float;
use crate::metric::Kind;
use crate::{Format, HistogramSnapshot};

/// What stands above the series of a family.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header<'a> {
    pub(crate) name: &'a str,
    pub(crate) kind: Kind,
    pub(crate) unit: Option<&'a str>,
    pub(crate) help: &'a str,
}

impl Header<'_> {
    pub(crate) fn write(&self, format: Format, out: &mut String) {
        match format {
            Format::Text004 => {
                // This format knows names of series only.
                let (suffix, kind) = match self.kind {
                    Kind::Counter => ("_total", "counter"),
                    Kind::Gauge => ("", "gauge"),
                    Kind::Histogram => ("", "histogram"),
                    Kind::Info => ("_info", "gauge"),
                    Kind::Unknown => ("", "untyped"),
                };
                if !self.help.is_empty() {
                    out.extend(["# HELP ", self.name, suffix, " "]);
                    escape(out, self.help, false);
                    out.push('\n');
                }
                out.extend(["# TYPE ", self.name, suffix, " ", kind, "\n"]);
            }
            Format::OpenMetrics1 => {
                let kind = match self.kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Histogram => "histogram",
                    Kind::Info => "info",
                    Kind::Unknown => "unknown",
                };
                out.extend(["# TYPE ", self.name, " ", kind, "\n"]);
                if let Some(unit) = self.unit {
                    out.extend(["# UNIT ", self.name, " ", unit, "\n"]);
                }
                if !self.help.is_empty() {
                    out.extend(["# HELP ", self.name, " "]);
                    escape(out, self.help, true);
                    out.push('\n');
                }
            }
        }
    }
}

/// Writes the lines of one series, or of many through [`labelled`](Self::labelled).
pub(crate) struct Series<'a> {
    format: Format,
    out: &'a mut String,
    name: &'a str,
    /// The labels of the sub-registry, rendered.
    scope: &'a str,
    /// The labels of the series itself, rendered.
    labels: &'a str,
}

impl<'a> Series<'a> {
    pub(crate) fn new(format: Format, out: &'a mut String, name: &'a str, scope: &'a str) -> Self {
        let labels = "";
        Self {
            format,
            out,
            name,
            scope,
            labels,
        }
    }

    pub(crate) fn labelled<'s>(&'s mut self, labels: &'s str) -> Series<'s> {
        Series {
            format: self.format,
            out: self.out,
            name: self.name,
            scope: self.scope,
            labels,
        }
    }

    pub(crate) fn integer(&mut self, suffix: &str, value: impl itoa::Integer) {
        self.begin(suffix);
        self.out.push_str(itoa::Buffer::new().format(value));
        self.out.push('\n');
    }

    pub(crate) fn float(&mut self, suffix: &str, value: f64) {
        self.begin(suffix);
        push_float(self.out, value);
        self.out.push('\n');
    }

    pub(crate) fn histogram(&mut self, snapshot: &HistogramSnapshot) {
        let mut number = itoa::Buffer::new();
        let mut cumulative = 0_u64;
        let mut start: Option<Range<usize>> = None;
        for (tail, count) in snapshot.tails().iter().zip(snapshot.counts()) {
            // All lines start alike: the start is copied from the first.
            match &start {
                Some(start) => self.out.extend_from_within(start.clone()),
                None => start = Some(self.open("_bucket")),
            }
            cumulative += count;
            self.out.extend([&**tail, number.format(cumulative), "\n"]);
        }
        // OpenMetrics takes a sum for one that may fall where a bound is negative, and forbids it and its count.
        let has_negative = snapshot.bounds().first().is_some_and(|bound| *bound < 0.0);
        if !(has_negative && self.format == Format::OpenMetrics1) {
            self.float("_sum", snapshot.sum());
            self.integer("_count", cumulative);
        }
    }

    /// Writes everything before the value.
    fn begin(&mut self, suffix: &str) {
        let comma = if self.scope.is_empty() || self.labels.is_empty() {
            ""
        } else {
            ","
        };
        let (open, close) = match self.scope.len() + self.labels.len() {
            0 => ("", " "),
            _ => ("{", "} "),
        };
        self.out
            .extend([self.name, suffix, open, self.scope, comma, self.labels, close]);
    }

    /// Writes everything before one more label, and returns where it stands.
    fn open(&mut self, suffix: &str) -> Range<usize> {
        let start = self.out.len();
        self.out.extend([self.name, suffix, "{"]);
        for labels in [self.scope, self.labels]
            .into_iter()
            .filter(|labels| !labels.is_empty())
        {
            self.out.extend([labels, ","]);
        }
        start..self.out.len()
    }
}

/// Appends a label to rendered ones.
pub(crate) fn push_label(out: &mut String, name: &str, value: &str) {
    open_label(out, name);
    escape(out, value, true);
    out.push('"');
}

/// Appends a label to rendered ones, up to its value.
pub(crate) fn open_label(out: &mut String, name: &str) {
    let separator = if out.is_empty() { "" } else { "," };
    out.extend([separator, name, "=\""]);
}

/// Appends text with backslashes, newlines and, if told so, quotes escaped.
pub(crate) fn escape(out: &mut String, text: &str, quotes: bool) {
    let mut rest = text;
    while let Some(at) = rest.find(|c| matches!(c, '\\' | '\n') || (quotes && c == '"')) {
        let escaped = match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'\n' => "\\n",
            _ => "\\\"",
        };
        out.extend([&rest[..at], escaped]);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// Undoes [`escape`]; a backslash that escapes nothing stands for itself.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let mut ahead = chars.clone();
        match (c, ahead.next()) {
            ('\\', Some(escaped @ ('\\' | '"'))) => out.push(escaped),
            ('\\', Some('n')) => out.push('\n'),
            _ => {
                out.push(c);
                continue;
            }
        }
        chars = ahead;
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_escaped() {
        let escaped = |text, quotes| {
            let mut out = String::new();
            escape(&mut out, text, quotes);
            out
        };
        assert_eq!(escaped("a\\b\nc\"d\u{e9}", true), "a\\\\b\\nc\\\"d\u{e9}");
        assert_eq!(escaped("a\\b\nc\"d", false), "a\\\\b\\nc\"d");
        assert_eq!(unescape(r"a\b\"), r"a\b\");
    }

    proptest! {
        #[test]
        fn unescape_undoes_escape(text in "[\\\\n\"\na\u{e9}]{0,12}", quotes: bool) {
            let mut out = String::new();
            escape(&mut out, &text, quotes);
            prop_assert!(!out.contains('\n'));
            prop_assert_eq!(unescape(&out), text);
        }
    }
}
