use anyhow::Result;

use crate::project::Project;
use crate::step::{Line, Step};
use crate::tools;

/// The least share of lines that tests must reach.
const LINES: &str = "90";

/// Runs the tests of the libraries instrumented, without doctests, in a target folder of its own.
///
/// # Errors
///
/// LLVM's tools, which must be at least as new as the compiler's LLVM, are not there.
pub(crate) fn step(project: &Project) -> Result<Step> {
    let path = tools::path()?;
    let find = |program| Ok::<_, anyhow::Error>(tools::find(program, &path)?.display().to_string());
    Ok(line(project, find("llvm-cov-22")?, find("llvm-profdata-22")?))
}

fn line(project: &Project, cov: String, profdata: String) -> Step {
    let line = Line::new("cargo llvm-cov --workspace --all-features --show-missing-lines --fail-under-lines")
        .arg(LINES)
        .each("--exclude", project.side().map(|member| member.name.as_str()))
        .env("LLVM_COV", cov)
        .env("LLVM_PROFDATA", profdata)
        .needs(&["cargo-llvm-cov"]);
    let hint = "below 90 % of lines: the lists above name what no test reaches";
    Step::new("cover", line, hint).repeated_by("cargo xtask cover")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_libraries_only() {
        let project = Project::find().unwrap();
        let text = line(&project, "/llvm-cov".into(), "/llvm-profdata".into())
            .command
            .to_string();
        assert!(
            text.starts_with("LLVM_COV=/llvm-cov LLVM_PROFDATA=/llvm-profdata cargo llvm-cov "),
            "{text}"
        );
        for side in [
            "cortex-bench",
            "cortex-docs",
            "cortex-testkit",
            "storefront",
            "xtask",
        ] {
            assert!(text.contains(&format!(" --exclude {side}")), "{side}: {text}");
        }
        assert!(!text.contains("--exclude cortex-core"));
    }
}
