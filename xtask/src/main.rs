//! Builds, checks and measures Cortex: `cargo xtask help`.

mod bench;
mod flags;

use std::process::ExitCode;

use xshell::Shell;

use crate::flags::{Xtask, XtaskCmd};

#[expect(clippy::print_stderr, reason = "the errors of a command")]
fn main() -> ExitCode {
    let flags = Xtask::from_env_or_exit();
    let result = Shell::new()
        .map_err(Into::into)
        .and_then(|sh| match &flags.subcommand {
            XtaskCmd::Bench(bench) => bench::run(&sh, bench.check, bench.area.as_deref()),
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
