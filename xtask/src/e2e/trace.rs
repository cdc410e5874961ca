use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::child::Child;
use super::scenario::{Scenario, Setup};
use super::wait::until;
use crate::tools;

pub(super) const SCENARIOS: [Scenario; 2] = [
    Scenario {
        name: "trace: a collector receives spans and logs over gRPC and HTTP",
        programs: &["rotel-agent"],
        test: collector,
    },
    Scenario {
        name: "trace: opentelemetry-proto decodes what is sent",
        programs: &["opentelemetry_proto"],
        test: decoded,
    },
];

/// Receives what is sent over HTTP, decodes it and prints it, a line per request; the first line is the port.
const RECEIVE: &str = r#"
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

def values(attributes):
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            request = ExportTraceServiceRequest.FromString(body)
            [of] = request.resource_spans
            said = [
                {"name": span.name, "kind": span.kind, "trace": span.trace_id.hex(), "span": span.span_id.hex(),
                 "parent": span.parent_span_id.hex(), "state": span.trace_state, "status": span.status.code,
                 "attributes": values(span.attributes), "in order": span.start_time_unix_nano <= span.end_time_unix_nano,
                 "events": {event.name: values(event.attributes) for event in span.events}}
                for scope in of.scope_spans for span in scope.spans
            ]
        else:
            request = ExportLogsServiceRequest.FromString(body)
            [of] = request.resource_logs
            said = [
                {"scope": scope.scope.name, "severity": record.severity_number, "body": record.body.string_value,
                 "trace": record.trace_id.hex(), "span": record.span_id.hex(), "attributes": values(record.attributes)}
                for scope in of.scope_logs for record in scope.log_records
            ]
        whole = request.ByteSize() == len(body)
        request.DiscardUnknownFields()
        whole = whole and request.ByteSize() == len(body)
        print(json.dumps({"path": self.path, "whole": whole, "resource": values(of.resource.attributes), "said": said}), flush=True)
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// A collector that is not ours shows what it got, by each protocol.
fn collector(setup: &Setup) -> Result<()> {
    let (collector, http, grpc) = start(setup)?;
    for (protocol, addr) in [("http", http), ("json", http), ("grpc", grpc)] {
        let trace = send(setup, protocol, addr)?;
        until(
            Duration::from_secs(20),
            &format!("{trace} over {protocol}"),
            || {
                let said = fs::read_to_string(collector.file("stdout"))?;
                Ok(is_complete(&said, &trace).then_some(()))
            },
        )
        .with_context(|| collector.said())?;
    }
    Ok(())
}

/// Says whether a collector has shown both spans and the log record of a trace.
fn is_complete(said: &str, trace: &str) -> bool {
    let id = format!("    Trace ID       : {trace}\n");
    let parts: Vec<_> = said.split(&id).skip(1).collect();
    let [count, restock, record] = &parts[..] else {
        return false;
    };
    let first = |text: &str, wanted: &str| text.lines().take(20).any(|line| line.trim() == wanted);
    first(count, "Name           : count")
        && first(count, "Status code    : STATUS_CODE_ERROR")
        && first(count, "-> shelf: Str(A-7)")
        && first(count, "-> Name: recount")
        && first(restock, "Name           : restock")
        && first(restock, "Kind           : SPAN_KIND_CONSUMER")
        && restock.contains("Body: Str(counted again)")
        && restock.contains("SeverityText: WARN")
        && first(record, "Flags: 3")
}

/// Starts a collector on two ports that were free a moment ago; another pair if they are not any more.
fn start(setup: &Setup) -> Result<(Child, SocketAddr, SocketAddr)> {
    let program = tools::find("rotel-agent", &setup.path)?;
    for _ in 0..3 {
        let (http, grpc) = {
            let (http, grpc) = (
                TcpListener::bind("127.0.0.1:0")?,
                TcpListener::bind("127.0.0.1:0")?,
            );
            (http.local_addr()?, grpc.local_addr()?)
        };
        let mut child = Child::start("rotel-agent", |_| {
            let mut command = Command::new(&program);
            command.args(["start", "--exporter", "blackhole"]);
            command.args(["--debug-log", "traces", "--debug-log", "logs"]);
            command.args(["--debug-log-verbosity", "detailed"]);
            command.arg("--otlp-http-endpoint").arg(http.to_string());
            command.arg("--otlp-grpc-endpoint").arg(grpc.to_string());
            Ok(command)
        })?;
        let ready = child.ready("its ports", |_| {
            Ok((TcpStream::connect(http).is_ok() && TcpStream::connect(grpc).is_ok()).then_some(()))
        });
        if ready.is_ok() {
            return Ok((child, http, grpc));
        }
    }
    bail!("rotel-agent did not start on any of three pairs of ports")
}

