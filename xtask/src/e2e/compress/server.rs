use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Result, ensure};

use super::super::child::Child;
use super::super::http::{self, Response};
use super::super::scenario::Setup;

/// The codings, by the names that they have on the wire.
pub(super) const CODINGS: [&str; 4] = ["gzip", "deflate", "br", "zstd"];

/// A body of each kind that our example serves.
pub(super) const PATHS: [&str; 11] = [
    "json/1100",
    "json/10000",
    "json/100000",
    "json/1000000",
    "text/10000",
    "text/1000000",
    "noise/100000",
    "chunks",
    "events",
    "trailers",
    "empty",
];

/// Returns what the server has to answer with: what is empty or would not get smaller is not encoded.
pub(super) fn expected<'a>(coding: &'a str, path: &str) -> Option<&'a str> {
    let is_plain = path == "empty" || path.starts_with("noise/");
    (!is_plain).then_some(coding)
}

/// Our example that serves bodies of every kind.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) child: Child,
    pub(super) addr: SocketAddr,
}

impl Server {
    pub(super) fn start(setup: &Setup) -> Result<Self> {
        Self::with(setup, None)
    }

    /// Starts it with a memory budget for its encoders, in bytes.
    pub(super) fn with(setup: &Setup, budget: Option<u64>) -> Result<Self> {
        Self::run(|| {
            let mut command = Command::new(&setup.bodies);
            command.args(budget.map(|bytes| bytes.to_string()));
            command
        })
    }

    /// Starts it so that what it frees it does not hold: its peak is what it has needed at once, and not what each thread has kept.
    pub(super) fn frugal(setup: &Setup) -> Result<Self> {
        Self::run(|| {
            let mut command = Command::new(&setup.bodies);
            command
                .env("MALLOC_ARENA_MAX", "1")
                .env("MALLOC_MMAP_THRESHOLD_", "131072");
            command
        })
    }

    fn run(command: impl FnOnce() -> Command) -> Result<Self> {
        let mut child = Child::start("bodies", |_| Ok(command()))?;
        let addr = child.ready("its address", |child| {
            let said = fs::read_to_string(child.file("stdout"))?;
            Ok(said.strip_suffix('\n').map(str::parse).transpose()?)
        })?;
        Ok(Self { child, addr })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.addr)
    }

    /// Returns a body as it is.
    pub(super) fn plain(&self, path: &str) -> Result<Vec<u8>> {
        let response = http::get(self.addr, &format!("/plain/{path}"))?;
        ensure!(
            response.status == 200 && response.header("content-encoding").is_none(),
            "/plain/{path} is not plain: {response:?}"
        );
        Ok(response.body)
    }

    /// Returns a body as it is sent to who accepts only this coding.
    pub(super) fn coded(&self, coding: &str, path: &str) -> Result<Response> {
        let response = http::request(
            self.addr,
            &format!("GET /any/{path}\naccept-encoding: {coding}"),
            b"",
        )?;
        ensure!(
            response.status == 200,
            "{path} in {coding} answered {}",
            response.status
        );
        let found = response.header("content-encoding");
        ensure!(
            found == expected(coding, path),
            "{path} in {coding} came as {found:?}"
        );
        Ok(response)
    }
}
