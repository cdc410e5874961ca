use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::http;
use super::scenario::{Scenario, Setup};
use super::storefront::Storefront;
use crate::tools;

pub(super) const SCENARIOS: [Scenario; 3] = [
    Scenario {
        name: "promtool checks the metrics",
        programs: &["promtool"],
        test: promtool,
    },
    Scenario {
        name: "metrics: python parses OpenMetrics with exemplars",
        programs: &["prometheus_client"],
        test: |setup| {
            python(
                setup,
                "application/openmetrics-text; version=1.0.0",
                "openmetrics",
            )
        },
    },
    Scenario {
        name: "metrics: python parses text 0.0.4",
        programs: &["prometheus_client"],
        test: |setup| python(setup, "text/plain; version=0.0.4", "text"),
    },
];

const REQUESTS: usize = 3;

/// Parses what is on standard input, strictly, and prints how often the catalogue was asked for, and the traces there are.
const PARSE: &str = r#"
import sys
if sys.argv[1] == "openmetrics":
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
else:
    from prometheus_client.parser import text_string_to_metric_families as parse
families = list(parse(sys.stdin.read()))
count = sum(
    sample.value
    for family in families
    for sample in family.samples
    if sample.name == "http_server_request_duration_seconds_count"
    and sample.labels.get("http_route") == "/catalogue"
)
traces = {
    sample.exemplar.labels["trace_id"]
    for family in families
    for sample in family.samples
    if sample.exemplar
}
print(int(count), *traces)
"#;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn promtool(setup: &Setup) -> Result<()> {
    let (_storefront, text) = scrape(setup, "text/plain; version=0.0.4")?;
    let program = tools::find("promtool", &setup.path)?;
    pipe(&program, &["check", "metrics"], &text)?;
    Ok(())
}

fn python(setup: &Setup, accept: &str, parser: &str) -> Result<()> {
    let (_storefront, text) = scrape(setup, accept)?;
    let said = pipe(&setup.python, &["-c", PARSE, parser], &text)?;
    // The older format has no exemplars.
    let expected = match parser {
        "openmetrics" => format!("{REQUESTS} {TRACE}"),
        _ => REQUESTS.to_string(),
    };
    ensure!(said.trim() == expected, "read {said}, not {expected}");
    Ok(())
}

/// Makes some requests, so that there is something to tell, and asks for the metrics in one format.
fn scrape(setup: &Setup, accept: &str) -> Result<(Storefront, String)> {
    let storefront = Storefront::start(setup)?;
    for _ in 0..REQUESTS {
        let head = format!("GET /catalogue\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01");
        http::request(storefront.at.shop, &head, b"")?.text()?;
    }
    let response = http::request(
        storefront.at.admin,
        &format!("GET /metrics\naccept: {accept}"),
        b"",
    )?;
    let kind = response.header("content-type").unwrap_or_default().to_owned();
    ensure!(kind.starts_with(accept), "asked for {accept}, got {kind}");
    Ok((storefront, response.text()?))
}

/// Runs a program on a text and returns what it prints; a failure says what it said.
pub(super) fn pipe(program: &Path, args: &[&str], text: &str) -> Result<String> {
    let name = || program.display().to_string();
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(name)?;
    let mut input = child.stdin.take().context("standard input is piped")?;
    // The programs read everything before they print; one that does not read at all says why.
    let written = input.write_all(text.as_bytes());
    drop(input);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} {}:\n{said}", name(), args[0]);
    written.with_context(name)?;
    Ok(said.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_returns_what_was_said_or_fails_with_it() {
        let sh = Path::new("/bin/sh");
        assert_eq!(pipe(sh, &["-c", "tr a-z A-Z"], "text").unwrap(), "TEXT");
        let error = pipe(sh, &["-c", "cat; echo wrong >&2; exit 3"], "text").unwrap_err();
        assert_eq!(error.to_string(), "/bin/sh -c:\ntextwrong\n");
    }
}
