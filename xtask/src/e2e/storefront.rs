use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use super::child::{Child, Ended};
use super::http;
use super::scenario::Setup;

/// A storefront that runs, on ports that were free.
#[derive(Debug)]
pub(super) struct Storefront {
    child: Child,
    pub(super) at: Addresses,
}

/// Where it listens, as it announces itself.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Addresses {
    pub(super) shop: SocketAddr,
    pub(super) admin: SocketAddr,
}

impl Storefront {
    pub(super) fn start(setup: &Setup) -> Result<Self> {
        Self::start_with(setup, &[])
    }

    /// Starts one with more arguments.
    pub(super) fn start_with(setup: &Setup, arguments: &[&str]) -> Result<Self> {
        let mut child = Child::start("storefront", |folder| {
            let mut command = command(setup, folder);
            command.args(arguments);
            Ok(command)
        })?;
        let at = child.ready("its announcement", |child| {
            // It is renamed into place, so it is whole as soon as it is there.
            match fs::read_to_string(child.file("announce")) {
                Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
                Err(_) => Ok(None),
            }
        })?;
        Ok(Self { child, at })
    }

    /// Returns the value of a sample, or the sum if several start with `name`.
    pub(super) fn sample(&self, name: &str) -> Result<f64> {
        let text = http::get(self.at.admin, "/metrics")?.text()?;
        Ok(sum(&text, name))
    }

    /// Returns the id of some product.
    pub(super) fn product(&self) -> Result<Value> {
        let catalogue: Value = serde_json::from_slice(&http::get(self.at.shop, "/catalogue")?.body)?;
        id(&catalogue).cloned().context("no product has an id")
    }

    pub(super) fn terminate(&self) -> Result<()> {
        self.child.terminate()
    }

    pub(super) fn end(self, limit: Duration) -> Result<Ended> {
        self.child.end(limit)
    }

    /// Returns the last lines of what it printed, for a failure.
    pub(super) fn said(&self) -> String {
        self.child.said()
    }
}

/// Makes the command of a storefront that announces itself in `folder`; nothing of our own environment changes it.
pub(super) fn command(setup: &Setup, folder: &Path) -> Command {
    let mut command = Command::new(&setup.storefront);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STOREFRONT_") {
            command.env_remove(name);
        }
    }
    let any = "127.0.0.1:0";
    command.args(["--addr", any, "--admin", any, "--payments", any, "--announce"]);
    command.arg(folder.join("announce"));
    command
}

/// Adds up the samples whose line starts with `name`.
pub(super) fn sum(text: &str, name: &str) -> f64 {
    text.lines()
        .filter(|line| line.starts_with(name))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// Finds the first `id` that is in there somewhere.
fn id(value: &Value) -> Option<&Value> {
    match value {
        Value::Object(fields) => fields.get("id").or_else(|| fields.values().find_map(id)),
        Value::Array(values) => values.iter().find_map(id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sums_samples() {
        let text = "# TYPE a counter\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\nb 1\n";
        assert!((sum(text, "a_total") - 5.0).abs() < 1e-9);
        assert!((sum(text, "a_total{x=\"2\"}") - 3.0).abs() < 1e-9);
        assert!(sum(text, "c").abs() < 1e-9);
    }

    #[test]
    fn finds_an_id() {
        assert_eq!(
            id(&json!({"currency": "EUR", "products": [{"name": "x", "id": 7}]})),
            Some(&json!(7))
        );
        assert_eq!(id(&json!(["x", 1])), None);
    }
}
