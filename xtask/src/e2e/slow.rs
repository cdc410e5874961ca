use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::child::Child;
use super::http;
use super::scenario::{Scenario, Setup};
use super::service::Service;
use super::wait::{PATIENCE, pause, until};
use crate::step::Stopwatch;
use crate::tools;

pub(super) const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "http: slowhttptest -H, slow heads are cut off",
        programs: SLOWHTTPTEST,
        test: |setup| HEADS.run(setup),
    },
    Scenario {
        name: "http: slowhttptest -B, slow bodies are cut off",
        programs: SLOWHTTPTEST,
        test: |setup| BODIES.run(setup),
    },
    Scenario {
        name: "http: slowhttptest -X, slow readers are cut off",
        programs: SLOWHTTPTEST,
        test: |setup| READERS.run(setup),
    },
    Scenario {
        name: "http: slowhttptest -R, ranges in heaps are answered",
        programs: SLOWHTTPTEST,
        test: |setup| RANGES.run(setup),
    },
];

const SLOWHTTPTEST: &[&str] = &["slowhttptest"];

const CONNECTIONS: f64 = 400.0;

/// Limits that a test can wait for; the defaults would do the same later.
const FLAGS: &str = "--first-byte 2000 --header 2000 --body 3000 --write-stall 3000 --large 8388608";

/// The time in which the connections are opened, 200 a second, and some for a busy machine.
const RAMP: Duration = Duration::from_secs(2 + 8);

/// The longest of those limits, and some for a busy machine; the program itself would go on for a minute.
const DEADLINE: Duration = Duration::from_secs(3 + 25);

/// How much memory 400 clients may cost at once.
const GROWTH: u64 = 64 << 20;

/// One way to keep 400 connections busy with nothing.
struct Attack {
    mode: &'static str,
    path: &'static str,
    /// The sample that counts each connection that fell to it.
    counted: &'static str,
}

const HEADS: Attack = Attack {
    mode: "-H -i 1",
    path: "/",
    counted: "http_server_connection_errors_total{kind=\"header_timeout\"}",
};

const BODIES: Attack = Attack {
    mode: "-B -i 1 -s 8192 -x 10",
    path: "/echo",
    counted: "http_server_request_outcomes_total{outcome=\"timeout\"}",
};

const READERS: Attack = Attack {
    mode: "-X -w 512 -y 1024 -n 1 -z 32",
    path: "/large",
    counted: "http_server_connection_errors_total{kind=\"write_stall\"}",
};

/// No slow one: the ranges overlap, and who sent them all would send much for little. They may be ignored (RFC 9110, section
/// 14.2), which is what happens.
const RANGES: Attack = Attack {
    mode: "-R -a 5 -b 3000 -t HEAD",
    path: "/",
    counted: "http_server_request_duration_seconds_count{http_request_method=\"HEAD\",http_route=\"/\",http_response_status_code=\"200\"}",
};

impl Attack {
    /// The connections are closed in time and counted, the program itself finds the service available all the while, and
    /// so does somebody else.
    fn run(&self, setup: &Setup) -> Result<()> {
        let service = Service::start(setup, FLAGS)?;
        let before = service.child.resident()?;
        let child = Child::start("slowhttptest", |_| self.command(setup, service.at.app))?;
        let done = AtomicBool::new(false);
        let most = thread::scope(|scope| {
            let neighbour = scope.spawn(|| neighbour(service.at.app, &done));
            let attacked = service.explain(attacked(&service, self.counted));
            done.store(true, Ordering::Relaxed);
            neighbour
                .join()
                .ok()
                .context("the neighbour panicked")?
                .context("somebody else")?;
            attacked
        })
        .with_context(|| child.said())?;
        ensure!(most < before + GROWTH, "it grew from {before} to {most} bytes");
        // It reads as slowly as it is told to, so it does not see that they are closed; it writes its report at the end.
        let _ = child.signal("INT"); // it may have ended
        let report = until(DEADLINE, "the report", || {
            let saved = child.said().contains("CSV report saved");
            let report = child.file("report.csv");
            Ok(saved.then(|| fs::read_to_string(report)).transpose()?)
        });
        let ended = child.end(DEADLINE)?;
        available(&report?).with_context(|| ended.stdout)?;
        let ended = service.stop()?;
        ensure!(
            ended.status.code() == Some(0),
            "{}: {}",
            ended.status,
            ended.stdout
        );
        Ok(())
    }

    fn command(&self, setup: &Setup, app: SocketAddr) -> Result<Command> {
        let mut command = Command::new(tools::find("slowhttptest", &setup.path)?);
        command
            .args([
                "-c",
                &CONNECTIONS.to_string(),
                "-r",
                "200",
                "-l",
                "60",
                "-p",
                "3",
                "-v",
                "1",
            ])
            .args(self.mode.split_whitespace())
            .args(["-g", "-o", "report", "-u"])
            .arg(format!("http://{app}{}", self.path));
        Ok(command)
    }
}

/// Waits until all connections have been counted and none is left, and returns the most memory that was seen.
fn attacked(service: &Service, counted: &str) -> Result<u64> {
    let mut most = 0;
    until(RAMP + DEADLINE, "the connections to be closed", || {
        most = most.max(service.child.resident()?);
        let fallen = service.sample(counted)?;
        let open = service.sample("http_server_active_connections")?;
        // The program's probe, and somebody else.
        Ok((fallen >= CONNECTIONS && open <= 2.0).then_some(()))
    })?;
    Ok(most)
}

/// Asks again and again, and is answered at once.
fn neighbour(app: SocketAddr, done: &AtomicBool) -> Result<()> {
    while !done.load(Ordering::Relaxed) {
        let watch = Stopwatch::start();
        http::get(app, "/users/7")?.text()?;
        ensure!(watch.elapsed() < PATIENCE, "it took {:?}", watch.elapsed());
        pause(Duration::from_millis(20));
    }
    Ok(())
}

/// Reads the table of seconds: the last column is zero if the service was not available.
fn available(report: &str) -> Result<()> {
    let mut lines = report.lines();
    let head = lines.next().unwrap_or_default();
    ensure!(
        head.ends_with(",Service Available") && report.lines().count() > 2,
        "the report is another: {report}"
    );
    for line in lines {
        let last = line.rsplit(',').next().unwrap_or_default();
        ensure!(last.trim().parse::<u32>()? > 0, "not available: {report}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_without_service_is_found() {
        let head = "Seconds,Closed,Pending,Connected,Service Available\n";
        available(&format!("{head}0,0,1,0,400\n1,0,1,189,400\n")).unwrap();
        for wrong in [
            format!("{head}0,0,1,0,400\n1,0,1,189,0\n"),
            format!("{head}0,0,1,0,\n1,0,1,189,0\n"),
            head.to_owned(),
            String::new(),
        ] {
            assert!(available(&wrong).is_err(), "{wrong}");
        }
    }
}
