use anyhow::{Result, ensure};

use crate::project::Project;
use crate::step::{Line, Step};
use crate::tools::Unknown;

/// A sanitizer and what the compiler needs to be told for it.
struct Sanitizer {
    name: &'static str,
    flags: &'static str,
    env: Option<(&'static str, &'static str)>,
    /// Crates that it cannot judge.
    without: &'static [&'static str],
    hint: &'static str,
}

const SANITIZERS: [Sanitizer; 3] = [
    Sanitizer {
        name: "address",
        flags: "-Zsanitizer=address",
        env: None,
        without: &[],
        hint: "memory was used after its end or outside its bounds; the first stack above says where",
    },
    Sanitizer {
        name: "leak",
        flags: "-Zsanitizer=leak",
        env: None,
        without: &[],
        hint: "memory was never freed; keep what is meant to stay in a static",
    },
    Sanitizer {
        name: "thread",
        flags: "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer",
        env: Some(("TSAN_OPTIONS", "suppressions=xtask/tsan.supp")),
        // They wait on a Condvar or a channel of the standard library, which is not built for the sanitizer: what
        // it orders there is not seen, and every hand-over looks like a race.
        without: &["cortex-health", "cortex-http", "cortex-trace"],
        hint: "two threads used memory without order; xtask/tsan.supp is for what the standard library does",
    },
];

/// Sanitizers keep what is freed, and shadows of what is used: how much memory the process has says nothing.
const SKIPPED: [&str; 3] = [
    "collectors::process::memory_that_is_used_shows",
    "memory::image::tests::resets_and_guests_leave_nothing_in_the_process",
    "slope::",
];

/// Lists the steps of one sanitizer, or of all: unit and integration tests, each in a target folder of its own.
///
/// Doctests are left out, for they would have to be built one by one, and so is the facade, which has no code.
pub(crate) fn steps(project: &Project, wanted: Option<&str>) -> Result<Vec<Step>> {
    let known = SANITIZERS.map(|sanitizer| sanitizer.name);
    if let Some(wanted) = wanted {
        ensure!(
            known.contains(&wanted),
            Unknown(format!(
                "there is no sanitizer {wanted:?}; there are {}",
                known.join(", ")
            ))
        );
    }
    let chosen = SANITIZERS
        .into_iter()
        .filter(|sanitizer| wanted.is_none_or(|wanted| wanted == sanitizer.name));
    Ok(chosen.map(|sanitizer| step(project, &sanitizer)).collect())
}

fn step(project: &Project, sanitizer: &Sanitizer) -> Step {
    let crates = project
        .libraries()
        .map(|member| member.name.as_str())
        .filter(|name| *name != "cortex" && !sanitizer.without.contains(name));
    // With `--target` the flags do not reach build scripts and macros, which the compiler has to load.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut line = Line::new("cargo test --lib --tests --all-features --no-fail-fast --quiet --target")
        .arg(target)
        .each("-p", crates)
        .unstable()
        .env("RUSTFLAGS", sanitizer.flags)
        .target(&project.target, &format!("sanitize-{}", sanitizer.name));
    if let Some((name, value)) = sanitizer.env {
        let value = value.replace("xtask/", &format!("{}/xtask/", project.root.display()));
        line = line.env(name, value);
    }
    line = SKIPPED
        .into_iter()
        .fold(line.arg("--"), |line, test| line.arg("--skip").arg(test));
    let name = sanitizer.name;
    Step::new(format!("sanitize/{name}"), line, sanitizer.hint)
        .repeated_by(format!("cargo xtask sanitize {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sanitizer_builds_in_a_folder_of_its_own() {
        let project = Project::find().unwrap();
        let all = steps(&project, None).unwrap();
        assert_eq!(all.len(), 3);
        for step in &all {
            let text = step.command.to_string();
            let name = step.name.strip_prefix("sanitize/").unwrap();
            assert!(text.contains(&format!("-Zsanitizer={name}")), "{text}");
            assert!(text.contains(&format!("/sanitize-{name}")), "{text}");
            assert!(text.contains(" -- --skip collectors::process::memory"), "{text}");
            assert!(
                text.contains("-p cortex-metrics") && !text.contains("-p cortex "),
                "{text}"
            );
        }
        let text = |n: usize| all[n].command.to_string();
        assert!(text(1).contains("-p cortex-trace") && !text(2).contains("-p cortex-trace"));
        let supp = all[2]
            .command
            .env
            .iter()
            .find(|(name, _)| *name == "TSAN_OPTIONS")
            .unwrap();
        let file = supp.1.strip_prefix("suppressions=").unwrap();
        assert!(std::path::Path::new(file).is_file(), "{file}");
    }

    #[test]
    fn an_unknown_sanitizer_is_answered_with_the_known_ones() {
        let project = Project::find().unwrap();
        assert_eq!(steps(&project, Some("leak")).unwrap().len(), 1);
        let error = steps(&project, Some("memory")).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no sanitizer \"memory\"; there are address, leak, thread"
        );
    }
}
