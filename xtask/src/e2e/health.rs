use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use super::child::Child;
use super::exposition::pipe;
use super::http;
use super::kubelet::Prober;
use super::probes::Probes;
use super::scenario::{Scenario, Setup};
use super::wait::until;
use crate::step::Stopwatch;
use crate::tools;

pub(super) const SCENARIOS: [Scenario; 8] = [
    Scenario {
        name: "health: a kubelet sees start, degrade, failure, recovery and drain",
        programs: &[],
        test: kubelet,
    },
    Scenario {
        name: "health: liveness answers while every worker is blocked",
        programs: &[],
        test: blocked,
    },
    Scenario {
        name: "health: readiness fails at SIGTERM while every worker is blocked",
        programs: &[],
        test: blocked_at_the_end,
    },
    Scenario {
        name: "health: a stop of the process is no reason for a restart",
        programs: &[],
        test: stopped,
    },
    Scenario {
        name: "health: promtool checks the metrics",
        programs: &["promtool"],
        test: promtool,
    },
    Scenario {
        name: "health: python checks, lists and watches over gRPC",
        programs: &["grpc_health"],
        test: |setup| grpc(setup, |probes| probes.app),
    },
    Scenario {
        name: "health: python checks, lists and watches over gRPC on the admin port",
        programs: &["grpc_health"],
        test: |setup| grpc(setup, |probes| probes.admin),
    },
    Scenario {
        name: "health: python watches over gRPC while the service ends",
        programs: &["grpc_health"],
        test: ends,
    },
];

const SECOND: Duration = Duration::from_secs(1);

/// What a client of gRPC's own library finds. The state is set over HTTP, as a person would.
const PYTHON: &str = r#"
import sys, urllib.request
import grpc
from grpc_health.v1 import health_pb2 as pb, health_pb2_grpc

app, address = sys.argv[1:]
SERVING, NOT, UNKNOWN = (pb.HealthCheckResponse.SERVING, pb.HealthCheckResponse.NOT_SERVING,
                         pb.HealthCheckResponse.SERVICE_UNKNOWN)

def put(state):
    urllib.request.urlopen(urllib.request.Request(f"http://{app}/state/{state}", method="POST"), timeout=10)

def watch(name):
    return stub.Watch(pb.HealthCheckRequest(service=name), timeout=60)

def follow(stream, *expected):
    for status in expected:
        found = next(stream).status
        assert found == status, (found, status)

