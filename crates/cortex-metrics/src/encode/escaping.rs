use std::borrow::Cow;
use std::fmt::Write;

use crate::name::{is_legacy_label, is_legacy_metric};

/// What becomes of a name that is not made of letters, digits and underscores, which is all that scrapers before
/// Prometheus 3 can read.
///
/// A scraper says it in the parameter `escaping` of its `Accept` header. Names that everybody can read are the same in
/// every scheme; others exist only in a registry of [`NameScheme::Utf8`](crate::NameScheme::Utf8). What is escaped is
/// the name of a family, `_total` and `_info` included; `_bucket`, `_sum` and `_count` stay as they are, since in
/// protobuf the scraper itself appends them.
///
/// <https://prometheus.io/docs/instrumenting/escaping_schemes/>; where that leaves a choice, names come out as those of
/// the official clients for Go and Python do.
///
/// # Examples
///
/// ```
/// use cortex_metrics::Escaping;
///
/// assert_eq!(Escaping::Underscores.metric_name("http.requests_total"), "http_requests_total");
/// assert_eq!(Escaping::Dots.metric_name("http.requests_total"), "http_dot_requests__total");
/// assert_eq!(Escaping::Values.metric_name("http.requests_total"), "U__http_2e_requests__total");
/// assert_eq!(Escaping::Dots.metric_name("http_requests_total"), "http_requests_total");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Escaping {
    /// `allow-utf-8`: names as they are, in quotes where they need them.
    AllowUtf8,
    /// `underscores`: an underscore for each character that is not allowed. What scrapers get that say nothing.
    #[default]
    Underscores,
    /// `dots`: `_dot_` for a dot, two underscores for an underscore and for anything else that is not allowed.
    Dots,
    /// `values`: `U__` in front, two underscores for an underscore, and the code point in hexadecimal between
    /// underscores for anything else that is not allowed. It can be undone.
    Values,
}

impl Escaping {
    /// All schemes.
    pub const ALL: [Self; 4] = [Self::AllowUtf8, Self::Underscores, Self::Dots, Self::Values];

