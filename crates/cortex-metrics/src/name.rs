use std::collections::HashMap;

use crate::metric::Kind;

/// The names that families expose, each with the family that has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    owners: HashMap<String, String>,
}

impl Names {
    /// Returns a name that the family would expose although another has it, and that other.
    pub(crate) fn clash(&self, family: &str, kind: Kind) -> Option<(String, String)> {
        let taken = |suffix: &&str| {
            let name = format!("{family}{suffix}");
            self.owners.get(&name).cloned().map(|owner| (name, owner))
        };
        suffixes(kind).iter().find_map(taken)
    }

    pub(crate) fn insert(&mut self, family: &str, kind: Kind) {
        for suffix in suffixes(kind) {
            self.owners.insert(format!("{family}{suffix}"), family.to_owned());
        }
    }
}

/// Whether a metric may bear the name: a letter, then letters, digits and underscores.
///
/// A leading underscore and colons are left to others: colons belong to recording rules.
pub(crate) fn is_metric_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(is_word)
}

/// Whether the text formats allow the name, as they do for more than [`is_metric_name`] does.
pub(crate) fn is_exposed_name(name: &str) -> bool {
    let allowed = |byte| is_word(byte) || byte == b':';
    !name.starts_with(|first: char| first.is_ascii_digit()) && !name.is_empty() && name.bytes().all(allowed)
}

/// Whether a label may bear the name; two leading underscores are reserved for the scraper.
pub(crate) fn is_label_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && !name.starts_with("__")
        && name.bytes().all(is_word)
}

/// Whether the text can end a name as its unit.
pub(crate) fn is_unit(unit: &str) -> bool {
    !unit.is_empty() && unit.bytes().all(is_word)
}

/// Cuts the suffix that the exposition adds by itself, however often it was written.
pub(crate) fn family_name(mut name: &str, kind: Kind) -> &str {
    let suffix = match kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::Histogram | Kind::StateSet | Kind::Unknown => return name,
    };
    while let Some(shorter) = name.strip_suffix(suffix) {
        name = shorter;
    }
    name
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
    fn exposed_names() {
        assert!(is_exposed_name("_a:b1") && is_exposed_name(":"));
        for bad in ["", "1a", "a-b", "\u{e9}"] {
            assert!(!is_exposed_name(bad), "{bad}");
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
}
