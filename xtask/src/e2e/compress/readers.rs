use std::fs::{self, File};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use xshell::Shell;

use super::super::curl::curl;
use super::super::scenario::{Scenario, Setup};
use super::server::{CODINGS, PATHS, Server, expected};
use crate::tools;

pub(in super::super) const SCENARIOS: [Scenario; 7] = [
    Scenario {
        name: "compress: curl reads each body by each coding",
        programs: &["curl"],
        test: curl_reads,
    },
    Scenario {
        name: "compress: curl sees the same head for HEAD and GET",
        programs: &["curl"],
        test: heads,
    },
    Scenario {
        name: "compress: curl gets the trailers of encoded bodies",
        programs: &["curl"],
        test: trailers,
    },
    Scenario {
        name: "compress: gzip, brotli and zstd decode what is sent",
        programs: &["brotli", "gzip", "zstd"],
        test: tools_decode,
    },
    Scenario {
        name: "compress: python's httpx reads each body by each coding, many at a time",
        programs: &["httpx", "zstandard"],
        test: |setup| python(setup, include_str!("read.py")),
    },
    Scenario {
        name: "compress: python's httpx reads each event before the next is sent",
        programs: &["httpx", "zstandard"],
        test: |setup| python(setup, include_str!("steps.py")),
    },
    Scenario {
        name: "compress: node's zlib reads each body by each coding",
        programs: &["node"],
        test: node,
    },
];

/// With `--compressed`, by each coding alone and by those that curl asks for itself, the body is the one that is sent plain.
fn curl_reads(setup: &Setup) -> Result<()> {
    let server = Server::start(setup)?;
    for path in PATHS {
        let plain = server.plain(path)?;
        for coding in CODINGS.map(Some).into_iter().chain([None]) {
            let read = curl(setup, &server.url(&format!("any/{path}")), coding)?;
            let (used, length) = (read.coding.as_deref(), plain.len());
            match coding {
                Some(coding) => ensure!(
                    used == expected(coding, path),
                    "{path} in {coding} came as {used:?}"
                ),
                None => ensure!(
                    used.is_some() == expected("", path).is_some(),
                    "{path} came as {used:?}"
                ),
            }
            ensure!(read.body == plain, "{path} is not the same after {used:?}");
            // Flushes make an event stream longer; all else becomes shorter.
            ensure!(
                used.is_none() || path == "events" || read.transferred < length,
                "{path}: {used:?} made {} bytes of {length}",
                read.transferred
            );
        }
    }
    Ok(())
}

/// RFC 9110, section 9.3.2: all but what only the content can tell, which is that noise does not get smaller. Of nothing it is
/// not known whether GET has nothing, too, so HEAD says that it varies.
fn heads(setup: &Setup) -> Result<()> {
    let server = Server::start(setup)?;
    for path in PATHS.into_iter().filter(|path| expected("", path).is_some()) {
        for coding in CODINGS {
            let url = server.url(&format!("any/{path}"));
            let (head, get) = (
                fields(setup, &url, coding, &["--head"])?,
                fields(
                    setup,
                    &url,
                    coding,
                    &["--dump-header", "-", "--output", "/dev/null"],
                )?,
            );
            for name in ["content-encoding", "content-type", "vary", "accept-ranges"] {
                let (head, get) = (field(&head, name), field(&get, name));
                ensure!(head == get, "{path} in {coding}: {name} is {head:?} and {get:?}");
            }
            // Section 8.6: equal to the one of GET, or absent.
            let (head, get) = (field(&head, "content-length"), field(&get, "content-length"));
            ensure!(
                head.is_none() || head == get,
                "{path} in {coding}: lengths {head:?} and {get:?}"
            );
        }
    }
    Ok(())
}

fn trailers(setup: &Setup) -> Result<()> {
    const DUMP: [&str; 4] = ["--dump-header", "-", "--output", "/dev/null"];
    let server = Server::start(setup)?;
    for coding in CODINGS {
        for version in [
            &["--http1.1", "--header", "TE: trailers"][..],
            &["--http2-prior-knowledge"],
        ] {
            let url = server.url("any/trailers");
            let said = fields(setup, &url, coding, &[version, &DUMP].concat())?;
            ensure!(
                field(&said, "content-encoding").is_some() && field(&said, "x-checked") == Some("yes"),
                "{coding} by {}: {said}",
                version[0]
            );
        }
    }
    Ok(())
}

/// Returns the lines of fields that curl shows, with those of trailers.
fn fields(setup: &Setup, url: &str, coding: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(tools::find("curl", &setup.path)?)
        .args([
            "--silent",
            "--show-error",
            "--fail",
            "--max-time",
            "10",
            "--noproxy",
            "*",
        ])
        .args(["--header", &format!("Accept-Encoding: {coding}")])
        .args(arguments)
        .arg(url)
        .output()?;
    ensure!(
        output.status.success(),
        "curl failed: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn field<'a>(lines: &'a str, name: &str) -> Option<&'a str> {
    lines.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// The formats' own programs take each stream for whole.
fn tools_decode(setup: &Setup) -> Result<()> {
    let server = Server::start(setup)?;
    for path in PATHS {
        let plain = server.plain(path)?;
        for coding in CODINGS {
            if expected(coding, path).is_none() {
                continue;
            }
            let encoded = server.coded(coding, path)?.body;
            if let Some(decoded) = decode(setup, coding, &encoded)? {
                ensure!(decoded == plain, "{path} is not the same after {coding}");
            }
        }
    }
    Ok(())
}

/// Decodes by the program that the format has; deflate has none.
pub(super) fn decode(setup: &Setup, coding: &str, encoded: &[u8]) -> Result<Option<Vec<u8>>> {
    let program = match coding {
        "gzip" => "gzip",
        "br" => "brotli",
        "zstd" => "zstd",
        _ => return Ok(None),
    };
    let folder = Shell::new()?.create_temp_dir()?;
    let file = folder.path().join("encoded");
    fs::write(&file, encoded)?;
    let output = Command::new(tools::find(program, &setup.path)?)
        .args(["-d", "-c"])
        .stdin(Stdio::from(File::open(&file)?))
        .output()?;
    ensure!(
        output.status.success(),
        "{program} ended with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Some(output.stdout))
}

fn python(setup: &Setup, script: &str) -> Result<()> {
    let mut command = Command::new(&setup.python);
    command.arg("-c").arg(script);
    reads(setup, command)
}

fn node(setup: &Setup) -> Result<()> {
    let mut command = Command::new(tools::find("node", &setup.path)?);
    // What follows is for the script.
    command.args(["-e", include_str!("read.js"), "--"]);
    reads(setup, command)
}

/// Runs a script that reads every body plain and encoded, compares, and says `ok` at its end.
fn reads(setup: &Setup, mut command: Command) -> Result<()> {
    let server = Server::start(setup)?;
    let address = format!("http://{}", server.addr);
    let output = command.arg(address).args(PATHS).output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let last = said.lines().next_back().context("it said nothing")?;
    ensure!(output.status.success() && last.ends_with(" ok"), "it said {said}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_field() {
        let said = "HTTP/1.1 200 OK\r\nVary: accept-encoding\r\n\r\nx-checked: yes\r\n";
        assert_eq!(field(said, "vary"), Some("accept-encoding"));
        assert_eq!(field(said, "x-checked"), Some("yes"));
        assert_eq!(field(said, "etag"), None);
    }
}
