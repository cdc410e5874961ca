use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, ensure};

use super::http;

/// Stands between a scraper and what it scrapes, and asks for another format than the scraper does: that of a version
/// that speaks others first. It ends when it is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    ends: AtomicBool,
    /// The type of the last answer, or what went wrong.
    answered: Mutex<String>,
}

impl Proxy {
    /// Starts one that says `accept` instead of what the scraper says, if there is one.
    pub(super) fn start(target: SocketAddr, accept: Option<&'static str>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let shared = Arc::<Shared>::default();
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                while let Ok((stream, _)) = listener.accept()
                    && !shared.ends.load(Ordering::Relaxed)
                {
                    let answered = forward(stream, target, accept);
                    let answered = answered.unwrap_or_else(|error| format!("{error:#}"));
                    *shared.answered.lock().unwrap_or_else(PoisonError::into_inner) = answered;
                }
            }
        });
        let thread = Some(thread);
        Ok(Self { addr, shared, thread })
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the type of the last answer, or what went wrong.
    pub(super) fn answered(&self) -> String {
        let answered = &self.shared.answered;
        answered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        // It waits for somebody to come; if nobody can, it has ended.
        let _ = TcpStream::connect(self.addr);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers one request and returns the type of the answer.
fn forward(mut stream: TcpStream, target: SocketAddr, accept: Option<&str>) -> Result<String> {
    let head = head(&mut stream)?;
    let mut lines = head.lines();
    let line = lines.next().and_then(|line| line.strip_suffix(" HTTP/1.1"));
    let line = line.context("no request line")?;
    let theirs = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("accept").then(|| value.trim())
    });
    let accept = accept.or(theirs).unwrap_or("*/*");
    let response = http::request(target, &format!("{line}\naccept: {accept}"), b"")?;
    let kind = response.header("content-type").unwrap_or_default();
    write!(
        stream,
        "HTTP/1.1 {} OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        response.status,
        response.body.len(),
    )?;
    stream.write_all(&response.body)?;
    Ok(kind.to_owned())
}

/// Reads the head of a request, which has no body.
fn head(stream: &mut impl Read) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        ensure!(
            stream.read(&mut byte)? == 1 && head.len() < 16 << 10,
            "no request came"
        );
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one request with what it accepts.
    fn echo() -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let head = head(&mut stream).unwrap();
            let accept = head
                .lines()
                .find_map(|line| line.strip_prefix("accept: "))
                .unwrap();
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-type: x/{accept}\r\ncontent-length: 2\r\n\r\nhi");
            stream.write_all(answer.as_bytes()).unwrap();
        });
        (addr, thread)
    }

    #[test]
    fn another_format_is_asked_for() {
        for (accept, expected) in [(Some("ours"), "x/ours"), (None, "x/theirs")] {
            let (target, thread) = echo();
            let proxy = Proxy::start(target, accept).unwrap();
            let response = http::request(proxy.addr(), "GET /metrics\nAccept: theirs", b"").unwrap();
            assert_eq!(response.header("content-type"), Some(expected));
            assert_eq!(response.text().unwrap(), "hi");
            thread.join().unwrap();
        }
    }
}
