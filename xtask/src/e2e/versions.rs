use std::process::Command;

use anyhow::{Context, Result, ensure};
use xshell::Shell;

use super::scenario::{Scenario, Setup};
use super::service::Service;
use crate::tools;

pub(super) const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "http: curl speaks HTTP/1.0",
        programs: CURL,
        test: |setup| speaks(setup, "--http1.0", "1.0"),
    },
    Scenario {
        name: "http: curl speaks HTTP/1.1",
        programs: CURL,
        test: |setup| speaks(setup, "--http1.1", "1.1"),
    },
    Scenario {
        name: "http: curl offers HTTP/2 and gets HTTP/1.1",
        programs: CURL,
        test: |setup| speaks(setup, "--http2", "1.1"),
    },
    Scenario {
        name: "http: curl knows that it is HTTP/2",
        programs: CURL,
        test: |setup| speaks(setup, "--http2-prior-knowledge", "2"),
    },
];

const CURL: &[&str] = &["curl"];

/// Several requests on one connection: without a body, with a large one, chunked, refused, and with a handler that panics.
fn speaks(setup: &Setup, flag: &str, version: &str) -> Result<()> {
    let service = Service::start(setup, "")?;
    let folder = Shell::new()?.create_temp_dir()?;
    let file = folder.path().join("large");
    let large = "a line that is no other\n".repeat(10_000);
    std::fs::write(&file, &large)?;
    let file = file.to_str().context("the folder is no text")?;
    let post = format!("@{file}");
    for (arguments, path, code, body) in [
        (&[][..], "/", "200", Some("Hello, World!")),
        (&["--data-binary", &post], "/echo", "200", Some(&*large)),
        (
            &["--header", "expect: 100-continue", "--data-binary", &post],
            "/echo",
            "200",
            Some(&*large),
        ),
        (
            &["--upload-file", file, "--request", "POST"],
            "/echo",
            "200",
            Some(&*large),
        ),
        (&["--request", "DELETE"], "/echo", "405", None), // problem details
        (&["--head"], "/users/7", "200", None),
        (&[], "/nowhere", "404", None),
        (&[], "/panic", "500", None),
        (&[], "/users/8", "200", Some("8")),
    ] {
        let url = format!("http://{}{path}", service.at.app);
        let output = Command::new(tools::find("curl", &setup.path)?)
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "20",
                "--noproxy",
                "*",
                flag,
            ])
            .args(["--write-out", "\n%{http_version} %{http_code}"])
            .args(arguments)
            .arg(&url)
            .output()?;
        ensure!(
            output.status.success(),
            "{url}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        let said = String::from_utf8(output.stdout)?;
        let (found, last) = said.rsplit_once('\n').context("curl wrote something else")?;
        let (spoke, answered) = last.split_once(' ').context("curl wrote something else")?;
        ensure!(answered == code, "{url} was answered {answered}");
        // HTTP/1.0 is `1` to curl.
        ensure!(
            spoke == version || format!("{spoke}.0") == version,
            "{url}: curl got HTTP/{spoke}"
        );
        if let Some(body) = body {
            ensure!(found == body, "{url}: {} bytes, not {}", found.len(), body.len());
        }
    }
    let errors = service.sample("http_server_connection_errors_total")?;
    ensure!(errors <= 0.0, "{errors} connections failed");
    Ok(())
}
