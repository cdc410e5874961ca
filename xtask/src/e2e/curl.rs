use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use xshell::Shell;

use super::http;
use super::scenario::{Scenario, Setup};
use super::storefront::Storefront;
use crate::tools;

const CURL: &[&str] = &["curl"];

pub(super) const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "curl reads gzip",
        programs: CURL,
        test: |setup| each_page(setup, Some("gzip")),
    },
    Scenario {
        name: "curl reads br",
        programs: CURL,
        test: |setup| each_page(setup, Some("br")),
    },
    Scenario {
        name: "curl reads zstd",
        programs: CURL,
        test: |setup| each_page(setup, Some("zstd")),
    },
    Scenario {
        name: "curl reads what it asks for itself",
        programs: CURL,
        test: |setup| each_page(setup, None),
    },
];

/// What curl decodes is what is sent to those who accept no coding, and fewer bytes carried it.
fn each_page(setup: &Setup, coding: Option<&str>) -> Result<()> {
    let storefront = Storefront::start(setup)?;
    for path in ["/catalogue", "/catalogue/full"] {
        let plain = http::get(storefront.at.shop, path)?;
        ensure!(plain.status == 200, "{path} answered {}", plain.status);
        ensure!(
            plain.header("content-encoding").is_none(),
            "{path} is coded for a client that accepts nothing"
        );
        let curl = curl(setup, &format!("http://{}{path}", storefront.at.shop), coding)?;
        let used = curl.coding.as_deref();
        match coding {
            Some(_) => ensure!(used == coding, "{path}: asked for {coding:?}, got {used:?}"),
            None => ensure!(used.is_some(), "{path} came plain, though curl accepts codings"),
        }
        ensure!(curl.body == plain.body, "{path} is not the same after {used:?}");
        ensure!(
            curl.transferred < plain.body.len(),
            "{path}: {used:?} made {} bytes of {}",
            curl.transferred,
            plain.body.len()
        );
    }
    Ok(())
}

/// What curl read.
pub(super) struct Curled {
    /// The coding that it came in.
    pub(super) coding: Option<String>,
    /// The bytes that it came in.
    pub(super) transferred: usize,
    /// Decoded.
    pub(super) body: Vec<u8>,
}

/// Has curl read and decode a body, by the coding alone or by those that it asks for itself.
pub(super) fn curl(setup: &Setup, url: &str, coding: Option<&str>) -> Result<Curled> {
    let folder = Shell::new()?.create_temp_dir()?;
    let body = folder.path().join("body");
    let mut command = Command::new(tools::find("curl", &setup.path)?);
    command
        .args([
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "10",
            "--noproxy",
            "*",
            "--compressed",
        ])
        .args([
            "--write-out",
            "%{size_download} %header{content-encoding}",
            "--output",
        ])
        .arg(&body);
    if let Some(coding) = coding {
        command.args(["--header", &format!("Accept-Encoding: {coding}")]);
    }
    let output = command.arg(url).output()?;
    ensure!(
        output.status.success(),
        "curl failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    let (size, coding) = parse(std::str::from_utf8(&output.stdout)?)?;
    Ok(Curled {
        coding,
        transferred: size,
        body: fs::read(&body)?,
    })
}

fn parse(written: &str) -> Result<(usize, Option<String>)> {
    let (size, coding) = written.split_once(' ').context("curl wrote something else")?;
    let coding = Some(coding.trim().to_owned()).filter(|coding| !coding.is_empty());
    Ok((size.parse()?, coding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_curl_writes() {
        assert_eq!(parse("512 br").unwrap(), (512, Some("br".into())));
        assert_eq!(parse("512 ").unwrap(), (512, None));
        assert!(parse("").is_err());
    }
}
