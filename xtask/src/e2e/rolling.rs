use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, TempDir};

use super::child::Child;
use super::scenario::{Scenario, Setup};
use super::service::Service;
use super::wait::until;

pub(super) const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "http: restarts in turn lose no request of a balancer that asks for readiness, HTTP/1",
        programs: &[],
        test: |setup| restarts(setup, "http1", "readiness"),
    },
    Scenario {
        name: "http: restarts in turn lose no request of a balancer that asks for readiness, HTTP/2",
        programs: &[],
        test: |setup| restarts(setup, "http2", "readiness"),
    },
    Scenario {
        name: "http: restarts in turn lose no request of a balancer that obeys `connection: close`, HTTP/1",
        programs: &[],
        test: |setup| restarts(setup, "http1", "close"),
    },
    Scenario {
        name: "http: restarts in turn lose no request of a balancer that obeys GOAWAY, HTTP/2",
        programs: &[],
        test: |setup| restarts(setup, "http2", "close"),
    },
];

const SHORT: usize = 4;

const LONG: usize = 40;

/// Long enough for a balancer that looks every 20 ms, on a machine that is busy with other things.
const FLAGS: &str = "--drain-delay 500 --drain-timeout 10000";

/// The requests that each instance answers between two restarts.
const REQUESTS: f64 = 100.0;

const WAIT: Duration = Duration::from_secs(20);

/// Two instances behind a balancer with requests always under way; SIGTERM ends one after the other, and a new one takes
/// its place.
fn restarts(setup: &Setup, protocol: &str, obeys: &str) -> Result<()> {
    let mut pair = Pair::start(setup)?;
    let balance = Child::start("balance", |_| {
        let mut command = Command::new(&setup.balance);
        command.args([protocol, obeys]).args(pair.files());
        Ok(command)
    })?;
    let restarts = if setup.is_long { LONG } else { SHORT };
    let done = pair
        .restart(setup, restarts, &balance)
        .with_context(|| balance.said());
    balance.terminate()?;
    let ended = balance.end(WAIT)?;
    done.with_context(|| ended.stdout.clone())?;
    ensure!(
        ended.status.success() && ended.stdout.contains(", 0 lost\n"),
        "ended with {}: {}{}",
        ended.status,
        ended.stdout,
        ended.stderr
    );
    Ok(())
}

/// Two instances, and the files that say where they are.
struct Pair {
    /// The one that has served longest is the first.
    instances: Vec<Service>,
    folder: TempDir,
}

impl Pair {
    fn start(setup: &Setup) -> Result<Self> {
        let pair = Self {
            instances: vec![Service::start(setup, FLAGS)?, Service::start(setup, FLAGS)?],
            folder: Shell::new()?.create_temp_dir()?,
        };
        for (n, instance) in pair.instances.iter().enumerate() {
            pair.announce(n, instance)?;
        }
        Ok(pair)
    }

    fn files(&self) -> [PathBuf; 2] {
        [0, 1].map(|n| file(self.folder.path(), n))
    }

    /// Says where an instance is; renamed into place, so that a reader sees all of it or nothing.
    fn announce(&self, n: usize, instance: &Service) -> Result<()> {
        let at = &instance.at;
        let file = file(self.folder.path(), n);
        let unfinished = file.with_extension("unfinished");
        fs::write(&unfinished, format!("{} {}\n", at.app, at.admin))?;
        fs::rename(unfinished, file)?;
        Ok(())
    }

    /// Ends an instance and starts another in its place, again and again.
    fn restart(&mut self, setup: &Setup, restarts: usize, balance: &Child) -> Result<()> {
        for n in 0..restarts {
            self.wait_for_requests(balance)?;
            let staying = self.instances.pop().context("there are two")?;
            let leaving = std::mem::replace(&mut self.instances, vec![staying]);
            for leaving in leaving {
                let ended = leaving.stop()?;
                ensure!(
                    ended.status.code() == Some(0) && ended.stdout.contains(" 0 cut"),
                    "an instance ended with {}: {}{}",
                    ended.status,
                    ended.stdout,
                    ended.stderr
                );
            }
            self.instances.push(Service::start(setup, FLAGS)?);
            self.announce(n % 2, &self.instances[1])?;
        }
        self.wait_for_requests(balance)
    }

    /// Waits until both instances answer requests; what they say of failures is looked at as well.
    fn wait_for_requests(&self, balance: &Child) -> Result<()> {
        for instance in &self.instances {
            let name = "http_server_request_outcomes_total{outcome=\"ok\"}";
            let before = instance.sample(name)?;
            until(WAIT, "requests to come", || {
                Ok((instance.sample(name)? >= before + REQUESTS).then_some(()))
            })
            .with_context(|| balance.said())?;
            let all = instance.sample("http_server_request_outcomes_total")?;
            let ok = instance.sample(name)?;
            ensure!(all <= ok, "{} requests did not end well", all - ok);
        }
        Ok(())
    }
}

fn file(folder: &Path, n: usize) -> PathBuf {
    folder.join(format!("instance-{n}"))
}
