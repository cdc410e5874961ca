use std::process::ExitCode;

use anyhow::Result;

use super::finding::Finding;
use super::tree::Tree;
use super::{budget, changelog, facade, features, files, licences, manifests, pages, tiers};
use crate::project::Project;

/// A rule that only looks at the tree.
type Rule = fn(&Tree) -> Vec<Finding>;

const RULES: [(&str, Rule); 8] = [
    ("tiers", tiers::check),
    ("facade", facade::check),
    ("features", features::check),
    ("files", files::check),
    ("manifests", manifests::check),
    ("changelog", changelog::check),
    ("licences", licences::check),
    ("pages", pages::check),
];

/// Checks every rule and prints what breaks one; the code is 1 if something does.
#[expect(clippy::print_stdout, reason = "the findings of a command")]
pub(crate) fn run(project: &Project) -> Result<ExitCode> {
    let tree = Tree::of(project)?;
    let mut count = 0;
    let mut print = |rule: &str, findings: Vec<Finding>| {
        count += findings.len();
        for finding in findings {
            println!("{finding} [{rule}]");
        }
    };
    for (name, rule) in RULES {
        print(name, rule(&tree));
    }
    print("budget", budget::check(project)?);
    println!("tidy: {} rules, {count} findings", RULES.len() + 1);
    if count == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    println!("cargo xtask tidy");
    Ok(ExitCode::FAILURE)
}
