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
        Err(error) => refuse(&error.to_string()),
    }
}

/// What cannot work ends with one line and code 2, as a shell does.
fn refuse(error: &str) -> ExitCode {
    eprintln!("storefront: {error}");
    ExitCode::from(2)
}
