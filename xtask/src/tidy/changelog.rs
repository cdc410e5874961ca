use std::collections::BTreeMap;

use super::crates::Role;
use super::finding::Finding;
use super::tree::Tree;

const FILE: &str = "CHANGELOG.md";

/// Every library has a heading with an entry, and every heading names a package.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let entries = entries(tree.text(FILE));
    let mut findings = Vec::new();
    for package in tree
        .packages
        .iter()
        .filter(|package| Role::of(package).is_library())
    {
        if entries.get(package.name.as_str()).is_none_or(|count| *count == 0) {
            findings.push(Finding::new(FILE, format!("has no entry for {}", package.name)));
        }
    }
    for name in entries.keys() {
        if !tree.packages.iter().any(|package| package.name == *name) {
            findings.push(Finding::new(
                FILE,
                format!("has a heading for {name}, which is no package"),
            ));
        }
    }
    findings
}

/// Counts the entries below each `###` heading, over all versions.
fn entries(text: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    let mut heading = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            heading = Some(name.trim());
            counts.entry(name.trim()).or_insert(0);
        } else if line.starts_with("## ") {
            heading = None;
        } else if line.starts_with("- ")
            && let Some(name) = heading
        {
            *counts.entry(name).or_insert(0) += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::super::finding::texts;
    use super::super::tree::fixture::{library, side, tree};
    use super::*;

    fn says(changelog: &str) -> Vec<String> {
        let mut tree = tree([
            library("cortex-core"),
            library("cortex-trace"),
            side("xtask", "xtask"),
        ]);
        tree.root.insert(FILE.into(), changelog.into());
        texts(&check(&tree))
    }

    #[test]
    fn an_entry_for_each_library_is_right() {
        let text = "# Changelog\n## Unreleased\n### cortex-core\n\n- A.\n\n### cortex-trace\n- B,\n  c.\n### xtask\n";
        assert_eq!(says(text), [""; 0]);
    }

    #[test]
    fn what_is_missing_or_misnamed_is_found() {
        assert_eq!(
            says("### cortex-core\n- A.\n### cortex-trace\n## 0.1\n- C.\n### cortex-tracing\n- B.\n"),
            [
                "CHANGELOG.md: has no entry for cortex-trace",
                "CHANGELOG.md: has a heading for cortex-tracing, which is no package"
            ]
        );
    }
}
