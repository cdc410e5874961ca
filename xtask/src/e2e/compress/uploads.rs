use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::super::child::Child;
use super::super::scenario::{Scenario, Setup};
use super::server::Server;

pub(in super::super) const SCENARIOS: [Scenario; 2] = [
    Scenario {
        name: "compress: python's requests are decoded, and what is damaged is refused",
        programs: &["httpx", "zstandard"],
        test: |setup| sends(setup, include_str!("send.py")),
    },
    Scenario {
        name: "compress: python's bombs of a gigabyte are refused, and take no memory",
        programs: &["httpx", "zstandard"],
        test: |setup| sends(setup, include_str!("bombs.py")),
    },
];

/// What a decoder may hold at once: 8 MiB that the handler collects, as much again while that grows, and a window of
/// 16 MiB.
const GROWTH: u64 = 48 << 20;

const LIMIT: Duration = Duration::from_mins(3);

/// Runs a script that sends, judges the answers, and says `ok` at its end.
fn sends(setup: &Setup, script: &str) -> Result<()> {
    let server = Server::frugal(setup)?;
    let before = server.child.resident()?;
    let sender = Child::start("python", |_| {
        let mut command = Command::new(&setup.python);
        command.args(["-c", script, &server.addr.to_string()]);
        Ok(command)
    })?;
    let ended = sender.end(LIMIT)?;
    let peak = server.child.peak()?;
    ensure!(
        ended.status.success() && ended.stdout.trim_end().ends_with(" ok"),
        "it said {}{}",
        ended.stdout,
        ended.stderr
    );
    ensure!(peak < before + GROWTH, "it grew from {before} to {peak} bytes");
    Ok(())
}
