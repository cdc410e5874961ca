//! Starts the real program and uses it as its customers do.
#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Longer than anything here takes: what is not there by then is missing.
const LIMIT: Duration = Duration::from_secs(30);

/// The program, killed if a test fails.
struct Storefront {
    child: Child,
    folder: PathBuf,
    at: Value,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_storefront"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STOREFRONT_") {
            command.env_remove(name);
        }
    }
    let any = "127.0.0.1:0";
    command
        .args(["--addr", any, "--admin", any, "--payments", any])
        .args(args);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

impl Storefront {
    fn start(name: &str, args: &[&str]) -> Self {
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let announced = folder.join("announce");
        let _ = std::fs::remove_file(&announced);
        let mut child = command(args).arg("--announce").arg(&announced).spawn().unwrap();
        // It prints where it is once it is there; then the announcement is written, too.
        let mut first = [0];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut first)
            .expect("it starts");
        let at = serde_json::from_slice(&std::fs::read(announced).unwrap()).unwrap();
        Self { child, folder, at }
    }

    fn addr(&self, name: &str) -> SocketAddr {
        self.at[name].as_str().unwrap().parse().unwrap()
    }

    fn get(&self, path: &str) -> Answer {
        ask(self.addr("shop"), "GET", path, "", "")
    }

    fn admin(&self, path: &str) -> Answer {
        ask(self.addr("admin"), "GET", path, "", "")
    }

    fn order(&self, order: &str) -> Answer {
        ask(self.addr("shop"), "POST", "/checkout", "", order)
    }

    /// Asks it to end, and returns its exit code and the rest of its output.
    fn terminate(mut self) -> (Option<i32>, String) {
        let killed = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(killed.success());
        let mut said = String::new();
        self.child
            .stdout
            .as_mut()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Storefront {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn ask(addr: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let length = body.len();
    let head =
        format!("{method} {path} HTTP/1.0\r\nhost: localhost\r\ncontent-length: {length}\r\n{headers}\r\n");
    socket.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).unwrap();
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .expect("a whole head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head,
        body: bytes[end + 4..].to_vec(),
    }
}

#[test]
fn a_customer_is_served_and_the_service_seen() {
    let shop = Storefront::start("customer", &[]);
    assert!(shop.get("/").text().contains("Storefront"));
    assert_eq!(shop.get("/catalogue").json().as_array().unwrap().len(), 34);
    let full = shop.get("/catalogue/full");
    assert!(
        full.body.len() > 90_000 && full.head.contains("content-type: application/json"),
        "{}",
        full.head
    );
    let packed = ask(
        shop.addr("shop"),
        "GET",
        "/catalogue/full",
        "accept-encoding: gzip\r\n",
        "",
    );
    assert!(packed.head.contains("content-encoding: gzip") && packed.body.len() * 2 < full.body.len());

    assert_eq!(shop.get("/products/7").json()["id"], 7);
    let missing = shop.get("/products/900");
    assert!(
        missing.status == 404 && missing.head.contains("application/problem+json"),
        "{}",
        missing.head
    );
    assert_eq!(shop.get("/products/x").status, 404);
    let paid = shop.order(r#"{"product": 7, "quantity": 2}"#);
    assert_eq!(paid.status, 201);
    assert!(paid.json()["receipt"].as_str().unwrap().starts_with("R-"));
    assert_eq!(shop.order("not json").status, 400);
    assert_eq!(shop.order(r#"{"product": 900, "quantity": 1}"#).status, 422);
    assert_eq!(shop.order(r#"{"product": 7, "quantity": 0}"#).status, 422);

    for probe in ["/livez", "/startupz"] {
        assert_eq!(shop.admin(probe).status, 200, "{probe}");
    }
    assert_eq!(shop.get("/metrics").status, 404, "not for customers");
    let metrics = shop.admin("/metrics").text();
    for sample in [
        r#"http_server_request_duration_seconds_count{http_request_method="GET",http_route="/products/{id}",http_response_status_code="200"} 1"#,
        r#"http_route="/checkout",http_response_status_code="201"} 1"#,
        r#"storefront_checkouts_total{result="paid"} 1"#,
        r#"http_response_status_code="200",error_type=""} 1"#, // of the call to the payment service
        r#"cortex_health_status{check="payments"}"#,
        r#"cortex_health_status{check="runtime"}"#,
    ] {
        assert!(metrics.contains(sample), "{sample} is not in\n{metrics}");
    }

    let (code, said) = shop.terminate();
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("shop: drained") && said.contains("(SIGTERM)") && said.contains("0 cut"),
        "{said}"
    );
    assert!(said.contains("payments: drained"), "{said}");
}

#[test]
fn a_flaky_upstream_is_told_as_such_and_traced() {
    let spans =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("spans-{}.jsonl", std::process::id()));
    let path = spans.to_str().unwrap().to_owned();
    let shop = Storefront::start("flaky", &["--payment-failures", "1", "--trace-file", &path]);
    let answer = shop.order(r#"{"product": 7, "quantity": 1}"#);
    assert!(
        answer.status == 502 && answer.head.contains("application/problem+json"),
        "{}",
        answer.head
    );
    let metrics = shop.admin("/metrics").text();
    for sample in [
        r#"storefront_checkouts_total{result="refused"} 1"#,
        r#"http_client_request_duration_seconds_count{http_request_method="POST",server_address="127.0.0.1","#,
        r#"http_response_status_code="503",error_type="503"} 1"#,
        r#"otel_sdk_processor_span_queue_capacity{otel_component_name="otlp json file/0","#,
        r#"otel_sdk_exporter_span_exported_total{otel_component_name="otlp json file/0",otel_component_type="otlp json file"}"#,
    ] {
        assert!(metrics.contains(sample), "{sample} is not in\n{metrics}");
    }
    assert_eq!(shop.terminate().0, Some(0));

    // The checkout, its call, and the payment service's part are one trace.
    let written = std::fs::read_to_string(&spans).unwrap();
    std::fs::remove_file(&spans).unwrap();
    let lines: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut found = Vec::new();
    for line in &lines {
        for span in line["resourceSpans"][0]["scopeSpans"][0]["spans"]
            .as_array()
            .unwrap()
        {
            let (name, trace) = (span["name"].as_str().unwrap(), span["traceId"].as_str().unwrap());
            if !name.starts_with("GET") {
                found.push((name.to_owned(), trace.to_owned()));
            }
        }
    }
    found.sort();
    let names: Vec<_> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["POST", "POST /charge", "POST /checkout"], "{written}");
    assert!(found.iter().all(|(_, trace)| *trace == found[0].1), "{found:?}");
}

#[test]
fn the_load_ends_with_a_summary() {
    let output = command(&["--load", "200"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for part in [
        "requests  200 in",
        "p50",
        "p99",
        "errors    0",
        "(100 %)",
        "shop: drained",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let failing = command(&["--load", "50", "--payment-failures", "1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&failing.stdout).into_owned();
    assert!(
        failing.status.code() == Some(1) && said.contains("x 502 Bad Gateway"),
        "{said}"
    );
}

#[test]
fn what_cannot_work_is_said_in_one_line() {
    let refused = |output: &Output, names: &str| {
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.lines().count() == 1 && said.contains(names),
            "{names}: {said}"
        );
    };
    refused(&command(&["--adrr", "x"]).output().unwrap(), "--adrr");
    refused(&command(&["--load", "many"]).output().unwrap(), "--load");
    refused(
        &command(&[]).env("STOREFRONT_SAMPLE", "often").output().unwrap(),
        "STOREFRONT_SAMPLE",
    );
    refused(&command(&["--log", "shop=noisy"]).output().unwrap(), "--log");
    refused(
        &command(&["--trace-file", "/proc/none/spans"]).output().unwrap(),
        "--trace-file",
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for port in ["--addr", "--payments", "--admin"] {
        refused(&command(&[port, &addr]).output().unwrap(), &addr);
    }
}
