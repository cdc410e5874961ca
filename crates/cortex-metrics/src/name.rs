use std::borrow::Cow;
use std::collections::HashMap;

use crate::budget::{element, text};
use crate::metric::Kind;
use crate::{Escaping, NameScheme};

/// The names that families expose, each with the family that has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    scheme: NameScheme,
    owners: HashMap<(Escaping, String), String>,
}

/// A name that two families would expose.
#[derive(Debug, PartialEq)]
pub(crate) struct Clash {
    pub(crate) name: String,
    /// The family that has it.
    pub(crate) with: String,
    /// How the names have to be escaped to be the same.
    pub(crate) escaping: Escaping,
}

impl Names {
    pub(crate) fn new(scheme: NameScheme) -> Self {
        let owners = HashMap::new();
        Self { scheme, owners }
    }

    pub(crate) fn scheme(&self) -> NameScheme {
        self.scheme
    }

    /// Returns a name that the family would expose although another has it.
    pub(crate) fn clash(&self, family: &str, kind: Kind) -> Option<Clash> {
        exposed(self.scheme, family, kind).find_map(|key| {
            let with = self.owners.get(&key)?.clone();
            let (escaping, name) = key;
            Some(Clash { name, with, escaping })
        })
    }

    /// Returns how much memory [`insert`](Self::insert) takes for a family.
    pub(crate) fn cost(scheme: NameScheme, family: &str, kind: Kind) -> usize {
        let entry = element::<((Escaping, String), String)>() + text(family.len());
        exposed(scheme, family, kind)
            .map(|(_, name)| entry + text(name.len()))
            .sum()
    }

    pub(crate) fn insert(&mut self, family: &str, kind: Kind) {
        for key in exposed(self.scheme, family, kind) {
            self.owners.insert(key, family.to_owned());
        }
    }
}

/// Lists the names that a family exposes, with each escaping that may make a difference.
fn exposed(scheme: NameScheme, family: &str, kind: Kind) -> impl Iterator<Item = (Escaping, String)> {
    let escapings = match scheme {
        NameScheme::Legacy => &[Escaping::AllowUtf8][..],
        NameScheme::Utf8 => &Escaping::ALL,
    };
    escapings.iter().flat_map(move |&escaping| {
        let stem = stem(escaping, family, kind);
        let name = move |suffix: &&str| (escaping, format!("{stem}{suffix}"));
        suffixes(kind).iter().map(name)
    })
}

/// Returns the name of a family as an escaping spells it, without the suffix that the type adds, which is escaped with
/// it: of a name that changes, more than the suffix may be missing.
pub(crate) fn stem(escaping: Escaping, family: &str, kind: Kind) -> Cow<'_, str> {
    let suffix = own_suffix(kind);
    if escaping == Escaping::AllowUtf8 || is_legacy_metric(family) {
        return Cow::Borrowed(family);
    }
    let mut name = escaping.metric_name(&format!("{family}{suffix}")).into_owned();
    // What was doubled at its start is part of the stem.
    name.truncate(name.len() - suffix.len());
    Cow::Owned(name)
}

/// Finds two names of labels, which are not the same, that an escaping spells alike.
pub(crate) fn alike<'a>(
    labels: &(impl Iterator<Item = &'a str> + Clone),
) -> Option<(&'a str, &'a str, Escaping)> {
    if labels.clone().all(is_legacy_label) {
        return None;
    }
    Escaping::ALL.into_iter().find_map(|escaping| {
        let mut seen = HashMap::new();
        labels.clone().find_map(|label| {
            let before = seen.insert(escaping.label_name(label), label)?;
            (before != label).then_some((label, before, escaping))
        })
    })
}

/// Whether a metric may bear the name: a letter, then letters, digits and underscores.
///
/// A leading underscore and colons are left to others: colons belong to recording rules.
pub(crate) fn is_metric_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(is_word)
}

/// Whether every scraper can read the name, which is more than [`is_metric_name`] allows.
pub(crate) fn is_legacy_metric(name: &str) -> bool {
    let allowed = |byte| is_word(byte) || byte == b':';
    !name.starts_with(|first: char| first.is_ascii_digit()) && !name.is_empty() && name.bytes().all(allowed)
}

/// Whether a label may bear the name; two leading underscores are reserved for the scraper.
pub(crate) fn is_label_name(name: &str) -> bool {
    is_legacy_label(name) && !name.starts_with("__")
}

/// Whether every scraper can read the name of a label, which may be reserved.
pub(crate) fn is_legacy_label(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') && name.bytes().all(is_word)
}

/// Whether the text can end a name as its unit.
pub(crate) fn is_unit(unit: &str) -> bool {
    !unit.is_empty() && unit.bytes().all(is_word)
}

/// Cuts the suffix that the exposition adds by itself, however often it was written.
pub(crate) fn family_name(mut name: &str, kind: Kind) -> &str {
    let suffix = own_suffix(kind);
    while !suffix.is_empty()
        && let Some(shorter) = name.strip_suffix(suffix)
    {
        name = shorter;
    }
    name
}

