#![expect(clippy::unwrap_used, reason = "what helps a test may fail it")]

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::read_to_end;

pub(super) const TOKEN: &str = "operator-0123456789abcdef";
pub(super) const VIEWER: &str = "viewer-0123456789abcdef";

/// A request that is sent as it is written here.
pub(super) struct Ask {
    line: String,
    host: Option<String>,
    headers: String,
    body: String,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Ask {
    pub(super) fn get(path: &str) -> Self {
        Self::line(&format!("GET {path} HTTP/1.1"))
    }

    pub(super) fn post(path: &str) -> Self {
        Self::line(&format!("POST {path} HTTP/1.1"))
    }

    pub(super) fn line(line: &str) -> Self {
        Self {
            line: line.into(),
            host: Some("localhost".into()),
            headers: String::new(),
            body: String::new(),
        }
    }

    pub(super) fn host(mut self, host: Option<&str>) -> Self {
        self.host = host.map(Into::into);
        self
    }

    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.extend([name, ": ", value, "\r\n"]);
        self
    }

    pub(super) fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(super) fn json(mut self, body: &str) -> Self {
        self.body = body.into();
        self.header("content-type", "application/json")
    }

    pub(super) async fn of(&self, addr: SocketAddr) -> Answer {
        let host = self.host.as_ref().map(|host| format!("host: {host}\r\n"));
        let length = if self.line.starts_with("POST") || !self.body.is_empty() {
            format!("content-length: {}\r\n", self.body.len())
        } else {
            String::new()
        };
        let request = format!(
            "{}\r\n{}connection: close\r\n{}{length}\r\n{}",
            self.line,
            host.unwrap_or_default(),
            self.headers,
            self.body
        );
        let mut socket = TcpStream::connect(addr).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        Answer::read(&read_to_end(&mut socket).await)
    }
}

impl Answer {
    fn read(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Self {
            status: status.unwrap_or_else(|| panic!("no status: {text:?}")),
            head: head.to_ascii_lowercase(),
            body: body.into(),
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Returns the body, which has to be JSON.
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that it is a refusal of this status that says so and so.
    pub(super) fn assert_problem(&self, status: u16, detail: &str) {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], status, "{self:?}");
        let said = problem["detail"].as_str().unwrap_or_default();
        assert!(said.contains(detail), "{detail}: {self:?}");
    }
}
