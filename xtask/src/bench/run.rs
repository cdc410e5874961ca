use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{MetadataCommand, TargetKind};
use xshell::{Shell, cmd};

use super::budget::Budget;
use super::estimates;
use super::report::Report;
use super::results::Results;
use crate::tools::Unknown;

const PACKAGE: &str = "cortex-bench";

/// Each area is run so often, and the medians of the rounds are what counts.
const ROUNDS: usize = 3;

/// Runs the benches of `area`, or all, prints a table for each and writes it to `target/bench/<area>.json`.
///
/// With `check` a bound that does not hold is an error.
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the tables and the progress of a command"
)]
pub(crate) fn run(sh: &Shell, check: bool, area: Option<&str>) -> Result<()> {
    let bench = Bench::find()?;
    let budget = bench.budget(sh)?;
    let areas = select(&bench.areas, area)?;

    // Only this package: unified with the rest of the workspace, dev-dependencies would switch features on in what is
    // measured (tokio's `test-util` slows the clock down).
    let targets = areas.iter().flat_map(|area| ["--bench", area]);
    cmd!(sh, "cargo bench --package {PACKAGE} --no-run {targets...}")
        .quiet()
        .run()?;

    let mut misses = Vec::new();
    for area in areas {
        let mut results = Results::default();
        for round in 1..=ROUNDS {
            eprintln!("{area}: round {round} of {ROUNDS}");
            results.rounds.push(bench.round(sh, area, round)?);
        }
        let report = Report::new(area, &results, budget.of_area(area));
        println!("\n{}", report.to_table());
        let json = serde_json::to_string_pretty(&report.to_json())? + "\n";
        sh.write_file(bench.output.join(format!("{area}.json")), json)?;
        misses.extend(report.misses());
    }
    if check && !misses.is_empty() {
        bail!(
            "{} missed:\n  {}",
            count(misses.len(), "bound"),
            misses.join("\n  ")
        );
    }
    Ok(())
}

/// Where the benches are and what there is.
struct Bench {
    areas: Vec<String>,
    budget: PathBuf,
    output: PathBuf,
}

impl Bench {
    fn find() -> Result<Self> {
        let metadata = MetadataCommand::new().no_deps().exec()?;
        let package = metadata
            .packages
            .iter()
            .find(|package| package.name.as_str() == PACKAGE);
        let package = package.with_context(|| format!("the workspace has no package {PACKAGE}"))?;
        let benches = package
            .targets
            .iter()
            .filter(|target| target.kind.contains(&TargetKind::Bench));
        let folder = package
            .manifest_path
            .parent()
            .context("a manifest lies in a folder")?;
        Ok(Self {
            areas: benches.map(|target| target.name.clone()).collect(),
            budget: folder.join("budget.toml").into(),
            output: metadata.target_directory.join("bench").into(),
        })
    }

    fn budget(&self, sh: &Shell) -> Result<Budget> {
        let path = self.budget.display();
        let budget =
            Budget::parse(&sh.read_file(&self.budget)?).with_context(|| format!("failed to read {path}"))?;
        for bound in &budget.bounds {
            ensure!(
                self.areas.contains(&bound.area),
                "{path} bounds {}, but there is no area {}",
                bound.ours,
                bound.area
            );
        }
        Ok(budget)
    }

    /// Runs an area once, in a folder of its own so that no earlier estimate is taken for a new one.
    fn round(&self, sh: &Shell, area: &str, round: usize) -> Result<std::collections::BTreeMap<String, f64>> {
        let home = self.output.join("criterion").join(area).join(round.to_string());
        sh.remove_path(&home)?;
        sh.create_dir(&home)?;
        let short = ["--noplot", "--warm-up-time", "0.3", "--measurement-time", "0.7"];
        let sample = ["--sample-size", "40", "--nresamples", "2000"];
        let command = cmd!(
            sh,
            "cargo bench --quiet --package {PACKAGE} --bench {area} -- {short...} {sample...}"
        );
        let output = command
            .env("CRITERION_HOME", &home)
            .quiet()
            .ignore_status()
            .output()?;
        if !output.status.success() {
            bail!(
                "the bench of {area} failed; `cargo bench --package {PACKAGE} --bench {area}` repeats it:\n{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let medians = estimates::read(Path::new(&home))?;
        ensure!(
            !medians.is_empty(),
            "the bench of {area} recorded nothing in {}",
            home.display()
        );
        Ok(medians)
    }
}

/// Finds the areas to run.
fn select<'a>(areas: &'a [String], wanted: Option<&str>) -> Result<Vec<&'a str>> {
    let all = || areas.iter().map(String::as_str);
    let Some(wanted) = wanted else {
        return Ok(all().collect());
    };
    let known = || all().collect::<Vec<_>>().join(", ");
    let area = all().find(|area| *area == wanted);
    let area = area.ok_or_else(|| Unknown(format!("there is no area {wanted:?}; there are {}", known())))?;
    Ok(vec![area])
}

fn count(n: usize, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_area_is_answered_with_the_known_ones() {
        let areas = ["core".to_owned(), "overhead".to_owned()];
        assert_eq!(select(&areas, None).unwrap(), ["core", "overhead"]);
        assert_eq!(select(&areas, Some("core")).unwrap(), ["core"]);
        let error = select(&areas, Some("cor")).unwrap_err().to_string();
        assert_eq!(error, "there is no area \"cor\"; there are core, overhead");
    }

    #[test]
    fn counts_in_english() {
        assert_eq!(
            (count(1, "bound"), count(2, "bound")),
            ("1 bound".into(), "2 bounds".into())
        );
    }

    #[test]
    fn finds_the_benches_of_this_workspace_and_a_budget_that_fits_them() {
        let bench = Bench::find().unwrap();
        for area in ["core", "overhead"] {
            assert!(bench.areas.iter().any(|known| known == area), "{area}");
        }
        let budget = bench.budget(&Shell::new().unwrap()).unwrap();
        assert!(!budget.bounds.is_empty());
    }
}