/// The suffix that the name has wherever there are no parts of a family: all but `OpenMetrics`.
pub(crate) fn own_suffix(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::Histogram | Kind::StateSet | Kind::Unknown => "",
    }
}

/// The suffixes of the names that a family takes, the family's own included: no two families may share one.
fn suffixes(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Counter => &["", "_total", "_created"],
        Kind::Histogram => &["", "_bucket", "_count", "_sum", "_created"],
        Kind::Info => &["", "_info"],
        Kind::Gauge | Kind::StateSet | Kind::Unknown => &[""],
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_names() {
        for good in ["a", "Http_2", "a__b"] {
            assert!(is_metric_name(good), "{good}");
        }
        for bad in ["", "_a", "2a", "a:b", "a-b", "a b", "a\n", "\u{e9}", "a\u{e9}"] {
            assert!(!is_metric_name(bad), "{bad}");
        }
    }

    #[test]
    fn legacy_names() {
        assert!(is_legacy_metric("_a:b1") && is_legacy_metric(":"));
        assert!(is_legacy_label("__a1") && !is_legacy_label("a:b") && !is_legacy_label("1"));
        for bad in ["", "1a", "a-b", "\u{e9}"] {
            assert!(!is_legacy_metric(bad), "{bad}");
        }
    }

    #[test]
    fn label_names() {
        for good in ["a", "_a", "le", "A_1"] {
            assert!(is_label_name(good), "{good}");
        }
        for bad in ["", "__name__", "1", "a:b", "a\"", "r#type"] {
            assert!(!is_label_name(bad), "{bad}");
        }
        assert!(is_unit("seconds") && !is_unit("") && !is_unit("m/s"));
    }

    #[test]
    fn suffixes_are_cut_where_they_are_added() {
        assert_eq!(family_name("a_total_total", Kind::Counter), "a");
        assert_eq!(family_name("_total", Kind::Counter), "");
        assert_eq!(family_name("a_total", Kind::Gauge), "a_total");
        assert_eq!(family_name("build_info", Kind::Info), "build");
    }

    #[test]
    fn stems_end_where_the_suffix_begins() {
        for (escaping, counter, gauge) in [
            (Escaping::AllowUtf8, "a.b", "a.b"),
            (Escaping::Underscores, "a_b", "a_b"),
            (Escaping::Dots, "a_dot_b_", "a_dot_b"),
            (Escaping::Values, "U__a_2e_b_", "U__a_2e_b"),
        ] {
            assert_eq!(stem(escaping, "a.b", Kind::Counter), counter);
            assert_eq!(stem(escaping, "a.b", Kind::Info), counter);
            assert_eq!(stem(escaping, "a.b", Kind::Gauge), gauge);
            assert_eq!(stem(escaping, "a_b", Kind::Counter), "a_b");
        }
    }

    #[test]
    fn names_clash_as_soon_as_one_escaping_makes_them_the_same() {
        let mut names = Names::new(NameScheme::Utf8);
        names.insert("a.b", Kind::Counter);
        names.insert("U__c_2e_d", Kind::Gauge);
        names.insert("e_dot_f", Kind::Gauge);
        let clash = |family: &str, kind| {
            let Clash { name, with, escaping } = names.clash(family, kind)?;
            Some((name, with, escaping))
        };
        let found = |name: &str, with: &str, escaping| Some((name.to_owned(), with.to_owned(), escaping));
        assert_eq!(
            clash("a.b_total", Kind::Gauge),
            found("a.b_total", "a.b", Escaping::AllowUtf8)
        );
        assert_eq!(
            clash("a_b_total", Kind::Gauge),
            found("a_b_total", "a.b", Escaping::Underscores)
        );
        assert_eq!(
            clash("a-b", Kind::Histogram),
            found("a_b", "a.b", Escaping::Underscores)
        );
        assert_eq!(
            clash("c.d", Kind::Gauge),
            found("U__c_2e_d", "U__c_2e_d", Escaping::Values)
        );
        assert_eq!(
            clash("e.f", Kind::Gauge),
            found("e_dot_f", "e_dot_f", Escaping::Dots)
        );
        assert_eq!(clash("a.c", Kind::Histogram), None);
    }

    #[test]
    fn labels_are_alike_in_some_escaping() {
        let alike = |labels: &[&'static str]| alike(&labels.iter().copied());
        assert_eq!(alike(&["a", "b", "a_b"]), None);
        assert_eq!(alike(&["a", "a"]), None);
        assert_eq!(alike(&["a.b", "a.c", "a.b"]), None);
        assert_eq!(
            alike(&["a.b", "a_b"]),
            Some(("a_b", "a.b", Escaping::Underscores))
        );
        assert_eq!(
            alike(&["a_dot_b", "a.b"]),
            Some(("a.b", "a_dot_b", Escaping::Dots))
        );
        assert_eq!(
            alike(&["a.b", "U__a_2e_b"]),
            Some(("U__a_2e_b", "a.b", Escaping::Values))
        );
    }
}
