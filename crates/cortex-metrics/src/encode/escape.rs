use std::borrow::Cow;

use crate::name::is_legacy_label;

/// Appends text with backslashes, newlines and, if told so, quotes escaped.
///
/// NUL is replaced: both text formats allow it, but Prometheus takes it for the end and refuses the whole exposition.
pub(crate) fn escape(out: &mut String, text: &str, quotes: bool) {
    let mut rest = text;
    while let Some(at) = rest.find(|c| matches!(c, '\\' | '\n' | '\0') || (quotes && c == '"')) {
        let escaped = match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\0' => "\u{fffd}",
            _ => "\\\"",
        };
        out.extend([&rest[..at], escaped]);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// Undoes [`escape`]; a backslash that escapes nothing stands for itself.
pub(crate) fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
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
    Cow::Owned(out)
}

/// Appends a label to rendered ones.
pub(crate) fn push_label(out: &mut String, name: &str, value: &str) {
    open_label(out, name);
    escape(out, value, true);
    out.push('"');
}

/// Appends a label to rendered ones, up to its value; a name that not every scraper can read is put in quotes.
pub(crate) fn open_label(out: &mut String, name: &str) {
    let separator = if out.is_empty() { "" } else { "," };
    if is_legacy_label(name) {
        out.extend([separator, name, "=\""]);
    } else {
        out.extend([separator, "\""]);
        escape(out, name, true);
        out.push_str("\"=\"");
    }
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
        for quotes in [false, true] {
            assert_eq!(escaped("\0a\0\u{1}", quotes), "\u{fffd}a\u{fffd}\u{1}");
        }
        assert_eq!(unescape(r"a\b\"), r"a\b\");
    }

    #[test]
    fn names_are_quoted_where_they_must() {
        let mut out = String::new();
        for name in ["_a", "a.b", "1", "x\n\"\\"] {
            push_label(&mut out, name, "\"");
        }
        assert_eq!(out, r#"_a="\"","a.b"="\"","1"="\"","x\n\"\\"="\"""#);
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
