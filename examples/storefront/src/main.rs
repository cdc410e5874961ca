//! The storefront: a small shop on real HTTP, the front door of Cortex. `storefront --help` lists what it can do.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that talks to people"
)]

mod catalogue;
mod checkout;
mod config;
mod load;
mod payments;
mod percentile;
mod shop;
mod start;

use std::error::Error;
use std::process::ExitCode;

use crate::config::{Command, Config, HELP};

fn main() -> ExitCode {
    let command = Config::read(std::env::args_os(), |name| std::env::var_os(name));
    let config = match command {
        Ok(Command::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(Command::Run(config)) => config,
        Err(error) => return refuse(&error),
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&format!("cannot start its threads: {error}")),
    };
    match runtime.block_on(start::run(*config)) {
        Ok(code) => code,
        Err(error) => refuse(&with_causes(&*error)),
    }
}

/// Joins an error and what caused it into one line.
fn with_causes(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line} ({error})");
        cause = error.source();
    }
    line.replace('\n', " ")
}

/// What cannot work ends with one line and code 2, as a shell does.
fn refuse(error: &str) -> ExitCode {
    eprintln!("storefront: {error}");
    ExitCode::from(2)
}