    /// Returns the name of the scheme in `Accept` and `Content-Type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllowUtf8 => "allow-utf-8",
            Self::Underscores => "underscores",
            Self::Dots => "dots",
            Self::Values => "values",
        }
    }

    /// Finds the scheme with a name, in lower case.
    pub(crate) fn find(name: &str) -> Option<Self> {
        // Prometheus' page on negotiation spells it so, its code the other way: prometheus/docs issue 2747.
        let name = if name == "allow-utf8" { "allow-utf-8" } else { name };
        Self::ALL.into_iter().find(|escaping| escaping.name() == name)
    }

    /// Returns the name of a metric as this scheme spells it, without quotes.
    pub fn metric_name(self, name: &str) -> Cow<'_, str> {
        if self == Self::AllowUtf8 || is_legacy_metric(name) {
            return Cow::Borrowed(name);
        }
        self.escape(name, |c| c == ':')
    }

    /// Returns the name of a label as this scheme spells it, without quotes; a colon is nothing special there.
    pub fn label_name(self, name: &str) -> Cow<'_, str> {
        if self == Self::AllowUtf8 || is_legacy_label(name) {
            return Cow::Borrowed(name);
        }
        self.escape(name, |_| false)
    }

    fn escape(self, name: &str, allows_too: impl Fn(char) -> bool) -> Cow<'_, str> {
        let mut out = String::with_capacity(2 * name.len());
        if self == Self::Values {
            out.push_str("U__");
        }
        for (at, c) in name.char_indices() {
            let allowed =
                c.is_ascii_alphabetic() || (c.is_ascii_digit() && at > 0) || c == '_' || allows_too(c);
            match (self, c) {
                (Self::Dots | Self::Values, '_') => out.push_str("__"),
                _ if allowed => out.push(c),
                (Self::AllowUtf8, _) => out.push(c),
                (Self::Underscores, _) => out.push('_'),
                (Self::Dots, '.') => out.push_str("_dot_"),
                (Self::Dots, _) => out.push_str("__"),
                (Self::Values, _) => {
                    write!(out, "_{:x}_", u32::from(c)).expect("invariant: a string takes all");
                }
            }
        }
        Cow::Owned(out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn metric_names() {
        for (name, underscores, dots, values) in [
            // What everybody can read stays.
            ("a", "a", "a", "a"),
            ("job:rate_5m", "job:rate_5m", "job:rate_5m", "job:rate_5m"),
            ("a__b", "a__b", "a__b", "a__b"),
            ("http.x", "http_x", "http_dot_x", "U__http_2e_x"),
            ("a.b_total", "a_b_total", "a_dot_b__total", "U__a_2e_b__total"),
            ("a.b:c", "a_b:c", "a_dot_b:c", "U__a_2e_b:c"),
            ("a b", "a_b", "a__b", "U__a_20_b"),
            ("9a", "_a", "__a", "U___39_a"),
            ("a9.", "a9_", "a9_dot_", "U__a9_2e_"),
            ("\u{82b1}\u{706b}", "__", "____", "U___82b1__706b_"),
            ("x\u{1f631}\n\"", "x___", "x______", "U__x_1f631__a__22_"),
        ] {
            let spelled = |escaping: Escaping| escaping.metric_name(name).into_owned();
            assert_eq!(spelled(Escaping::AllowUtf8), name);
            assert_eq!(spelled(Escaping::Underscores), underscores);
            assert_eq!(spelled(Escaping::Dots), dots);
            assert_eq!(spelled(Escaping::Values), values);
        }
    }

    #[test]
    fn label_names_have_no_colon() {
        for (name, underscores, dots, values) in [
            ("_a", "_a", "_a", "_a"),
            ("a:b", "a_b", "a__b", "U__a_3a_b"),
            ("http.route", "http_route", "http_dot_route", "U__http_2e_route"),
        ] {
            let spelled = |escaping: Escaping| escaping.label_name(name).into_owned();
            assert_eq!(spelled(Escaping::AllowUtf8), name);
            assert_eq!(spelled(Escaping::Underscores), underscores);
            assert_eq!(spelled(Escaping::Dots), dots);
            assert_eq!(spelled(Escaping::Values), values);
        }
    }

    #[test]
    fn schemes_are_found_by_name() {
        for escaping in Escaping::ALL {
            assert_eq!(Escaping::find(escaping.name()), Some(escaping));
        }
        assert_eq!(Escaping::find("allow-utf8"), Some(Escaping::AllowUtf8));
        assert_eq!(Escaping::find(""), None);
        assert_eq!(Escaping::find("none"), None);
    }

    /// Undoes `values` by the rules of its page alone.
    fn undo(name: &str) -> Option<String> {
        let Some(inside) = name.strip_prefix("U__") else {
            return Some(name.to_owned());
        };
        let mut out = String::new();
        let mut parts = inside.split('_');
        out.push_str(parts.next()?);
        // Between two underscores: nothing, which is an underscore, or a code point.
        while let Some(code) = parts.next() {
            match code {
                "" => out.push('_'),
                _ => out.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?),
            }
            out.push_str(parts.next()?);
        }
        Some(out)
    }

    proptest! {
        #[test]
        fn escaped_names_are_legacy_ones(name in "(\\PC|[._:\n\"0-9a-f]){1,12}") {
            for escaping in [Escaping::Underscores, Escaping::Dots, Escaping::Values] {
                prop_assert!(is_legacy_metric(&escaping.metric_name(&name)), "{name:?}");
                prop_assert!(is_legacy_label(&escaping.label_name(&name)), "{name:?}");
            }
        }

        #[test]
        fn values_can_be_undone(name in "(\\PC|[._:\n\"0-9a-f]){1,12}") {
            prop_assume!(!name.starts_with("U__"));
            prop_assert_eq!(undo(&Escaping::Values.metric_name(&name)), Some(name.clone()));
            prop_assert_eq!(undo(&Escaping::Values.label_name(&name)), Some(name));
        }
    }
}
