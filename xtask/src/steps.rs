use anyhow::{Result, ensure};

use crate::project::{Member, Project};
use crate::step::{Line, Step};
use crate::tools::Unknown;

/// How long `ci` has threads at pools of workers.
pub(crate) const STRESS_SECONDS: u64 = 60;

/// The crate of features whose combinations are too many to check them all.
const FACADE: &str = "cortex";

/// Lists what `ci --fast` runs.
pub(crate) fn fast(project: &Project) -> Vec<Step> {
    [fmt(), tidy(), clippy(), test(project)].concat()
}

/// Lists what `ci` runs: what fails soonest comes first.
pub(crate) fn all(project: &Project) -> Vec<Step> {
    [
        fmt(),
        text(),
        tidy(),
        deny(),
        clippy(),
        test(project),
        model(project),
        cases(),
        vec![stress(STRESS_SECONDS)],
        doc(project),
        features(),
        examples(project),
        guests(),
        e2e(),
    ]
    .concat()
}

/// Finds the steps that are named, or whose group is.
pub(crate) fn select(steps: Vec<Step>, names: &[String]) -> Result<Vec<Step>> {
    let matches = |step: &Step, name: &String| {
        step.name == *name || step.name.split_once('/').is_some_and(|(group, _)| group == name)
    };
    for name in names {
        ensure!(
            steps.iter().any(|step| matches(step, name)),
            Unknown(format!(
                "there is no step {name:?}; `cargo xtask step` lists them"
            ))
        );
    }
    Ok(steps
        .into_iter()
        .filter(|step| names.iter().any(|name| matches(step, name)))
        .collect())
}

/// Writes each step's name and command.
pub(crate) fn list(steps: &[Step]) -> String {
    let width = steps.iter().map(|step| step.name.len()).max().unwrap_or(0);
    let line = |step: &Step| format!("{:<width$}  {}", step.name, step.command);
    steps.iter().map(line).collect::<Vec<_>>().join("\n") + "\n"
}

/// Every test that needs only cargo. The workspace is tested with everything switched on; a crate with features once
/// more alone and without them, since in a workspace its siblings switch them on.
pub(crate) fn test(project: &Project) -> Vec<Step> {
    let hint = "the lines above name the test; `cargo test -p CRATE NAME` runs it alone";
    let workspace = Line::new("cargo test --workspace --all-features --no-fail-fast --quiet");
    let alone = |member: &Member| {
        let line = Line::new("cargo test --no-default-features --lib --no-fail-fast --quiet -p");
        Step::new(format!("test/{}", member.name), line.arg(&member.name), hint)
    };
    let featured = project
        .libraries()
        .filter(|member| member.features && member.name != FACADE);
    std::iter::once(Step::new("test/workspace", workspace, hint))
        .chain(featured.map(alone))
        .collect()
}

/// The smoke test of each example, which starts it and uses it.
pub(crate) fn examples(project: &Project) -> Vec<Step> {
    let smoke = |member: &Member| {
        let line = Line::new("cargo test --test smoke --quiet -p").arg(&member.name);
        Step::new(
            format!("examples/{}", member.name),
            line,
            "an example is what people copy: make it run again",
        )
    };
    project
        .examples()
        .filter(|member| member.smoke)
        .map(smoke)
        .collect()
}

fn fmt() -> Vec<Step> {
    vec![Step::new(
        "fmt",
        Line::new("cargo fmt --all --check"),
        "`cargo fmt --all` repairs it",
    )]
}

fn text() -> Vec<Step> {
    vec![
        Step::new(
            "typos",
            Line::new("typos"),
            "`typos --write-changes` repairs it; typos.toml knows our words",
        ),
        Step::new("taplo", Line::new("taplo fmt --check"), "`taplo fmt` repairs it"),
    ]
}

fn tidy() -> Vec<Step> {
    vec![Step::new(
        "tidy",
        Line::new("cargo xtask tidy"),
        "each line names the place and the rule",
    )]
}

fn deny() -> Vec<Step> {
    let line = Line::new("cargo deny --offline --workspace check bans licenses sources");
    vec![Step::new(
        "deny",
        line.needs(&["cargo-deny"]),
        "deny.toml says what is allowed; a new exception needs its reason there",
    )]
}

fn clippy() -> Vec<Step> {
    let line = Line::new("cargo clippy --workspace --all-targets --all-features --quiet -- -D warnings");
    vec![Step::new(
        "clippy",
        line,
        "repair it, or #[expect(lint, reason = \"..\")] it",
    )]
}

/// Lock-free code in every order that its threads may run in. A cfg of our own: `cfg(loom)` would change tokio, too.
fn model(project: &Project) -> Vec<Step> {
    let step = |(package, features): (&str, &str)| {
        let line = Line::new(&format!(
            "cargo test --package {package} {features} --lib --release --quiet model"
        ))
        .env("RUSTFLAGS", "--cfg cortex_loom")
        .target(&project.target, "model");
        Step::new(
            format!("model/{package}"),
            line,
            "loom printed the threads' order that fails",
        )
    };
    [
        ("cortex-health", ""),
        ("cortex-metrics", ""),
        ("cortex-resilience", "--features tokio"),
        ("cortex-trace", "--features bridge"),
        ("cortex-wasm", ""),
        ("cortex-workers", ""),
    ]
    .map(step)
    .into()
}

