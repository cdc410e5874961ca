use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::child::{Child, Ended};
use super::http;
use super::scenario::Setup;

/// Our example, whose health is set from outside.
#[derive(Debug)]
pub(super) struct Probes {
    pub(super) child: Child,
    pub(super) app: SocketAddr,
    pub(super) admin: SocketAddr,
}

impl Probes {
    /// The bearer token that it takes for the full detail, which is no secret.
    pub(super) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    pub(super) fn start(setup: &Setup) -> Result<Self> {
        let mut child = Child::start("probes", |_| Ok(Command::new(&setup.probes)))?;
        let (app, admin) = child.ready("its addresses", |child| {
            let said = fs::read_to_string(child.file("stdout"))?;
            let Some((line, _)) = said.split_once('\n') else {
                return Ok(None);
            };
            let (app, admin) = line.split_once(' ').context("two addresses")?;
            Ok(Some((app.parse()?, admin.parse()?)))
        })?;
        Ok(Self { child, app, admin })
    }

    pub(super) fn set(&self, state: &str) -> Result<()> {
        let head = format!("POST /state/{state}");
        let status = http::request(self.app, &head, b"")?.status;
        ensure!(status == 204, "{head} was answered {status}");
        Ok(())
    }

    pub(super) fn end(self) -> Result<Ended> {
        self.child.end(Duration::from_secs(20))
    }
}
