use std::fmt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::project::Project;
use crate::tools;

/// One thing to run that passes or fails.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// `group` or `group/member`.
    pub(crate) name: String,
    pub(crate) command: Line,
    /// What to do about a failure.
    pub(crate) hint: &'static str,
    /// The one command that runs this step again.
    pub(crate) repeat: String,
}

/// A command line, as data.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) env: Vec<(&'static str, String)>,
    pub(crate) words: Vec<String>,
    /// Programs besides the first word that must be there.
    pub(crate) needs: &'static [&'static str],
}

impl Line {
    /// Splits a text at its blanks.
    pub(crate) fn new(text: &str) -> Self {
        Self {
            env: Vec::new(),
            words: text.split_whitespace().map(Into::into).collect(),
            needs: &[],
        }
    }

    pub(crate) fn arg(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Adds `flag value` for each value.
    pub(crate) fn each<'a>(mut self, flag: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        for value in values {
            self.words.extend([flag.into(), value.into()]);
        }
        self
    }

    /// Builds in a folder of its own, for settings that would make everything else be built again.
    pub(crate) fn target(self, target: &Path, name: &str) -> Self {
        self.arg("--target-dir")
            .arg(target.join(name).display().to_string())
    }

    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// Unlocks `-Z` on a stable compiler, for this line alone.
    pub(crate) fn unstable(self) -> Self {
        self.env("RUSTC_BOOTSTRAP", "1")
    }

    pub(crate) fn needs(mut self, programs: &'static [&'static str]) -> Self {
        self.needs = programs;
        self
    }

    fn is_xtask(&self) -> bool {
        self.words.starts_with(&["cargo".into(), "xtask".into()])
    }

    /// Runs it in a folder and tells whether it succeeded.
    pub(crate) fn run(&self, root: &Path) -> Result<bool> {
        let path = tools::path()?;
        let (program, args) = self.words.split_first().context("a step runs a program")?;
        for program in self.needs.iter().copied().chain([program.as_str()]) {
            tools::find(program, &path)?;
        }
        let status = Command::new(tools::find(program, &path)?)
            .args(args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("PATH", path)
            .current_dir(root)
            .stdin(Stdio::null())
            .status()
            .with_context(|| format!("failed to start {program}"))?;
        Ok(status.success())
    }
}

/// Prints what one would type into a shell.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blank = "";
        for (name, value) in &self.env {
            write!(f, "{blank}{name}={}", quote(value))?;
            blank = " ";
        }
        for word in &self.words {
            write!(f, "{blank}{}", quote(word))?;
            blank = " ";
        }
        Ok(())
    }
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl Step {
    pub(crate) fn new(name: impl Into<String>, command: Line, hint: &'static str) -> Self {
        let name = name.into();
        let repeat = if command.is_xtask() {
            command.to_string()
        } else {
            format!("cargo xtask step {name}")
        };
        Self {
            name,
            command,
            hint,
            repeat,
        }
    }

    /// Names the command that runs this step again, for a step that `cargo xtask step` does not know.
    pub(crate) fn repeated_by(mut self, command: impl Into<String>) -> Self {
        self.repeat = command.into();
        self
    }
}

/// Some steps and how to run them.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) keep_going: bool,
    pub(crate) closing: Closing,
}

/// What the last line says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Closing {
    /// `N passed, N failed`, as test runners end.
    Counts,
    /// The command that repeats what failed; after a success it is the time taken.
    Command,
}

