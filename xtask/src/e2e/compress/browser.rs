use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::super::child::{Child, Ended};
use super::super::http;
use super::super::scenario::{Scenario, Setup};
use super::server::{CODINGS, PATHS, Server, expected};
use crate::tools;

pub(in super::super) const SCENARIOS: [Scenario; 2] = [
    Scenario {
        name: "compress: chromium reads each body by each coding",
        programs: &["chromium-headless-shell"],
        test: codings,
    },
    Scenario {
        name: "compress: chromium reads what is compressed against its dictionaries",
        programs: &["chromium-headless-shell"],
        test: dictionaries,
    },
];

/// How long the browser may take, on a machine that is busy with other things.
const LIMIT: Duration = Duration::from_secs(90);

/// The page reads every body plain and by each coding, and compares their SHA-256.
fn codings(setup: &Setup) -> Result<()> {
    let server = Server::start(setup)?;
    let ended = open(setup, &server.url("page"))?;
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

/// The page fetches a script and a dictionary, and then the next version of the one and a page by the other: RFC 9842 at work.
fn dictionaries(setup: &Setup) -> Result<()> {
    let mut child = Child::start("dictionary", |_| Ok(Command::new(&setup.dictionary)))?;
    let url = child.ready("its address", |child| {
        let said = fs::read_to_string(child.file("stdout"))?;
        Ok(said.strip_suffix('\n').map(str::to_owned))
    })?;
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let addr = host.parse().with_context(|| format!("{url} is no address"))?;
    let ended = open(setup, &url)?;
    let lines = result(&ended.stdout).with_context(|| ended.stderr.clone())?;
    let mut read = lines.iter();
    for path in ["/app/v3/main.js", "/pages/7"] {
        let plain = http::get(addr, path)?.body.len();
        let line = read.next().copied().unwrap_or_default();
        let by = |coding| line == format!("{path} {coding} {plain}");
        ensure!(by("dcz") || by("dcb"), "{path}: {lines:?}, {}", ended.stderr);
    }
    ensure!(read.eq(&["done"]), "it says more, or did not end: {lines:?}");
    Ok(())
}

/// Shows a page, and returns what has become of it.
fn open(setup: &Setup, url: &str) -> Result<Ended> {
    let browser = Child::start("chromium", |folder: &Path| {
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
            .arg(url);
        Ok(command)
    })?;
    browser.end(LIMIT)
}

/// Finds the lines that the page has written.
fn result(dom: &str) -> Result<Vec<&str>> {
    let (_, after) = dom
        .split_once("<pre id=\"result\">")
        .or_else(|| dom.split_once("<pre id=\"log\">"))
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
