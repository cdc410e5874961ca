use std::process::ExitCode;

use anyhow::{Result, ensure};

use super::sets;
use crate::project::Project;
use crate::step::{Line, Stopwatch, seconds};
use crate::tidy::tree::Tree;
use crate::tools::Unknown;

/// Builds the libraries, or one of them, with each set of features that matters; the code is 1 if one fails or warns.
///
/// # Errors
///
/// There is no such library, or cargo could not be started.
#[expect(clippy::print_stdout, reason = "the progress of a command")]
pub(crate) fn run(project: &Project, wanted: Option<&str>) -> Result<ExitCode> {
    let libraries: Vec<_> = project.libraries().map(|member| member.name.as_str()).collect();
    ensure!(
        wanted.is_none_or(|wanted| libraries.contains(&wanted)),
        Unknown(format!(
            "there is no library {:?}; there are {}",
            wanted.unwrap_or_default(),
            libraries.join(", ")
        ))
    );
    let tree = Tree::of(project)?;
    let packages = tree
        .packages
        .iter()
        .filter(|package| libraries.contains(&package.name.as_str()))
        .filter(|package| wanted.is_none_or(|wanted| package.name == wanted));
    let (mut count, mut failed) = (0, Vec::new());
    for package in packages {
        let watch = Stopwatch::start();
        let sets = sets::sets(package);
        count += sets.len();
        for (_, names) in &sets {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let line = line(&package.name, &names.join(","));
            if !line.run(&project.root)? {
                println!("{line}");
                failed.push(line);
            }
        }
        println!(
            "{}: {} sets in {}",
            package.name,
            sets.len(),
            seconds(watch.elapsed())
        );
    }
    println!("features: {count} sets, {} failed", failed.len());
    for line in &failed {
        println!("{line}");
    }
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Libraries only, so that resolver 3 does not mix the features of dev-dependencies in; each by itself, as what it depends
/// on has sets of its own.
fn line(package: &str, features: &str) -> Line {
    Line::new("cargo clippy --quiet --no-deps --no-default-features -p")
        .arg(package)
        .arg("--features")
        .arg(features)
        .arg("--")
        .arg("-D")
        .arg("warnings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_can_be_typed_again() {
        assert_eq!(
            line("cortex-trace", "logs,otlp").to_string(),
            "cargo clippy --quiet --no-deps --no-default-features -p cortex-trace --features logs,otlp -- -D warnings"
        );
        assert!(line("cortex-core", "").to_string().contains("--features '' -- "));
    }

    #[test]
    fn an_unknown_library_is_answered_with_the_known_ones() {
        let error = run(&Project::find().unwrap(), Some("cortex-htpp")).unwrap_err();
        assert!(error.is::<Unknown>());
        assert!(error.to_string().contains("cortex-http"), "{error}");
    }
}
