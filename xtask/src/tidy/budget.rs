use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::finding::Finding;
use crate::project::Project;

/// How many other crates a crate may bring, with its features off, with all of them, or with some.
///
/// Raising a number is one line with its reason.
struct Budget {
    package: &'static str,
    features: Features,
    max: usize,
}

#[derive(Clone, Copy)]
enum Features {
    None,
    All,
    Some(&'static str),
}

const fn budget(package: &'static str, features: Features, max: usize) -> Budget {
    Budget {
        package,
        features,
        max,
    }
}

const BUDGETS: [Budget; 20] = [
    budget("cortex-core", Features::None, 0),
    budget("cortex-core", Features::All, 0),
    budget("cortex-metrics", Features::None, 24),
    budget("cortex-metrics", Features::All, 80),
    budget("cortex-trace", Features::None, 12),
    budget("cortex-trace", Features::All, 130),
    // 12, not 5: `Health::respond` returns an `http::Response` (4), hung checks are told by `tracing` (3).
    budget("cortex-health", Features::None, 12),
    budget("cortex-health", Features::All, 50),
    budget("cortex-resilience", Features::None, 6),
    budget("cortex-resilience", Features::All, 60),
    budget("cortex-compress", Features::None, 28),
    budget("cortex-compress", Features::All, 60),
    budget("cortex-workers", Features::None, 1),
    // 41, not 30: the signals bring 29, rayon is a scheduler, its iterators and their queues (6), and `affinity` asks
    // Linux through rustix, which is a crate of tables and one of flags besides (3).
    budget("cortex-workers", Features::All, 41),
    // An engine that compiles: wasmer and cranelift are nearly all of it.
    budget("cortex-wasm", Features::None, 200),
    budget("cortex-wasm", Features::All, 225),
    // 90, not 60: the assembly always has metrics, traces, health and all three codings of compress.
    budget("cortex-http", Features::None, 90),
    budget("cortex-http", Features::All, 140),
    budget("cortex", Features::None, 1),
    budget("cortex", Features::Some("service"), 110),
];

/// What a user of a single crate has to build stays small, and each library has a budget.
pub(super) fn check(project: &Project) -> Result<Vec<Finding>> {
    let names: Vec<_> = project.libraries().map(|member| member.name.as_str()).collect();
    let mut findings = unbudgeted(&names);
    for budget in BUDGETS.iter().filter(|budget| names.contains(&budget.package)) {
        findings.extend(budget.judge(budget.count(project)?));
    }
    Ok(findings)
}

fn unbudgeted(names: &[&str]) -> Vec<Finding> {
    names
        .iter()
        .filter(|name| !BUDGETS.iter().any(|budget| budget.package == **name))
        .map(|name| Finding::new(name, "has no budget: xtask/src/tidy/budget.rs"))
        .collect()
}

impl Budget {
    fn judge(&self, count: usize) -> Option<Finding> {
        let max = self.max;
        (count > max).then(|| {
            let says = format!(
                "{count} crates, budget {max}; `{}` lists them",
                self.command().join(" ")
            );
            Finding::new(self.package, says)
        })
    }

    fn command(&self) -> Vec<&'static str> {
        let mut words = vec![
            "cargo",
            "tree",
            "-p",
            self.package,
            "-e",
            "normal",
            "--prefix",
            "none",
        ];
        match self.features {
            Features::None => words.push("--no-default-features"),
            Features::All => words.push("--all-features"),
            Features::Some(features) => words.extend(["--features", features]),
        }
        words
    }

    fn count(&self, project: &Project) -> Result<usize> {
        let words = self.command();
        let output = Command::new(words[0])
            .args(&words[1..])
            .current_dir(&project.root)
            .output()
            .context("failed to start cargo")?;
        ensure!(
            output.status.success(),
            "{} failed:\n{}",
            words.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(unique(&String::from_utf8(output.stdout)?) - 1)
    }
}

/// Counts the packages in what `cargo tree` printed; a repeated one is marked.
fn unique(text: &str) -> usize {
    let lines = text.lines().map(|line| line.trim_end_matches(" (*)"));
    lines
        .filter(|line| !line.is_empty())
        .collect::<BTreeSet<_>>()
        .len()
}

#[cfg(test)]
mod tests {
    use super::super::finding::texts;
    use super::*;

    #[test]
    fn repeated_packages_count_once() {
        let text = "a v0.1.0 (/x)\nb v1.0.0\nc v1.0.0\nb v1.0.0 (*)\nb v2.0.0\n\n";
        assert_eq!(unique(text), 4);
    }

    #[test]
    fn what_exceeds_its_budget_is_found() {
        let budget = budget("cortex", Features::Some("service"), 110);
        assert!(budget.judge(110).is_none());
        assert_eq!(
            texts(budget.judge(111).as_slice()),
            [
                "cortex: 111 crates, budget 110; `cargo tree -p cortex -e normal --prefix none --features service` lists them"
            ]
        );
    }

    #[test]
    fn counts_what_core_brings() {
        let project = Project::find().unwrap();
        assert_eq!(BUDGETS[0].count(&project).unwrap(), 0);
        assert!(BUDGETS[2].count(&project).unwrap() > 5);
    }

    #[test]
    fn a_library_without_a_budget_is_found() {
        assert_eq!(
            texts(&unbudgeted(&["cortex-core", "cortex-new"])),
            ["cortex-new: has no budget: xtask/src/tidy/budget.rs"]
        );
    }
}