impl Plan {
    /// Runs the steps in order; the code is 1 if one failed.
    ///
    /// # Errors
    ///
    /// A program is missing, or a step could not be started at all.
    #[expect(clippy::print_stdout, reason = "the progress of a command")]
    pub(crate) fn run(self, project: &Project) -> Result<ExitCode> {
        ensure!(!self.steps.is_empty(), "there is nothing to run");
        let mut results = Vec::new();
        for step in &self.steps {
            println!("\n== {}\n$ {}", step.name, step.command);
            let watch = Stopwatch::start();
            let passed = match step.command.run(&project.root) {
                Ok(passed) => passed,
                // Said here too, since a long run would bury it; the others still tell something.
                Err(error) if self.keep_going => {
                    println!("{error:#}");
                    false
                }
                Err(error) => return Err(error),
            };
            let time = watch.elapsed();
            println!("== {}: {} in {}", step.name, verdict(passed), seconds(time));
            results.push(Outcome { step, passed, time });
            if !passed && !self.keep_going {
                break;
            }
        }
        print!("{}", report(&results, self.steps.len(), self.closing));
        let failed = results.iter().any(|outcome| !outcome.passed);
        Ok(if failed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}

struct Outcome<'a> {
    step: &'a Step,
    passed: bool,
    time: Duration,
}

/// Writes the table of times, what to do about each failure, and the closing line.
fn report(results: &[Outcome<'_>], planned: usize, closing: Closing) -> String {
    let mut lines = vec![String::new()];
    let width = results.iter().map(|it| it.step.name.len()).max().unwrap_or(0);
    let row = |name: &str, time, verdict| {
        let row = format!("{name:<width$}  {:>8}  {verdict}", seconds(time));
        row.trim_end().to_owned()
    };
    lines.extend(
        results
            .iter()
            .map(|it| row(&it.step.name, it.time, verdict(it.passed))),
    );
    lines.push(row("", results.iter().map(|it| it.time).sum(), ""));
    if results.len() < planned {
        let left = planned - results.len();
        lines.push(format!("{left} not run: --keep-going would go on"));
    }
    let failed: Vec<_> = results.iter().filter(|it| !it.passed).collect();
    for Outcome { step, .. } in &failed {
        lines.push(format!("\n{}: {}\n{}", step.name, step.hint, step.repeat));
    }
    if closing == Closing::Counts {
        let passed = results.len() - failed.len();
        lines.push(format!("\n{passed} passed, {} failed", failed.len()));
    }
    lines.join("\n") + "\n"
}

fn verdict(passed: bool) -> &'static str {
    if passed { "ok" } else { "FAILED" }
}

pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// Measures how long a step took.
#[derive(Debug)]
pub(crate) struct Stopwatch(std::time::Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "the time that people waited")]
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project() -> Project {
        Project {
            root: "/".into(),
            target: "/target".into(),
            members: Vec::new(),
        }
    }

    fn step(name: &str, command: &str) -> Step {
        Step::new(name, Line::new(command), "read what it printed")
    }

    #[test]
    fn a_line_reads_as_one_would_type_it() {
        let line = Line::new("cargo doc --no-deps")
            .unstable()
            .env("RUSTDOCFLAGS", "--cfg docsrs")
            .each("-p", ["a", "b"])
            .target(Path::new("/target"), "boot");
        assert_eq!(
            line.to_string(),
            "RUSTC_BOOTSTRAP=1 RUSTDOCFLAGS='--cfg docsrs' cargo doc --no-deps -p a -p b --target-dir /target/boot"
        );
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn a_failure_ends_with_the_command_that_repeats_it() {
        let (ok, bad) = (step("fmt", "true"), step("doc", "false"));
        let time = Duration::from_millis(1_500);
        let results = [(&ok, true), (&bad, false)].map(|(step, passed)| Outcome { step, passed, time });
        assert_eq!(
            report(&results, 3, Closing::Command),
            "\nfmt     1.5 s  ok\ndoc     1.5 s  FAILED\n        3.0 s\n\
             1 not run: --keep-going would go on\n\n\
             doc: read what it printed\ncargo xtask step doc\n"
        );
        let counted = report(&results, 2, Closing::Counts);
        assert!(
            counted.ends_with("cargo xtask step doc\n\n1 passed, 1 failed\n"),
            "{counted}"
        );
        let good = report(&results[..1], 1, Closing::Counts);
        assert!(good.ends_with("\n1 passed, 0 failed\n"), "{good}");
    }

    #[test]
    fn our_own_commands_are_repeated_as_they_are() {
        assert_eq!(step("tidy", "cargo xtask tidy").repeat, "cargo xtask tidy");
        assert_eq!(step("fmt", "cargo fmt").repeat, "cargo xtask step fmt");
    }

    #[test]
    fn stops_at_the_first_failure_unless_told_to_keep_going() {
        let folder = xshell::Shell::new().unwrap().create_temp_dir().unwrap();
        let mark = folder.path().join("mark");
        for keep_going in [false, true] {
            let plan = Plan {
                steps: vec![
                    step("bad", "false"),
                    step("touch", &format!("touch {}", mark.display())),
                ],
                keep_going,
                closing: Closing::Command,
            };
            assert_eq!(plan.run(&project()).unwrap(), ExitCode::FAILURE);
            assert_eq!(mark.exists(), keep_going);
        }
    }

    #[test]
    fn passes_the_environment_on() {
        let mut line = Line::new("sh -c").arg("test \"$RUSTC_BOOTSTRAP\" = 1 && ! read -r line");
        assert!(!line.run(Path::new("/")).unwrap());
        line = line.unstable();
        assert!(line.run(Path::new("/")).unwrap());
    }

    #[test]
    fn a_missing_program_is_an_error_of_its_own() {
        let plan = |keep_going, command| Plan {
            steps: vec![Step::new("text", command, "")],
            keep_going,
            closing: Closing::Counts,
        };
        let line = Line::new("no-such-program-of-ours");
        let error = plan(false, line.clone()).run(&project()).unwrap_err();
        assert!(error.is::<tools::Missing>(), "{error}");
        assert_eq!(plan(true, line).run(&project()).unwrap(), ExitCode::FAILURE);
        let needs = Line::new("true").needs(&["no-such-program-of-ours"]);
        assert!(plan(false, needs).run(&project()).is_err());
    }
}
