use crate::Escaping;
use crate::name::{is_label_name, is_metric_name};

/// Which names a [`Registry`](crate::Registry) takes.
///
/// In both, two underscores at the start of a label are reserved for the scraper, `le` for the buckets of a histogram,
/// and units and the suffixes that types add are the same.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{ContentType, Counter, DynamicFamily, Escaping, Format, NameScheme, Registry};
///
/// let registry = Registry::with_names(NameScheme::Utf8);
/// let requests = DynamicFamily::new(["http.route"], Counter::default);
/// registry.register("http.requests", "Requests answered.", requests.clone())?;
/// requests.with(["/"], |count| count.inc());
///
/// let mut out = Vec::new();
/// registry.encode(ContentType { format: Format::Text100, escaping: Escaping::AllowUtf8 }, &mut out);
/// assert!(out.ends_with(b"{\"http.requests_total\",\"http.route\"=\"/\"} 1\n"));
/// // Whoever does not say that it can read this gets what everybody can.
/// assert!(registry.to_text().ends_with("http_requests_total{http_route=\"/\"} 1\n"));
/// # Ok::<(), cortex_metrics::RegisterError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NameScheme {
    /// Letters, digits and underscores, which every scraper can read.
    #[default]
    Legacy,
    /// Any text but none, and without NUL, which Prometheus can read since its version 3; others get it escaped, by the
    /// [`Escaping`] they ask for.
    ///
    /// No two metrics, and no two labels of a metric, may be the same under any of the schemes: `a.b` beside `a_b` is
    /// refused. Nor may a label be reserved under one, that is, start with two underscores. [`Escaping::Dots`] makes
    /// two of any character that it does not know: so a label starts with a letter from A to Z or a dot, or is one of
    /// [`Legacy`](Self::Legacy).
    Utf8,
}

impl NameScheme {
    /// Whether a metric may bear the name.
    pub(crate) fn allows_metric(self, name: &str) -> bool {
        match self {
            Self::Legacy => is_metric_name(name),
            Self::Utf8 => is_text(name),
        }
    }

    /// Whether a label may bear the name.
    pub(crate) fn allows_label(self, name: &str) -> bool {
        match self {
            Self::Legacy => is_label_name(name),
            // What is reserved must not be made up of others either.
            Self::Utf8 => {
                let is_reserved = |escaping: &Escaping| escaping.label_name(name).starts_with("__");
                is_text(name) && !Escaping::ALL.iter().any(is_reserved)
            }
        }
    }

    /// Whether a state set may bear the name, which is that of a label, too.
    pub(crate) fn allows_state_set(self, name: &str) -> bool {
        // Colons are legacy in names of metrics, not in those of labels: escaped, the two would differ.
        self.allows_label(name) && !name.contains(':')
    }
}

/// Whether it is something that Prometheus reads to its end, which it takes NUL for.
fn is_text(name: &str) -> bool {
    !name.is_empty() && !name.contains('\0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legacy_names_are_words() {
        let names = NameScheme::default();
        assert!(names.allows_metric("a_1") && names.allows_label("_a") && names.allows_state_set("a"));
        for bad in ["", "a.b", "a:b", "\u{e9}"] {
            assert!(!names.allows_metric(bad) && !names.allows_label(bad), "{bad:?}");
        }
    }

    #[test]
    fn any_text_is_a_name_but_what_is_reserved() {
        let names = NameScheme::Utf8;
        for good in [
            "a",
            "_a",
            "_",
            "a.b",
            ".a",
            ".1",
            "a b",
            "a__",
            "T\u{b0}",
            "t\u{6e29}\u{5ea6}",
            "a\n\"\\{}",
        ] {
            assert!(names.allows_metric(good) && names.allows_label(good), "{good:?}");
            assert!(names.allows_state_set(good), "{good:?}");
        }
        assert!(names.allows_metric("a:b") && names.allows_label("a:b") && !names.allows_state_set("a:b"));
        for bad in ["", "\0", "a\0b"] {
            assert!(!names.allows_metric(bad) && !names.allows_label(bad), "{bad:?}");
        }
        for (reserved, escaping) in [
            ("__name__", Escaping::AllowUtf8),
            ("__x", Escaping::AllowUtf8),
            ("..name..", Escaping::Underscores),
            ("._x", Escaping::Underscores),
            ("_.x", Escaping::Underscores),
            ("\u{6e29}\u{5ea6}", Escaping::Underscores),
            ("-name-", Escaping::Dots),
            ("\u{e9}t\u{e9}", Escaping::Dots),
            ("1", Escaping::Dots),
            ("_x.y", Escaping::Dots),
        ] {
            assert!(
                !names.allows_label(reserved) && !names.allows_state_set(reserved),
                "{reserved:?}"
            );
            assert!(names.allows_metric(reserved), "{reserved:?}");
            assert!(escaping.label_name(reserved).starts_with("__"), "{reserved:?}");
        }
    }
}
