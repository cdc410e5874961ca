//! What operators do, in the log of the whole process, and what they make of that log.

#![cfg(feature = "logs")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cortex_health::{Check, Health};
use cortex_http::{ActionError, Admin, ControlState, Controllable, Controls, Lifecycle, Routes, Server};
use cortex_trace::JsonLogs;

const TOKEN: &str = "operator-0123456789abcdef";

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Returns the lines that the admin port wrote since the last call.
    fn take(&self) -> Vec<serde_json::Value> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let text = String::from_utf8(bytes).expect("UTF-8");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        lines
            .filter(|line: &serde_json::Value| line["target"] == "cortex_http::admin")
            .collect()
    }
}

struct Breaker;

impl Controllable for Breaker {
    fn state(&self) -> ControlState {
        ControlState::new("closed")
    }

    fn actions(&self) -> &'static [&'static str] {
        &["reset", "trip"]
    }

    fn act(&self, action: &str, _: Option<Duration>) -> Result<(), ActionError> {
        if action == "trip" {
            return Err(ActionError::not_applicable("it is tripped"));
        }
        Ok(())
    }
}

fn post(addr: SocketAddr, path: &str, token: &str, body: &str) -> u16 {
    let mut socket = TcpStream::connect(addr).expect("a connection");
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).expect("it is sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("{answer:?}"))
}

#[test]
fn every_action_is_logged_with_who_and_what() {
    let lines = Lines::default();
    let filter = {
        let lines = lines.clone();
        JsonLogs::new(move || lines.clone()).install("info").unwrap()
    };
    let controls = Controls::new();
    controls.register("breaker", "db", Breaker).unwrap();
    let health = Health::builder()
        .check(Check::from_fn("database", || async { true }))
        .build()
        .unwrap();
    let admin = Admin::bind("127.0.0.1:0").token(TOKEN).unwrap();
    let server = Server::new(Routes::new())
        .health(health)
        .admin(admin.controls(&controls).log_filter(&filter))
        .lifecycle(Lifecycle::local());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let running = runtime.block_on(server.start("127.0.0.1:0")).unwrap();
    let addr = running.admin_addr().unwrap();
    let told = |expected: &[(&str, &str)]| {
        let told = lines.take();
        assert_eq!(told.len(), 1, "{told:?}");
        let text = told[0].to_string();
        assert!(!text.contains(TOKEN) && text.contains("127.0.0.1"), "{text}");
        for (name, value) in expected {
            let pair = format!("\"{name}\":{}", serde_json::Value::from(*value));
            assert!(text.contains(&pair), "{pair}: {text}");
        }
    };

    assert_eq!(
        post(addr, "/controls/breaker/db/reset", TOKEN, r#"{"for_seconds":60}"#),
        200
    );
    told(&[
        ("actor", "operator"),
        ("kind", "breaker"),
        ("name", "db"),
        ("outcome", "done"),
    ]);
    assert_eq!(post(addr, "/controls/breaker/db/trip", TOKEN, ""), 409);
    told(&[("level", "INFO"), ("outcome", "refused")]);
    assert_eq!(
        post(addr, "/controls/breaker/db/reset%0A%7B%22forged", TOKEN, ""),
        404
    );
    told(&[("outcome", "refused")]);
    assert_eq!(post(addr, "/health/checks/database/run", TOKEN, ""), 200);
    told(&[("check", "database"), ("outcome", "run")]);
    assert_eq!(
        post(addr, "/controls/breaker/db/reset", "guess-0123456789", ""),
        401
    );
    told(&[("level", "WARN")]);

    // A filter that hides what it is told of does not hide that it was set, nor one that hid it until then.
    let set = |filter: &str| post(addr, "/loglevel", TOKEN, &format!(r#"{{"filter":"{filter}"}}"#));
    assert_eq!(set("error"), 200);
    told(&[("from", "info"), ("to", "error"), ("actor", "operator")]);
    assert_eq!(post(addr, "/controls/breaker/db/reset", TOKEN, ""), 200);
    assert!(lines.take().is_empty(), "as the filter says");
    assert_eq!(set("info"), 200);
    told(&[("from", "error"), ("to", "info")]);
    assert_eq!(set("off,cortex_http=loud"), 400);
    assert!(lines.take().is_empty());

    assert_eq!(post(addr, "/drain", TOKEN, ""), 202);
    told(&[("actor", "operator")]);
    let report = runtime.block_on(running.join());
    assert_eq!((&*report.reason, report.code()), ("POST /drain", 0));
}
