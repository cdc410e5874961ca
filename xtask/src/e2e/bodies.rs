use anyhow::{Result, ensure};

use super::exposition::pipe;
use super::probes::Probes;
use super::scenario::{Scenario, Setup};

pub(super) const SCENARIOS: [Scenario; 1] = [Scenario {
    name: "health: every body in JSON is what its schema says",
    programs: &["jsonschema"],
    test: bodies,
}];

const HEALTH: &str = include_str!("schemas/health.json");

const ACTUATOR: &str = include_str!("schemas/actuator.json");

/// Reads both formats at each detail in each state, and holds them against the schemas and the rules of the draft.
const PYTHON: &str = r#"
import json, sys, time, urllib.error, urllib.request
from jsonschema import Draft202012Validator

app, admin, token = sys.argv[1:]
formats = {}
for media, schema in zip(("application/health+json", "application/vnd.spring-boot.actuator.v3+json"),
                         json.load(sys.stdin)):
    Draft202012Validator.check_schema(schema)
    formats[media] = Draft202012Validator(schema)

def ask(address, path, **headers):
    request = urllib.request.Request(f"http://{address}{path}", headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=10)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return response.status, response.headers["content-type"], response.read()

def put(state):
    urllib.request.urlopen(urllib.request.Request(f"http://{app}/state/{state}", method="POST"), timeout=10)

def reach(state, status, word):
    end = time.monotonic() + 20
    while True:
        code, _, body = ask(admin, "/readyz", accept="application/health+json")
        body = json.loads(body)
        if (code, body["status"]) == (status, word) and body.get("output") == ("draining" if state == "draining" else None):
            return
        assert time.monotonic() < end, (state, code, body)

PATHS = ["/livez", "/readyz", "/startupz", "/health", "/health/ready", "/health/strict", "/health/check/database", "/health/check/runtime"]
READERS = {"none": (app, {}), "status": (admin, {}), "full": (admin, {"authorization": f"Bearer {token}"})}
validated, refused, members = 0, 0, set()

def collect(value):
    if isinstance(value, dict):
        members.update(value)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            collect(item)

for state, status, word in [("down", 503, "fail"), ("up", 200, "pass"), ("degraded", 200, "warn"), ("draining", 503, "fail")]:
    put(state)
    reach(state, status, word)
    for detail, (address, headers) in READERS.items():
        for path in PATHS:
            for media, validator in formats.items():
                code, content_type, body = ask(address, path, accept=media, **headers)
                assert content_type == media, (media, content_type)
                body = json.loads(body)
                for error in validator.iter_errors(body):
                    raise AssertionError((state, detail, path, media, error.message, body))
                assert (body["status"] in ("pass", "warn", "UP")) == (code < 400), (state, path, code, body)
                if detail == "none":
                    assert list(body) == ["status"], (path, body)
                validated += 1
                collect(body)
            code, content_type, body = ask(address, path, accept="text/plain", **headers)
            assert content_type.startswith("text/plain"), content_type
            word = body.decode().splitlines()[0].split(":")[0]
            assert (word in ("up", "degraded")) == (code < 400), (state, path, code, body)
            refused += state == "degraded" and code >= 400
needed = {"status", "version", "serviceId", "checks", "rootCauses", "transitions", "output", "time", "runs", "latencyMs",
          "observedValue", "observedUnit", "data", "components", "details", "message"}
assert not needed - members, ("never seen", needed - members)
assert refused == len(READERS), "the group that refuses what is degraded"
print(validated, "bodies ok")
"#;

fn bodies(setup: &Setup) -> Result<()> {
    let probes = Probes::start(setup)?;
    let (app, admin) = (probes.app.to_string(), probes.admin.to_string());
    let arguments = ["-c", PYTHON, &app, &admin, Probes::TOKEN];
    let schemas = format!("[{HEALTH},{ACTUATOR}]");
    let said = pipe(&setup.python, &arguments, &schemas)?;
    ensure!(said.trim_end().ends_with("bodies ok"), "the client said {said}");
    Ok(())
}
