//! What operators do, in the log of the whole process, and what they make of that log.

#![cfg(feature = "logs")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError, mpsc};
use std::time::Duration;

use cortex_health::{Check, Health};
use cortex_http::{
    ActionError, Admin, ControlState, Controllable, Controls, InputKind, Lifecycle, Routes, Server,
};
use cortex_trace::JsonLogs;

const TOKEN: &str = "operator-0123456789abcdef";

/// What was logged, and that something was.
#[derive(Clone, Default)]
struct Lines(Arc<(Mutex<Vec<u8>>, Condvar)>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (written, more) = &*self.0;
        written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(bytes);
        more.notify_all();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Returns the lines that the admin port wrote since the last call.
    fn take(&self) -> Vec<serde_json::Value> {
        let bytes = std::mem::take(&mut *self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        read(bytes)
    }

    /// Waits for as many lines of the admin port.
    fn wait_for(&self, count: usize) -> Vec<serde_json::Value> {
        let (written, more) = &*self.0;
        let written = written.lock().unwrap_or_else(PoisonError::into_inner);
        let long = Duration::from_secs(20);
        let waited = more.wait_timeout_while(written, long, |bytes| read(bytes.clone()).len() < count);
        drop(waited);
        self.take()
    }
}

fn read(bytes: Vec<u8>) -> Vec<serde_json::Value> {
    let text = String::from_utf8(bytes).expect("UTF-8");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    lines
        .filter(|line: &serde_json::Value| line["target"] == "cortex_http::admin")
        .collect()
}

struct Breaker;

impl Controllable for Breaker {
    fn state(&self) -> ControlState {
        ControlState::new("closed")
    }

    fn actions(&self) -> &'static [&'static str] {
        &["reset", "trip"]
    }

    fn inputs(&self, _: &str) -> &'static [(&'static str, InputKind)] {
        &[("permits", InputKind::Count)]
    }

    fn act(&self, action: &str, _: Option<Duration>) -> Result<(), ActionError> {
        if action == "trip" {
            return Err(ActionError::not_applicable("it is tripped"));
        }
        Ok(())
    }
}

/// A part that acts once it is told to.
struct Slow(Mutex<mpsc::Receiver<()>>);

impl Controllable for Slow {
    fn state(&self) -> ControlState {
        ControlState::new("idle")
    }

    fn actions(&self) -> &'static [&'static str] {
        &["wait"]
    }

    fn act(&self, _: &str, _: Option<Duration>) -> Result<(), ActionError> {
        let _ = self.0.lock().expect("no panic").recv();
        Ok(())
    }
}

fn post(addr: SocketAddr, path: &str, token: &str, body: &str) -> u16 {
    let mut socket = send(addr, path, token, body);
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("{answer:?}"))
}

fn send(addr: SocketAddr, path: &str, token: &str, body: &str) -> TcpStream {
    let mut socket = TcpStream::connect(addr).expect("a connection");
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).expect("it is sent");
    socket
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
    let (release, released) = mpsc::channel();
    controls
        .register("pool", "slow", Slow(Mutex::new(released)))
        .unwrap();
    let hour = Duration::from_hours(1);
    let ends = Arc::new(tokio::sync::Semaphore::new(0));
    let slow = {
        let ends = Arc::clone(&ends);
        Check::from_fn("slow", move || {
            let ends = Arc::clone(&ends);
            async move { ends.acquire_owned().await.is_ok() }
        })
    };
    let health = Health::builder()
        .check(Check::from_fn("database", || async { true }))
        .check(slow.timeout(hour).stale_after(3 * hour))
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
    let told = |count: usize, expected: &[(&str, &str)]| {
        let told = lines.wait_for(count);
        assert_eq!(told.len(), count, "{told:?}");
        let text = serde_json::Value::from(told).to_string();
        assert!(!text.contains(TOKEN) && text.contains("127.0.0.1"), "{text}");
        for (name, value) in expected {
            let pair = format!("\"{name}\":{}", serde_json::Value::from(*value));
            assert!(text.contains(&pair), "{pair}: {text}");
        }
    };

    let input = r#"{"for_seconds":60,"permits":7}"#;
    assert_eq!(post(addr, "/controls/breaker/db/reset", TOKEN, input), 200);
    told(
        2,
        &[
            ("actor", "operator"),
            ("kind", "breaker"),
            ("name", "db"),
            ("outcome", "done"),
            ("input", "for_seconds=60 permits=7"),
        ],
    );
    assert_eq!(post(addr, "/controls/breaker/db/trip", TOKEN, ""), 409);
    told(2, &[("level", "INFO"), ("outcome", "refused")]);
    assert_eq!(
        post(addr, "/controls/breaker/db/reset%0A%7B%22forged", TOKEN, ""),
        404
    );
    told(2, &[("outcome", "refused")]);
    assert_eq!(post(addr, "/health/checks/database/run", TOKEN, ""), 200);
    told(2, &[("check", "database"), ("outcome", "run")]);
    assert_eq!(
        post(addr, "/controls/breaker/db/reset", "guess-0123456789", ""),
        401
    );
    told(1, &[("level", "WARN")]);

    // Who asks and goes away is told of all the same, and so is what became of it.
    let gone = send(addr, "/controls/pool/slow/wait", TOKEN, "");
    told(1, &[("name", "slow"), ("actor", "operator")]);
    drop(gone);
    release.send(()).unwrap();
    told(1, &[("name", "slow"), ("outcome", "done")]);
    let gone = send(addr, "/health/checks/slow/run", TOKEN, "");
    told(1, &[("check", "slow"), ("actor", "operator")]);
    drop(gone);
    told(1, &[("check", "slow"), ("outcome", "goes on")]);
    ends.add_permits(8);

    // A filter that hides what it is told of does not hide that it was set, nor one that hid it until then.
    let set = |filter: &str| post(addr, "/loglevel", TOKEN, &format!(r#"{{"filter":"{filter}"}}"#));
    assert_eq!(set("error"), 200);
    told(1, &[("from", "info"), ("to", "error"), ("actor", "operator")]);
    assert_eq!(post(addr, "/controls/breaker/db/reset", TOKEN, ""), 200);
    assert!(lines.take().is_empty(), "as the filter says");
    assert_eq!(set("info"), 200);
    told(1, &[("from", "error"), ("to", "info")]);
    assert_eq!(set("off,cortex_http=loud"), 400);
    assert!(lines.take().is_empty());

    assert_eq!(post(addr, "/drain", TOKEN, ""), 202);
    let drained = lines.wait_for(1); // the end of the filter may be told by now, too
    assert_eq!(drained[0]["actor"], "operator", "{drained:?}");
    let report = runtime.block_on(running.join());
    assert_eq!((&*report.reason, report.code()), ("POST /drain", 0));
}
