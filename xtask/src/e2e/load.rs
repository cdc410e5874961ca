use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::child::Child;
use super::scenario::{Scenario, Setup};
use super::service::Service;
use super::storefront::sum;
use crate::step::Stopwatch;
use crate::tools;

pub(super) const SCENARIOS: [Scenario; 3] = [
    Scenario {
        name: "http: wrk loads HTTP/1 and nothing fails",
        programs: &["wrk"],
        test: |setup| loads(setup, 400_000, wrk),
    },
    Scenario {
        name: "http: h2load loads HTTP/1 and nothing fails",
        programs: &["h2load"],
        test: |setup| {
            loads(setup, 200_000, |setup, service, n| {
                h2load(setup, service, n, &["--h1"])
            })
        },
    },
    Scenario {
        name: "http: h2load loads HTTP/2 and nothing fails",
        programs: &["h2load"],
        test: |setup| {
            loads(setup, 400_000, |setup, service, n| {
                h2load(setup, service, n, &["-m", "10"])
            })
        },
    },
];

/// What a short run leaves out of a long one, which makes a million requests in all.
const SHORTER: u64 = 20;

/// How much the service may grow: less than 20 bytes a request of the long run, or it keeps something of each.
const GROWTH: u64 = 8 << 20;

const CONNECTIONS: u32 = 32;

/// How long a program may take for its part of the load, on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_mins(10);

/// Loads the service. Each request is answered 200, and as often as the program says; the memory does not grow.
fn loads(setup: &Setup, requests: u64, load: fn(&Setup, &Service, u64) -> Result<Made>) -> Result<()> {
    let requests = if setup.is_long {
        requests
    } else {
        requests / SHORTER
    };
    let service = Service::start(setup, "")?;
    // The first ones make buffers, threads and series that stay.
    let warm = service.explain(load(setup, &service, requests / 5))?;
    let before = service.child.resident()?;
    let made = service.explain(load(setup, &service, requests))?;
    let after = service.child.resident()?;
    ensure!(
        after < before + GROWTH,
        "{} requests made it grow from {before} bytes to {after}",
        made.answered
    );
    let (answered, abandoned) = (warm.answered + made.answered, warm.abandoned + made.abandoned);
    let text = service.metrics()?;
    let count = |name: &str| sum(&text, name);
    let counted = count("http_server_request_outcomes_total");
    let ok = count("http_server_request_outcomes_total{outcome=\"ok\"}");
    let left = count("http_server_request_outcomes_total{outcome=\"client_cancel\"}")
        + count("http_server_request_outcomes_total{outcome=\"aborted\"}");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (answered, abandoned) = (answered as f64, abandoned as f64);
    ensure!(
        (answered..=answered + abandoned).contains(&ok),
        "{answered} were answered, it counts {ok}"
    );
    ensure!(
        counted <= ok + left && left <= abandoned,
        "of {counted} some failed:\n{text}"
    );
    ensure!(
        count("http_server_connection_errors_total") <= abandoned,
        "connections failed:\n{text}"
    );
    let ended = service.stop()?;
    ensure!(
        ended.status.code() == Some(0) && ended.stdout.contains(" 0 cut"),
        "ended with {}: {}",
        ended.status,
        ended.stdout
    );
    Ok(())
}

/// What a program did.
#[derive(Debug, PartialEq)]
struct Made {
    /// Requests that were answered well.
    answered: u64,
    /// At most so many were under way when the program had enough, and left without an answer.
    abandoned: u64,
}

/// Runs a program on the service and returns what it says.
pub(super) fn run(setup: &Setup, program: &'static str, arguments: &[&str]) -> Result<String> {
    let file = tools::find(program, &setup.path)?;
    let child = Child::start(program, |_| {
        let mut command = Command::new(file);
        command.args(arguments);
        Ok(command)
    })?;
    let ended = child.end(LIMIT)?;
    let said = ended.stdout + &ended.stderr;
    ensure!(
        ended.status.success(),
        "{program} ended with {}: {said}",
        ended.status
    );
    Ok(said)
}

