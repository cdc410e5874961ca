use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::child::Child;
use super::scenario::{Scenario, Setup};
use super::storefront;

pub(super) const SCENARIOS: [Scenario; 3] = [
    Scenario {
        name: "an unknown flag is named",
        programs: &[],
        test: |setup| {
            refuses(setup, "--adrr", |command| {
                command.args(["--adrr", "x"]);
            })
        },
    },
    Scenario {
        name: "a port in use is named",
        programs: &[],
        test: port_in_use,
    },
    Scenario {
        name: "a bad environment variable is named",
        programs: &[],
        test: |setup| {
            refuses(setup, "STOREFRONT_LOAD", |command| {
                command.env("STOREFRONT_LOAD", "many");
            })
        },
    },
];

fn port_in_use(setup: &Setup) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?.to_string();
    refuses(setup, &addr, |command| {
        *command = Command::new(command.get_program());
        let any = "127.0.0.1:0";
        command.args(["--addr", &addr, "--admin", any, "--payments", any]);
    })
}

/// What cannot work ends with code 2 and one line that names it.
fn refuses(setup: &Setup, names: &str, change: impl FnOnce(&mut Command)) -> Result<()> {
    let child = Child::start("storefront", |folder| {
        let mut command = storefront::command(setup, folder);
        change(&mut command);
        Ok(command)
    })?;
    let ended = child.end(Duration::from_secs(10))?;
    let said = ended.stderr.trim_end();
    ensure!(
        ended.status.code() == Some(2),
        "ended with {}: {said}",
        ended.status
    );
    ensure!(said.lines().count() == 1, "said not one line: {said}");
    ensure!(said.contains(names), "does not name {names}: {said}");
    Ok(())
}
