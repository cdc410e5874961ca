use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::child::Child;
use super::scenario::{Scenario, Setup};
use super::storefront::Storefront;
use super::wait::until;
use crate::tools;

pub(super) const SCENARIOS: [Scenario; 3] = [
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
    Scenario {
        name: "trace: OpenTelemetry for Python calls us and is called by us in one trace",
        programs: &["opentelemetry_sdk"],
        test: relayed,
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

/// Pays, and prints what its own propagators read from each call; the first line is the port.
const PAY: &str = r#"
import json
from http.server import BaseHTTPRequestHandler, HTTPServer
from opentelemetry import baggage, trace
from opentelemetry.propagate import extract

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        charge = json.loads(self.rfile.read(int(self.headers["content-length"])))
        context = extract({name.lower(): value for name, value in self.headers.items()})
        caller = trace.get_current_span(context).get_span_context()
        print(json.dumps({"trace": f"{caller.trace_id:032x}", "span": f"{caller.span_id:016x}",
                          "sampled": caller.trace_flags.sampled, "state": dict(caller.trace_state.items()),
                          "baggage": dict(baggage.get_all(context))}), flush=True)
        body = json.dumps({"receipt": "r-1", "cents": charge["cents"]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"#;

/// Orders something in a span of its own, with a `tracestate` and baggage, and prints which span that was.
const ORDER: &str = r#"
import json, sys, urllib.request
from opentelemetry import baggage, trace
from opentelemetry.propagate import inject
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

caller = SpanContext(0x4bf92f3577b34da6a3ce929d0e0e4736, 0x00f067aa0ba902b7, True,
                     TraceFlags(1), TraceState([("congo", "t61rcWkgMzE"), ("rojo", "00f067aa0ba902b7")]))
context = baggage.set_baggage("user", "Zo\u00eb, \"the\" first", trace.set_span_in_context(NonRecordingSpan(caller)))
with TracerProvider().get_tracer("order").start_as_current_span("order", context=context) as span:
    headers = {"content-type": "application/json"}
    inject(headers, trace.set_span_in_context(span, context))
    request = urllib.request.Request(f"http://{sys.argv[1]}/checkout", sys.argv[2].encode(), headers)
    status = urllib.request.urlopen(request).status
    assert status < 300, status
    print(json.dumps({"trace": f"{span.get_span_context().trace_id:032x}",
                      "span": f"{span.get_span_context().span_id:016x}"}))
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
    let (receiver, addr) = serve(setup, RECEIVE)?;
    let trace = send(setup, "http", addr)?;
    let said = fs::read_to_string(receiver.file("stdout"))?;
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
                "state": "ot=th:0", "status": 2, "in order": true,
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

/// Starts a server in Python, which prints its port first.
fn serve(setup: &Setup, script: &str) -> Result<(Child, SocketAddr)> {
    let mut server = Child::start("python", |_| {
        let mut command = Command::new(&setup.python);
        command.args(["-c", script]);
        Ok(command)
    })?;
    let port = server.ready("its port", |child| {
        let said = fs::read_to_string(child.file("stdout"))?;
        Ok(said
            .split_once('\n')
            .and_then(|(port, _)| port.parse::<u16>().ok()))
    })?;
    Ok((server, SocketAddr::from(([127, 0, 0, 1], port))))
}

/// The propagators of another project, before us and behind us, see one trace: ids, `tracestate` and baggage.
fn relayed(setup: &Setup) -> Result<()> {
    let (recording, passing) = (relay(setup, true)?, relay(setup, false)?);
    ensure!(
        recording.0 != recording.1 && recording.1 != "0000000000000000",
        "with spans of our own the callee's parent is {}, and the caller {}",
        recording.1,
        recording.0
    );
    ensure!(
        passing.0 == passing.1,
        "without spans of our own the callee's parent is {}, not the caller {}",
        passing.1,
        passing.0
    );
    Ok(())
}

/// Sends an order through a storefront that records or not; returns the caller's span and that which the callee saw.
fn relay(setup: &Setup, records: bool) -> Result<(String, String)> {
    let (payments, addr) = serve(setup, PAY)?;
    let (pay_at, spans) = (addr.to_string(), payments.file("spans.jsonl"));
    let mut arguments = vec!["--pay-at", &pay_at];
    if records {
        arguments.extend(["--trace-file", spans.to_str().context("the folder is no text")?]);
    }
    let storefront = Storefront::start_with(setup, &arguments)?;
    let order = json!({"product": storefront.product()?, "quantity": 1});
    let output = Command::new(&setup.python)
        .args(["-c", ORDER, &storefront.at.shop.to_string(), &order.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let ordered: Value = serde_json::from_str(&said)
        .with_context(|| format!("{said}{}", String::from_utf8_lossy(&output.stderr)))
        .with_context(|| storefront.said())?;
    let paid = fs::read_to_string(payments.file("stdout"))?;
    let paid: Value = serde_json::from_str(paid.lines().nth(1).with_context(|| payments.said())?)?;
    let expected = json!({
        "trace": ordered["trace"],
        "span": paid["span"],
        "sampled": true,
        "state": {"congo": "t61rcWkgMzE", "rojo": "00f067aa0ba902b7"},
        "baggage": {"user": "Zo\u{eb}, \"the\" first"},
    });
    ensure!(paid == expected, "read {paid}, not {expected}");
    let span = |said: &Value| said["span"].as_str().unwrap_or_default().to_owned();
    Ok((span(&ordered), span(&paid)))
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