/// Runs wrk, which counts seconds, until it has made enough requests.
fn wrk(setup: &Setup, service: &Service, requests: u64) -> Result<Made> {
    let url = format!("http://{}/users/7", service.at.app);
    let connections = CONNECTIONS.to_string();
    let time = if setup.is_long { "10s" } else { "1s" };
    let arguments = ["-t1", "-c", &connections, "-d", time, "--timeout", "60s", &url];
    let watch = Stopwatch::start();
    let mut made = Made {
        answered: 0,
        abandoned: 0,
    };
    while made.answered < requests {
        ensure!(
            watch.elapsed() < LIMIT,
            "only {} requests in {LIMIT:?}",
            made.answered
        );
        made.answered += wrk_made(&run(setup, "wrk", &arguments)?)?;
        made.abandoned += u64::from(CONNECTIONS);
    }
    Ok(made)
}

/// Reads how many requests wrk made, none of which failed.
pub(super) fn wrk_made(said: &str) -> Result<u64> {
    ensure!(
        !said.contains("Non-2xx") && !said.contains("Socket errors"),
        "wrk saw failures: {said}"
    );
    let count = said.split_once(" requests in ").and_then(|(before, _)| {
        let word = before.split_whitespace().next_back()?;
        word.parse().ok()
    });
    count.with_context(|| format!("wrk said something else: {said}"))
}

fn h2load(setup: &Setup, service: &Service, requests: u64, mode: &[&str]) -> Result<Made> {
    let app = service.at.app;
    let (requests, connections) = (requests.to_string(), CONNECTIONS.to_string());
    let urls = [format!("http://{app}/"), format!("http://{app}/users/7")];
    let arguments = ["-n", &requests, "-c", &connections];
    let arguments = [&arguments[..], mode, &[&urls[0], &urls[1]]].concat();
    let answered = h2load_made(&run(setup, "h2load", &arguments)?)?;
    Ok(Made {
        answered,
        abandoned: 0,
    })
}

/// Reads how many requests h2load made, none of which failed.
pub(super) fn h2load_made(said: &str) -> Result<u64> {
    let line = |start: &str| said.lines().find_map(|line| line.strip_prefix(start));
    let counts = |start: &str| -> Option<Vec<(u64, &str)>> {
        line(start)?
            .split(',')
            .map(|part| {
                let (number, what) = part.trim().split_once(' ')?;
                Some((number.parse().ok()?, what))
            })
            .collect()
    };
    let other = || format!("h2load said something else: {said}");
    let requests = counts("requests: ").with_context(other)?;
    let codes = counts("status codes: ").with_context(other)?;
    let of = |counts: &[(u64, &str)], what: &str| {
        let found = counts.iter().find(|(_, name)| *name == what);
        found.map(|(count, _)| *count).with_context(other)
    };
    let total = of(&requests, "total")?;
    ensure!(
        of(&requests, "succeeded")? == total && of(&codes, "2xx")? == total,
        "h2load saw failures: {said}"
    );
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_wrk() {
        let said = "    Req/Sec    15.07k\n  30021 requests in 2.00s, 3.72MB read\nRequests/sec:  14991.46\n";
        assert_eq!(wrk_made(said).unwrap(), 30_021);
        for failure in [
            "  Non-2xx or 3xx responses: 1\n",
            "  Socket errors: connect 0, read 1, write 0, timeout 0\n",
        ] {
            assert!(wrk_made(&(said.to_owned() + failure)).is_err());
        }
        assert!(wrk_made("unable to connect").is_err());
    }

    #[test]
    fn reads_h2load() {
        let requests =
            "requests: 50 total, 50 started, 50 done, 50 succeeded, 0 failed, 0 errored, 0 timeout\n";
        let codes = "status codes: 50 2xx, 0 3xx, 0 4xx, 0 5xx\n";
        assert_eq!(h2load_made(&(requests.to_owned() + codes)).unwrap(), 50);
        assert!(h2load_made(requests).is_err());
        assert!(h2load_made(&(requests.to_owned() + &codes.replace("50 2xx", "49 2xx"))).is_err());
        assert!(h2load_made(&(requests.replace("50 succeeded", "49 succeeded") + codes)).is_err());
    }
}