def code(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    raise AssertionError("no error")

with grpc.insecure_channel(address) as channel:
    stub = health_pb2_grpc.HealthStub(channel)
    check = lambda name: stub.Check(pb.HealthCheckRequest(service=name), timeout=10).status

    ready, live, nobody = watch("ready"), watch("live"), watch("nobody")
    follow(ready, NOT)
    follow(live, SERVING)
    follow(nobody, UNKNOWN)
    put("up")
    follow(ready, SERVING)
    assert (check(""), check("ready"), check("live"), check("startup")) == (SERVING,) * 4
    assert code(lambda: check("nobody")) == grpc.StatusCode.NOT_FOUND
    statuses = stub.List(pb.HealthListRequest(), timeout=10).statuses
    listed = {name: response.status for name, response in statuses.items()}
    assert listed == dict.fromkeys(["", "startup", "live", "ready", "strict"], SERVING), listed

    put("degraded")  # serves: nothing is told
    put("down")
    follow(ready, NOT)
    put("up")
    follow(ready, SERVING)
    put("draining")
    follow(ready, NOT)
    assert (check(""), check("live")) == (NOT, SERVING)
    for stream in ready, live, nobody:
        assert code(lambda: next(stream)) == grpc.StatusCode.UNAVAILABLE
    put("up")
    follow(watch("ready"), SERVING)

    late = stub.Watch(pb.HealthCheckRequest(), timeout=0.5)
    follow(late, SERVING)
    assert code(lambda: next(late)) == grpc.StatusCode.DEADLINE_EXCEEDED
    missing = channel.unary_unary("/grpc.health.v1.Health/Restart")
    assert code(lambda: missing(b"", timeout=10)) == grpc.StatusCode.UNIMPLEMENTED
    repeated = pb.HealthCheckRequest(service="x" * 1000)
    try:
        stub.Check(repeated, timeout=10, compression=grpc.Compression.Gzip)
        raise AssertionError("no error")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error
        assert error.details().endswith("only identity is"), error.details()
    assert code(lambda: check("x" * 10_000)) == grpc.StatusCode.RESOURCE_EXHAUSTED
print("ok")
"#;

/// Follows one name until the stream ends.
const WATCH: &str = r"
import sys
import grpc
from grpc_health.v1 import health_pb2 as pb, health_pb2_grpc

with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = health_pb2_grpc.HealthStub(channel)
    try:
        for response in stub.Watch(pb.HealthCheckRequest(), timeout=60):
            print(response.status, flush=True)
    except grpc.RpcError as error:
        print(error.code().name, flush=True)
";

/// Three probers, as a pod has them, over the life of a service. Liveness must never fail: that would be a restart.
fn kubelet(setup: &Setup) -> Result<()> {
    let probes = Probes::start(setup)?;
    let mut startup = Prober::new(probes.admin, "/startupz");
    let mut live = Prober::new(probes.admin, "/livez");
    let mut ready = Prober::new(probes.admin, "/readyz");

    let mut pod = |ready: &mut Prober, what: &str, wanted: bool| {
        until(20 * SECOND, what, || {
            live.probe()?;
            ensure!(live.is_passing(), "liveness failed: {}", live.said());
            ready.probe()?;
            Ok((ready.is_passing() == wanted).then_some(()))
        })
    };
    // The database is still starting: no traffic, no restart.
    for _ in 0..5 {
        pod(&mut ready, "a pod that is not ready", false)?;
        startup.probe()?;
        ensure!(
            !startup.is_passing(),
            "it has started too early: {}",
            startup.said()
        );
    }
    probes.set("up")?;
    pod(&mut startup, "the start", true)?;
    pod(&mut ready, "readiness", true)?;

    probes.set("degraded")?;
    until(20 * SECOND, "the warning", || {
        let body = http::get(probes.admin, "/health")?.body;
        Ok(String::from_utf8(body)?
            .starts_with(r#"{"status":"warn""#)
            .then_some(()))
    })?;
    for _ in 0..5 {
        pod(&mut ready, "traffic for what is degraded", true)?;
    }

    probes.set("down")?;
    pod(&mut ready, "the failure", false)?;
    startup.probe()?;
    ensure!(startup.is_passing(), "a start is for ever: {}", startup.said());
    probes.set("up")?;
    pod(&mut ready, "the recovery", true)?;

    probes.child.terminate()?;
    pod(&mut ready, "the drain", false)?;
    ends_well(probes)
}

fn ends_well(probes: Probes) -> Result<()> {
    let ended = probes.end()?;
    ensure!(
        ended.status.code() == Some(0),
        "ended with {}: {}",
        ended.status,
        ended.stderr
    );
    Ok(())
}

/// While nothing else can run every answer takes less than 50 ms; readiness notices.
///
/// The machine may be busy with other things, so one of several rounds has to keep the bound.
fn blocked(setup: &Setup) -> Result<()> {
    let probes = Probes::start(setup)?;
    probes.set("up")?;
    let code = |path| Ok::<_, anyhow::Error>(http::get(probes.admin, path)?.status);
    until(20 * SECOND, "readiness", || {
        Ok((code("/readyz")? == 200).then_some(()))
    })?;
    ensure!(http::request(probes.app, "POST /block/4000", b"")?.status == 200);
    until(2 * SECOND, "readiness to fail", || {
        Ok((code("/readyz")? == 503).then_some(()))
    })?;
    let mut rounds = Vec::new();
    while rounds
        .last()
        .is_none_or(|slowest| *slowest >= Duration::from_millis(50))
    {
        ensure!(rounds.len() < 10, "the slowest answers of each round: {rounds:?}");
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let watch = Stopwatch::start();
            ensure!(code("/livez")? == 200, "liveness failed");
            slowest = slowest.max(watch.elapsed());
        }
        rounds.push(slowest);
    }
    ensure!(
        code("/readyz")? == 503,
        "the workers were free again too early for this to say anything"
    );
    until(20 * SECOND, "readiness again", || {
        Ok((code("/readyz")? == 200).then_some(()))
    })
}

/// The signal reaches the thread of the admin port: no worker can take it.
fn blocked_at_the_end(setup: &Setup) -> Result<()> {
    let probes = Probes::start(setup)?;
    probes.set("up")?;
    let ready = || http::get(probes.admin, "/readyz");
    until(20 * SECOND, "readiness", || {
        Ok((ready()?.status == 200).then_some(()))
    })?;
    let watch = Stopwatch::start();
    ensure!(http::request(probes.app, "POST /block/4000", b"")?.status == 200);
    until(2 * SECOND, "the block", || {
        Ok((ready()?.status == 503).then_some(()))
    })?;
    probes.child.terminate()?;
    until(2 * SECOND, "the drain", || {
        let answer = ready()?;
        let says_so = String::from_utf8_lossy(&answer.body).contains(r#""output":"draining""#);
        Ok((answer.status == 503 && says_so).then_some(()))
    })?;
    ensure!(
        watch.elapsed() < 3 * SECOND,
        "the workers were free again too early for this to say anything"
    );
    ensure!(
        http::get(probes.admin, "/livez")?.status == 200,
        "liveness failed in the drain"
    );
    ends_well(probes)
}

/// Whoever runs first when it goes on, liveness does not fail for the time that nobody could run.
fn stopped(setup: &Setup) -> Result<()> {
    let probes = Probes::start(setup)?;
    probes.set("up")?;
    let code = |path| Ok::<_, anyhow::Error>(http::get(probes.admin, path)?.status);
    until(20 * SECOND, "readiness", || {
        Ok((code("/readyz")? == 200).then_some(()))
    })?;
    for _ in 0..3 {
        probes.child.signal("STOP")?;
        let watch = Stopwatch::start();
        // Longer than a lag that is down, a result that is believed, and a sign of life of the scheduler.
        until(30 * SECOND, "the stop", || {
            Ok((watch.elapsed() > 11 * SECOND).then_some(()))
        })?;
        probes.child.signal("CONT")?;
        for _ in 0..100 {
            let answer = http::get(probes.admin, "/livez")?;
            let body = String::from_utf8_lossy(&answer.body);
            ensure!(answer.status == 200, "liveness failed: {body}");
        }
        until(5 * SECOND, "readiness again", || {
            Ok((code("/readyz")? == 200).then_some(()))
        })?;
    }
    Ok(())
}

fn promtool(setup: &Setup) -> Result<()> {
    let probes = Probes::start(setup)?;
    let text = until(20 * SECOND, "the first runs", || {
        let text = http::get(probes.admin, "/metrics")?.text()?;
        Ok(text.contains("cortex_health_transitions_total{").then_some(text))
    })?;
    for name in [
        "cortex_health_status{check=\"database\"}",
        "cortex_health_group_status{group=\"ready\"}",
        "cortex_health_stale{check=\"database\"}",
        "cortex_health_hung{check=\"database\"}",
        "cortex_health_skipped{check=\"database\"}",
        "cortex_health_flap_score{check=\"database\"}",
        "cortex_health_check_duration_seconds_bucket{check=\"database\",",
        "cortex_health_runs_total{check=\"database\",result=\"fail\"}",
        "cortex_health_transitions_total{check=\"database\",to=\"down\"}",
    ] {
        ensure!(text.contains(name), "there is no {name} in:\n{text}");
    }
    pipe(
        &tools::find("promtool", &setup.path)?,
        &["check", "metrics"],
        &text,
    )?;
    Ok(())
}

fn grpc(setup: &Setup, port: fn(&Probes) -> SocketAddr) -> Result<()> {
    let probes = Probes::start(setup)?;
    let (app, asked) = (probes.app.to_string(), port(&probes).to_string());
    let said = pipe(&setup.python, &["-c", PYTHON, &app, &asked], "")?;
    ensure!(said.trim_end().ends_with("ok"), "the client said {said}");
    Ok(())
}

/// A stream that watches is told of the end, and does not hold it up.
fn ends(setup: &Setup) -> Result<()> {
    let probes = Probes::start(setup)?;
    probes.set("up")?;
    let client = Child::start("the client", |_| {
        let mut command = Command::new(&setup.python);
        command.args(["-c", WATCH, &probes.app.to_string()]);
        Ok(command)
    })?;
    until(20 * SECOND, "a status", || {
        let said = fs::read_to_string(client.file("stdout"))?;
        Ok(said.ends_with("1\n").then_some(()))
    })?;
    probes.child.terminate()?;
    let watch = Stopwatch::start();
    let ended = probes.end()?;
    // Three seconds in which it still takes requests, and those that the stream may take.
    if ended.status.code() != Some(0) || watch.elapsed() > 8 * SECOND {
        bail!(
            "ended with {} after {:?}: {}",
            ended.status,
            watch.elapsed(),
            ended.stderr
        );
    }
    let client = client.end(20 * SECOND)?;
    let expected = "1\n2\nUNAVAILABLE\n";
    ensure!(
        client.stdout.ends_with(expected),
        "the client saw {}",
        client.stdout
    );
    Ok(())
}
