//! Builds, checks and measures Cortex: `cargo xtask help`.

mod bench;
mod cover;
mod e2e;
mod features;
mod flags;
mod guests;
mod project;
mod sanitize;
mod step;
mod steps;
mod tidy;
mod tools;

use std::process::ExitCode;

use anyhow::Result;
use xshell::Shell;

use crate::flags::{Xtask, XtaskCmd};
use crate::project::Project;
use crate::step::{Closing, Plan};

#[expect(clippy::print_stderr, reason = "the errors of a command")]
fn main() -> ExitCode {
    match run(&Xtask::from_env_or_exit()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            if error.is::<tools::Missing>() || error.is::<tools::Unknown>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "the answers of a command")]
fn run(flags: &Xtask) -> Result<ExitCode> {
    let project = Project::find()?;
    let plan = |steps, keep_going| Plan {
        steps,
        keep_going,
        closing: Closing::Command,
    };
    match &flags.subcommand {
        XtaskCmd::Overview(_) | XtaskCmd::Help(_) => {
            print!("{}", Xtask::summary());
            Ok(ExitCode::SUCCESS)
        }
        XtaskCmd::Test(test) => plan(steps::test(&project), test.keep_going).run(&project),
        XtaskCmd::Tidy(_) => tidy::run(&project),
        XtaskCmd::Ci(ci) => Plan {
            steps: if ci.fast {
                steps::fast(&project)
            } else {
                steps::all(&project)
            },
            keep_going: ci.keep_going,
            closing: Closing::Counts,
        }
        .run(&project),
        XtaskCmd::Step(step) if step.name.is_empty() => {
            print!("{}", steps::list(&steps::all(&project)));
            Ok(ExitCode::SUCCESS)
        }
        XtaskCmd::Step(step) => {
            plan(steps::select(steps::all(&project), &step.name)?, step.keep_going).run(&project)
        }
        XtaskCmd::Cover(_) => plan(vec![cover::step(&project)?], false).run(&project),
        XtaskCmd::Bench(bench) => {
            bench::run(&Shell::new()?, bench.check, bench.area.as_deref())?;
            Ok(ExitCode::SUCCESS)
        }
        XtaskCmd::Examples(examples) => plan(steps::examples(&project), examples.keep_going).run(&project),
        XtaskCmd::Features(it) => features::run(&project, it.package.as_deref()),
        XtaskCmd::Guests(guests) => guests::run(&project, guests.name.as_deref(), guests.update),
        XtaskCmd::E2e(e2e) => e2e::run(&project, e2e.filter.as_deref(), e2e.long),
        XtaskCmd::Stress(it) => {
            let seconds = it.seconds.unwrap_or(steps::STRESS_SECONDS);
            let step = steps::stress(seconds).repeated_by(format!("cargo xtask stress --seconds {seconds}"));
            plan(vec![step], false).run(&project)
        }
        XtaskCmd::Sanitize(sanitize) => {
            let steps = sanitize::steps(&project, sanitize.sanitizer.as_deref())?;
            plan(steps, sanitize.keep_going).run(&project)
        }
    }
}
