use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Result, ensure};

use super::http;
use super::wait::pause;
use crate::step::Stopwatch;

/// What the kubelet waits for an answer unless it is told otherwise.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Its periods are of ten seconds; nobody wants to wait for that.
const PERIOD: Duration = Duration::from_millis(100);

const FAILURE_THRESHOLD: u32 = 3;

/// Probes as the kubelet does: a GET on a connection of its own, 200 to 399 is a success, one success is enough, and it
/// takes three failures in a row to fail.
#[derive(Debug)]
pub(super) struct Prober {
    at: SocketAddr,
    path: &'static str,
    is_passing: bool,
    failures: u32,
    last: String,
}

impl Prober {
    /// Liveness passes until it fails, the others fail until they pass.
    pub(super) fn new(at: SocketAddr, path: &'static str) -> Self {
        Self {
            at,
            path,
            is_passing: path == "/livez",
            failures: 0,
            last: String::from("nothing"),
        }
    }

    /// Probes once, at the end of the period.
    ///
    /// # Errors
    ///
    /// The answer was no answer: a server that cannot be reached is a failure, one that is too slow or talks nonsense a
    /// bug.
    pub(super) fn probe(&mut self) -> Result<()> {
        pause(PERIOD);
        let watch = Stopwatch::start();
        let answer = self.ask();
        ensure!(
            watch.elapsed() < TIMEOUT,
            "{} took {:?}",
            self.path,
            watch.elapsed()
        );
        let passed = answer.as_ref().is_ok_and(|status| (200..400).contains(status));
        self.last = match answer {
            Ok(status) => status.to_string(),
            Err(error) => format!("{error:#}"),
        };
        self.failures = if passed { 0 } else { self.failures + 1 };
        self.is_passing = passed || (self.is_passing && self.failures < FAILURE_THRESHOLD);
        Ok(())
    }

    pub(super) const fn is_passing(&self) -> bool {
        self.is_passing
    }

    /// Returns what the last probe saw.
    pub(super) fn said(&self) -> &str {
        &self.last
    }

    fn ask(&self) -> Result<u16> {
        let mut stream = TcpStream::connect_timeout(&self.at, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let path = self.path;
        let head = format!("GET {path}\nuser-agent: kube-probe/1.31\naccept: */*");
        stream.write_all(&http::message(&head, 0))?;
        let mut bytes = Vec::new();
        stream.take(10 << 10).read_to_end(&mut bytes)?; // as much as the kubelet reads
        Ok(http::Response::parse(&bytes)?.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Answers these, one a connection; `None` hangs up.
    fn server(answers: Vec<Option<u16>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("its address");
        thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().expect("a prober");
                let _ = stream.read(&mut [0; 1024]);
                if let Some(status) = answer {
                    let text = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(text.as_bytes()).expect("the prober reads");
                }
            }
        });
        addr
    }

    #[test]
    fn three_failures_in_a_row_fail_and_one_success_passes() {
        let answers = [503, 200, 500, 399, 400, 0, 503, 503, 302];
        let answers = answers.map(|status| (status > 0).then_some(status));
        let mut prober = Prober::new(server(answers.to_vec()), "/readyz");
        let mut seen = String::new();
        for _ in answers {
            prober.probe().unwrap();
            seen.push(if prober.is_passing() { '+' } else { '-' });
        }
        assert_eq!(seen, "-+++++--+");
        assert_eq!(prober.said(), "302");
        for _ in 0..3 {
            prober.probe().unwrap(); // nobody is there any more
        }
        assert!(!prober.is_passing(), "{}", prober.said());
    }
}