/// The fast one against the slow and obviously right one, over more random histories than a plain `test` has time for.
fn cases() -> Vec<Step> {
    let line =
        Line::new("cargo test --package cortex-resilience --all-features --release --quiet --test it model")
            .env("PROPTEST_CASES", "100000");
    vec![Step::new(
        "cases/cortex-resilience",
        line,
        "the lines above show the shortest history that the two judge differently",
    )]
}

/// Panics, cancellations, resizes, pauses and ends from several threads at once, for so long: each task is accounted for.
pub(crate) fn stress(seconds: u64) -> Step {
    let line =
        "cargo test --package cortex-workers --all-features --release --quiet --test it -- --ignored stress";
    Step::new(
        "stress/cortex-workers",
        Line::new(line).env("CORTEX_STRESS_SECONDS", seconds.to_string()),
        "the lines above name what does not add up; it is a race, so it may take several runs to see it again",
    )
}

/// Docs as docs.rs would show them, so with the `-Z` that tags items with their features.
fn doc(project: &Project) -> Vec<Step> {
    let line = Line::new("cargo doc --workspace --all-features --no-deps --quiet")
        .unstable()
        .env(
            "RUSTDOCFLAGS",
            "--cfg docsrs -D warnings -D rustdoc::broken_intra_doc_links",
        )
        .target(&project.target, "unstable");
    vec![Step::new("doc", line, "the lines above name the doc comment")]
}

/// Every set of features that the source can tell apart compiles without warnings, and no crate leans on what a sibling
/// switches on.
fn features() -> Vec<Step> {
    // cargo's own `-Zfeature-unification=package` builds one dependency in two ways and mixes them up (1.95).
    let alone = Line::new("cargo hack check --workspace --quiet").needs(&["cargo-hack"]);
    vec![
        Step::new(
            "features/crates",
            Line::new("cargo xtask features"),
            "a `cfg` or a feature of a dependency is missing in this set; each line above runs one again",
        ),
        Step::new(
            "features/alone",
            alone,
            "a crate uses a feature that only a sibling switches on: name it in its own Cargo.toml",
        ),
    ]
}

fn guests() -> Vec<Step> {
    vec![Step::new(
        "guests",
        Line::new("cargo xtask guests"),
        "`cargo xtask guests --update` pins what the sources are built to now",
    )]
}

fn e2e() -> Vec<Step> {
    vec![Step::new(
        "e2e",
        Line::new("cargo xtask e2e"),
        "`cargo xtask e2e NAME` runs one scenario",
    )]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn member(name: &str, library: bool, features: bool) -> Member {
        let parent = if library { "crates" } else { "examples" };
        Member {
            name: name.into(),
            folder: format!("{parent}/{name}").into(),
            library,
            features,
            smoke: !library,
        }
    }

    fn project() -> Project {
        Project {
            root: "/checkout".into(),
            target: "/checkout/target".into(),
            members: vec![
                member("cortex", true, true),
                member("cortex-core", true, false),
                member("cortex-trace", true, true),
                member("storefront", false, false),
            ],
        }
    }

    fn names(steps: &[Step]) -> Vec<&str> {
        steps.iter().map(|step| step.name.as_str()).collect()
    }

    #[test]
    fn only_crates_with_features_are_tested_without_them() {
        assert_eq!(names(&test(&project())), ["test/workspace", "test/cortex-trace"]);
    }

    #[test]
    fn names_are_unique_and_the_fast_ones_are_among_all() {
        let (all, fast) = (all(&project()), fast(&project()));
        let unique: BTreeSet<_> = names(&all).into_iter().collect();
        assert_eq!(unique.len(), all.len());
        assert!(names(&fast).into_iter().all(|name| unique.contains(name)));
        assert!(unique.contains("e2e") && !names(&fast).contains(&"e2e"));
    }

    #[test]
    fn stress_lasts_as_long_as_it_is_told_to() {
        let text = stress(600).command.to_string();
        assert!(text.starts_with("CORTEX_STRESS_SECONDS=600 cargo test"), "{text}");
        assert!(names(&all(&project())).contains(&"stress/cortex-workers"));
    }

    #[test]
    fn selects_a_step_or_a_group() {
        let pick = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            select(all(&project()), &names)
        };
        assert_eq!(
            names(&pick(&["features"]).unwrap()),
            ["features/crates", "features/alone"]
        );
        assert_eq!(
            names(&pick(&["fmt", "test/cortex-trace"]).unwrap()),
            ["fmt", "test/cortex-trace"]
        );
        let error = pick(&["fmt", "feature"]).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no step \"feature\"; `cargo xtask step` lists them"
        );
    }
}
