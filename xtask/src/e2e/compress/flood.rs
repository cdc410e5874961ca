use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::super::child::Child;
use super::super::load::{h2load_made, run, wrk_made};
use super::super::scenario::{Scenario, Setup};
use super::server::{CODINGS, Server};
use crate::tools;

pub(in super::super) const SCENARIOS: [Scenario; 3] = [
    Scenario {
        name: "compress: h2load loads each coding over HTTP/2, and memory stays flat",
        programs: &["h2load"],
        test: |setup| {
            floods(setup, (&LOADS, 8), |setup, server, body, n| {
                h2load(setup, server, body, n, &["-m", "4"])
            })
        },
    },
    Scenario {
        name: "compress: h2load loads each coding over HTTP/1, and memory stays flat",
        programs: &["h2load"],
        test: |setup| {
            floods(setup, (&LOADS, 8), |setup, server, body, n| {
                h2load(setup, server, body, n, &["--h1"])
            })
        },
    },
    Scenario {
        name: "compress: wrk loads each coding and checks each body, and memory stays flat",
        programs: &["wrk"],
        // It counts seconds, of which each body takes one at least.
        test: |setup| floods(setup, (&LOADS[1..2], 2), wrk),
    },
];

/// The bodies, and how often a long run asks for each in each coding: more than a million responses of one process.
const LOADS: [(&str, u64); 3] = [
    ("json/1100", 250_000),
    ("json/10000", 10_000),
    ("json/100000", 1_000),
];

/// What a short run leaves out of a long one.
const SHORTER: u64 = 100;

/// How much the server may grow: less than 8 bytes a response of the long run, or it keeps something of each.
const GROWTH: u64 = 8 << 20;

/// How much a body's length may differ: a busy server may take a level below.
const TOLERANCE: f64 = 0.05;

/// One way to ask for a body, encoded, so many times. It makes sure that each answer is good.
type Load = fn(&Setup, &Server, Body, u64) -> Result<()>;

/// What is asked for.
#[derive(Clone, Copy)]
struct Body<'a> {
    coding: &'a str,
    path: &'a str,
    /// The bytes that an answer has, encoded.
    length: f64,
}

/// Loads the server with each coding; the memory does not grow once it has served so many rounds.
fn floods(setup: &Setup, (loads, rounds): (&[(&str, u64)], u32), load: Load) -> Result<()> {
    let server = Server::start(setup)?;
    let round = |shorter: u64| -> Result<()> {
        for coding in CODINGS {
            for &(path, requests) in loads {
                let length = server.coded(coding, path)?.body.len();
                #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
                let length = length as f64;
                let body = Body { coding, path, length };
                load(setup, &server, body, requests / shorter)
                    .with_context(|| format!("{path} in {coding}"))?;
            }
        }
        Ok(())
    };
    // The first ones make encoders, buffers and threads that stay: as many as were ever needed at once, which takes a while to happen.
    let mut before = 0;
    for _ in 0..rounds {
        round(SHORTER)?;
        before = before.max(server.child.resident()?);
    }
    round(if setup.is_long { 1 } else { SHORTER })?;
    let after = server.child.resident()?;
    ensure!(after < before + GROWTH, "it grew from {before} to {after} bytes");
    Ok(())
}

fn h2load(setup: &Setup, server: &Server, body: Body, requests: u64, mode: &[&str]) -> Result<()> {
    let field = format!("accept-encoding: {}", body.coding);
    let (requests, url) = (requests.to_string(), server.url(&format!("any/{}", body.path)));
    let arguments = ["-n", &requests, "-c", "10", "-H", &field];
    let said = run(setup, "h2load", &[&arguments[..], mode, &[&url]].concat())?;
    let answered = h2load_made(&said)?;
    let bytes = h2load_data(&said)?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let each = bytes as f64 / answered as f64;
    ensure!(
        (each / body.length - 1.0).abs() < TOLERANCE,
        "bodies of {each} bytes, not {}: {said}",
        body.length
    );
    Ok(())
}

/// Reads how many bytes the bodies had: `traffic: 1.00MB (1048576) total, .., 0.90MB (943718) data`.
fn h2load_data(said: &str) -> Result<u64> {
    let count = said.lines().find_map(|line| {
        let data = line.strip_prefix("traffic: ")?.rsplit(", ").next()?;
        let (_, count) = data.strip_suffix(") data")?.rsplit_once('(')?;
        count.parse().ok()
    });
    count.with_context(|| format!("h2load said something else: {said}"))
}

/// Counts, in each thread of wrk, the answers that are not what was asked for.
const LUA: &str = r#"
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init(args)
  bad, coding, least, most = 0, args[1], tonumber(args[2]), tonumber(args[3])
  wrk.headers["accept-encoding"] = coding
end
function response(status, headers, body)
  if status ~= 200 or headers["content-encoding"] ~= coding or #body < least or #body > most then
    bad = bad + 1
  end
end
function done()
  local sum = 0
  for _, thread in ipairs(threads) do sum = sum + thread:get("bad") end
  print("bad answers: " .. sum)
end
"#;

/// Runs wrk, which counts seconds, until it has made enough requests.
fn wrk(setup: &Setup, server: &Server, body: Body, requests: u64) -> Result<()> {
    const LIMIT: Duration = Duration::from_mins(2);
    let url = server.url(&format!("any/{}", body.path));
    let [least, most] = [1.0 - TOLERANCE, 1.0 + TOLERANCE].map(|part| (body.length * part).to_string());
    let time = if setup.is_long { "10s" } else { "1s" };
    let mut made = 0;
    while made < requests {
        let child = Child::start("wrk", |folder| {
            let script = folder.join("check.lua");
            fs::write(&script, LUA)?;
            let mut command = Command::new(tools::find("wrk", &setup.path)?);
            command
                .args(["-t1", "-c10", "-d", time, "--timeout", "60s", "-s"])
                .arg(script);
            command.args([&*url, "--", body.coding, &least, &most]);
            Ok(command)
        })?;
        let ended = child.end(LIMIT)?;
        ensure!(
            ended.stdout.lines().any(|line| line == "bad answers: 0"),
            "wrk said {}{}",
            ended.stdout,
            ended.stderr
        );
        made += wrk_made(&ended.stdout)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_bytes_of_bodies() {
        let said = "traffic: 1.12MB (1170000) total, 8.20KB (8400) headers (space savings 95.00%), 1.10MB (1150000) data";
        assert_eq!(h2load_data(said).unwrap(), 1_150_000);
        assert!(h2load_data("traffic: none").is_err());
    }
}
