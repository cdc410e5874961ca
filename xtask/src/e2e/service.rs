use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::child::{Child, Ended};
use super::scenario::Setup;
use super::{http, storefront};

/// Our example whose limits and end are set by flags.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) child: Child,
    pub(super) at: Addresses,
}

/// Where it listens, as it says itself.
#[derive(Debug, Deserialize)]
pub(super) struct Addresses {
    pub(super) app: SocketAddr,
    pub(super) admin: SocketAddr,
    /// What flags ask for: a Unix socket, a port for proxies, one with TLS.
    pub(super) others: Vec<String>,
}

impl Service {
    /// Starts it with these flags: `--header 2000`.
    pub(super) fn start(setup: &Setup, flags: &str) -> Result<Self> {
        let mut child = Self::spawn(setup, flags)?;
        let at = child.ready("its addresses", |child| {
            let said = fs::read_to_string(child.file("stdout"))?;
            let Some((line, _)) = said.split_once('\n') else {
                return Ok(None);
            };
            Ok(Some(serde_json::from_str(line)?))
        })?;
        Ok(Self { child, at })
    }

    /// Starts it and does not wait until it serves.
    pub(super) fn spawn(setup: &Setup, flags: &str) -> Result<Child> {
        Child::start("service", |_| {
            let mut command = Command::new(&setup.service);
            command.args(flags.split_whitespace());
            Ok(command)
        })
    }

    /// Returns the value of a sample, or the sum if several start with `name`.
    pub(super) fn sample(&self, name: &str) -> Result<f64> {
        Ok(storefront::sum(&self.metrics()?, name))
    }

    pub(super) fn metrics(&self) -> Result<String> {
        http::get(self.at.admin, "/metrics")?.text()
    }

    /// Asks it to end, and returns how it did.
    pub(super) fn stop(self) -> Result<Ended> {
        self.child.terminate()?;
        self.child.end(Duration::from_secs(20))
    }

    /// Names what it printed last, for a failure.
    pub(super) fn explain<T>(&self, result: Result<T>) -> Result<T> {
        result.with_context(|| self.child.said())
    }
}