/// Runs our example, which sends two spans and a log record, and returns the trace.
fn send(setup: &Setup, protocol: &str, addr: SocketAddr) -> Result<String> {
    let output = Command::new(&setup.otlp)
        .args([protocol, &format!("http://{addr}")])
        .output()
        .with_context(|| setup.otlp.display().to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{protocol}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let parts: Vec<_> = said.split_whitespace().collect();
    let [trace, "2", "1"] = parts[..] else {
        bail!("{protocol}: said {said}");
    };
    Ok(trace.to_owned())
}

/// The messages of another project read all that we write.
fn decoded(setup: &Setup) -> Result<()> {
    let mut receiver = Child::start("python", |_| {
        let mut command = Command::new(&setup.python);
        command.args(["-c", RECEIVE]);
        Ok(command)
    })?;
    let lines = |child: &Child| fs::read_to_string(child.file("stdout"));
    let port = receiver.ready("its port", |child| {
        let said = lines(child)?;
        Ok(said
            .split_once('\n')
            .and_then(|(port, _)| port.parse::<u16>().ok()))
    })?;
    let trace = send(setup, "http", SocketAddr::from(([127, 0, 0, 1], port)))?;
    let said = lines(&receiver)?;
    let requests = said
        .lines()
        .skip(1)
        .map(|line| {
            let request: Value = serde_json::from_str(line)?;
            Ok((request["path"].as_str().unwrap_or_default().to_owned(), request))
        })
        .collect::<Result<BTreeMap<_, _>>>()?;
    let (spans, logs) = requests
        .get("/v1/traces")
        .zip(requests.get("/v1/logs"))
        .with_context(|| receiver.said())?;
    let (count, restock) = (&spans["said"][0], &spans["said"][1]);
    let expected = json!({
        "path": "/v1/traces",
        "whole": true,
        "resource": {"service.name": "shop", "service.version": "1.4.2"},
        "said": [
            {
                "name": "count", "kind": 1, "trace": trace, "span": count["span"], "parent": restock["span"],
                "state": "", "status": 2, "in order": true,
                "attributes": {"items": 12, "shelf": "A-7", "error.type": "mismatch"},
                "events": {"recount": {"attempt": 2}},
            },
            {
                "name": "restock", "kind": 5, "trace": trace, "span": restock["span"], "parent": "",
                "state": "ot=th:0", "status": 0, "in order": true, "attributes": {}, "events": {},
            },
        ],
    });
    ensure!(*spans == expected, "read {spans}, not {expected}");
    let expected = json!({
        "path": "/v1/logs",
        "whole": true,
        "resource": {"service.name": "shop"},
        "said": [{
            "scope": "otlp", "severity": 13, "body": "counted again", "trace": trace, "span": count["span"],
            "attributes": {"items": 12},
        }],
    });
    ensure!(*logs == expected, "read {logs}, not {expected}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_complete_with_both_spans_and_the_record() {
        let id = "    Trace ID       : ab\n";
        let count = "    Name           : count\n    Status code    : STATUS_CODE_ERROR\n     -> shelf: Str(A-7)\n     -> Name: recount\n";
        let restock = "    Name           : restock\n    Kind           : SPAN_KIND_CONSUMER\n";
        let record = "SeverityText: WARN\nBody: Str(counted again)\n";
        let all = [id, count, id, restock, record, id, "Flags: 3\n"].concat();
        assert!(is_complete(&all, "ab"));
        assert!(!is_complete(&all, "cd"));
        for missing in [count, restock, record, "Flags: 3\n"] {
            assert!(!is_complete(&all.replace(missing, ""), "ab"), "{missing}");
        }
    }
}
