use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::super::child::Child;
use super::super::scenario::{Scenario, Setup};
use super::server::{CODINGS, PATHS, Server, expected};
use crate::tools;

pub(in super::super) const SCENARIOS: [Scenario; 1] = [Scenario {
    name: "compress: chromium reads each body by each coding",
    programs: &["chromium-headless-shell"],
    test: chromium,
}];

/// How long the browser may take, on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_secs(90);

/// The page reads every body plain and by each coding, and compares their SHA-256.
fn chromium(setup: &Setup) -> Result<()> {
    let server = Server::start(setup)?;
    let browser = Child::start("chromium", |folder| {
        let mut command = Command::new(tools::find("chromium-headless-shell", &setup.path)?);
        command
            // As root there is no sandbox to be had; the page is our own.
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-proxy-server",
            ])
            .arg(format!("--user-data-dir={}", folder.join("profile").display()))
            // Time goes on only while nothing is under way: the page is read when all is done.
            .args(["--virtual-time-budget=60000", "--dump-dom"])
            .arg(server.url("page"));
        Ok(command)
    })?;
    let ended = browser.end(LIMIT)?;
    let lines = result(&ended.stdout).with_context(|| ended.stderr.clone())?;
    let mut read = lines.iter();
    for path in PATHS {
        for coding in CODINGS {
            let line = read.next().copied().unwrap_or_default();
            let ok = line.starts_with(&format!("ok {coding} {path} "))
                && line.ends_with(expected(coding, path).unwrap_or("null"));
            ensure!(ok, "{path} in {coding}: {lines:?}, {}", ended.stderr);
        }
    }
    ensure!(read.eq(&["done"]), "it says more, or did not end: {lines:?}");
    Ok(())
}

/// Finds the lines that the page has written.
fn result(dom: &str) -> Result<Vec<&str>> {
    let (_, after) = dom
        .split_once("<pre id=\"result\">")
        .context("there is no page")?;
    let (text, _) = after.split_once("</pre>").context("the page is cut off")?;
    Ok(text.lines().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_page() {
        let dom = "<html><pre id=\"result\">ok br chunks\ndone</pre><script></script></html>";
        assert_eq!(result(dom).unwrap(), ["ok br chunks", "done"]);
        assert!(result("<html></html>").is_err());
        assert!(result("<pre id=\"result\">ok").is_err());
    }
}
