use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::child::Ended;
use super::http;
use super::scenario::{Scenario, Setup};
use super::service::Service;
use super::wait::{pause, until};

pub(super) const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "http: SIGTERM at any moment of the start ends it",
        programs: &[],
        test: starting,
    },
    Scenario {
        name: "http: SIGTERM and SIGINT end what runs with 0, SIGHUP does not",
        programs: &[],
        test: running,
    },
    Scenario {
        name: "http: a second signal ends the delay of the drain",
        programs: &[],
        test: draining,
    },
    Scenario {
        name: "http: a second signal ends the wait for requests",
        programs: &[],
        test: closing,
    },
    Scenario {
        name: "http: what takes longer than the drain is cut and named",
        programs: &[],
        test: cut,
    },
    Scenario {
        name: "http: SIGTERM waits for requests that are under way",
        programs: &[],
        test: finishing,
    },
];

const SOON: Duration = Duration::from_secs(10);

/// Longer than anybody waits.
const NEVER: &str = "600000";

/// The handlers are there before anything starts, and from then on there is no moment at which a signal is lost: in the
/// start, when it is just over, and in one that is never over.
fn starting(setup: &Setup) -> Result<()> {
    let moments = [0, 1, 2, 4, 8, 16, 32, 64].map(|millis| (millis, "24"));
    for (millis, delay) in moments.into_iter().chain([(0, NEVER), (64, NEVER)]) {
        let mut child = Service::spawn(setup, &format!("--start-delay {delay}"))?;
        child.ready("its start", |child| {
            let said = fs::read_to_string(child.file("stdout"))?;
            Ok(said.starts_with("starting\n").then_some(()))
        })?;
        pause(Duration::from_millis(millis));
        child.terminate()?;
        ends(&child.end(SOON)?, 0, "(SIGTERM): 0 requests")
            .with_context(|| format!("{millis} ms after the start of {delay} ms began"))?;
    }
    Ok(())
}

fn running(setup: &Setup) -> Result<()> {
    for signal in ["TERM", "INT"] {
        let service = Service::start(setup, "")?;
        service.child.signal("HUP")?;
        http::get(service.at.app, "/")?.text()?;
        service.child.signal(signal)?;
        ends(
            &service.child.end(SOON)?,
            0,
            &format!("(SIG{signal}): 1 requests on 1 connections served, 0 cut\n"),
        )?;
    }
    Ok(())
}

/// In the delay it is not ready and still serves.
fn draining(setup: &Setup) -> Result<()> {
    let service = Service::start(setup, &format!("--drain-delay {NEVER}"))?;
    service.child.terminate()?;
    until(SOON, "readiness to fail", || {
        Ok((http::get(service.at.admin, "/readyz")?.status == 503).then_some(()))
    })?;
    let answer = http::get(service.at.app, "/users/7")?;
    ensure!(answer.header("connection") == Some("close"), "{answer:?}");
    ensure!(
        http::get(service.at.admin, "/livez")?.status == 200,
        "a service that drains is alive"
    );
    service.child.terminate()?;
    ends(&service.child.end(SOON)?, 143, "forced after ")
}

/// The port is closed, and a request is still under way.
fn closing(setup: &Setup) -> Result<()> {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let service = Service::start(setup, &format!("--drain-timeout {NEVER}"))?;
        let _held = hold(&service)?;
        service.child.terminate()?;
        until(SOON, "the port to close", || {
            Ok(TcpStream::connect(service.at.app).is_err().then_some(()))
        })?;
        service.child.signal(signal)?;
        // The code tells of the second one, which ended it.
        ends(
            &service.child.end(SOON)?,
            code,
            "\n  cut GET /wait/{millis} after ",
        )?;
    }
    Ok(())
}

fn cut(setup: &Setup) -> Result<()> {
    let service = Service::start(setup, "--drain-timeout 300")?;
    let _held = hold(&service)?;
    let ended = service.stop()?;
    ends(
        &ended,
        3,
        "(SIGTERM): 1 requests on 1 connections served, 1 cut\n",
    )?;
    ends(&ended, 3, "\n  cut GET /wait/{millis} after ")
}

fn finishing(setup: &Setup) -> Result<()> {
    let service = Service::start(setup, "--drain-timeout 20000")?;
    let mut held = http::connect(service.at.app)?;
    held.write_all(&http::message("GET /wait/1000", 0))?;
    active(&service)?;
    service.child.terminate()?;
    let answer = http::Response::parse(&http::to_end(&mut held)?)?;
    ensure!(answer.body == b"waited", "answered {answer:?}");
    ends(
        &service.child.end(SOON)?,
        0,
        "(SIGTERM): 1 requests on 1 connections served, 0 cut\n",
    )
}

/// Starts a request that does not end by itself.
fn hold(service: &Service) -> Result<TcpStream> {
    let mut held = http::connect(service.at.app)?;
    held.write_all(&http::message(&format!("GET /wait/{NEVER}"), 0))?;
    active(service)?;
    Ok(held)
}

fn active(service: &Service) -> Result<()> {
    until(SOON, "the request to begin", || {
        Ok((service.sample("http_server_active_requests")? >= 1.0).then_some(()))
    })
}

fn ends(ended: &Ended, code: i32, says: &str) -> Result<()> {
    ensure!(
        ended.status.code() == Some(code) && ended.stdout.contains(says),
        "not {code} and {says:?}, but {}: {}{}",
        ended.status,
        ended.stdout,
        ended.stderr
    );
    Ok(())
}
