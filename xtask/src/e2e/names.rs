use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::child::Child;
use super::exposition::pipe;
use super::scenario::{Scenario, Setup};
use super::wait::until;
use super::{http, prometheus};
use crate::tools;

pub(super) const SCENARIOS: [Scenario; 3] = [
    Scenario {
        name: "metrics: prometheus scrapes names with dots",
        programs: &["prometheus"],
        test: scrapes,
    },
    Scenario {
        name: "metrics: promtool checks names with dots",
        programs: &["promtool"],
        test: checks,
    },
    Scenario {
        name: "metrics: python parses names with dots",
        programs: &["prometheus_client"],
        test: parses,
    },
];

/// Parses what is on standard input and prints the counter: its name, that of its first label, and its value.
const PARSE: &str = r#"
import sys
if sys.argv[1] == "openmetrics":
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
else:
    from prometheus_client.parser import text_string_to_metric_families as parse
families = list(parse(sys.stdin.read()))
assert [family.type for family in families] == ["counter", "histogram"], families
[sample] = families[0].samples
assert list(sample.labels.values()) == ['eu "1"', "/products/{id}"], sample
print(sample.name, *sample.labels, int(sample.value))
"#;

/// Starts our example, whose metrics have names with dots.
fn serve(setup: &Setup) -> Result<(Child, SocketAddr)> {
    Child::listening("names", &setup.names)
}

/// A server gets names that it can read, whether it is one that knows of dots or not.
fn scrapes(setup: &Setup) -> Result<()> {
    let (_names, addr) = serve(setup)?;
    let (_prometheus, server) = prometheus::start(setup, addr, None, &[])?;
    // The dot stands for itself, or for what became of it.
    let query = prometheus::encode("{__name__=~\"http.requests_total\"}");
    let path = format!("/api/v1/query?query={query}");
    let series = until(Duration::from_secs(20), "the counter", || {
        Ok(prometheus::ask(server, &path)?.pointer("/result/0").cloned())
    })?;
    ensure!(series["value"][1] == "3", "the counter is {series}");
    let metric = &series["metric"];
    let label = |names: [&str; 2]| names.iter().any(|name| metric[*name] == "/products/{id}");
    ensure!(label(["http.route", "http_route"]), "its labels are {metric}");
    let count = prometheus::encode("{__name__=~\"wait.time_seconds_count\"}");
    let counted = prometheus::ask(server, &format!("/api/v1/query?query={count}"))?;
    ensure!(
        counted.pointer("/result/0/value/1") == Some(&"1".into()),
        "the histogram is {counted}"
    );
    Ok(())
}

fn checks(setup: &Setup) -> Result<()> {
    let (_names, addr) = serve(setup)?;
    let promtool = tools::find("promtool", &setup.path)?;
    // Of what it is not told of, it knows underscores.
    let text = scrape(addr, "text/plain", "version=0.0.4", "underscores")?;
    pipe(&promtool, &["check", "metrics"], &text)?;
    Ok(())
}

fn parses(setup: &Setup) -> Result<()> {
    let (_names, addr) = serve(setup)?;
    for (escaping, expected) in [
        ("allow-utf-8", "http.requests_total service.zone http.route 3"),
        ("underscores", "http_requests_total service_zone http_route 3"),
        (
            "dots",
            "http_dot_requests__total service_dot_zone http_dot_route 3",
        ),
        (
            "values",
            "U__http_2e_requests__total U__service_2e_zone U__http_2e_route 3",
        ),
    ] {
        for (kind, parser) in [
            ("text/plain", "text"),
            ("application/openmetrics-text", "openmetrics"),
        ] {
            let text = scrape(addr, kind, "version=1.0.0", escaping)?;
            let said = pipe(&setup.python, &["-c", PARSE, parser], &text)?;
            ensure!(
                said.trim() == expected,
                "{kind}, {escaping}: read {said}, not {expected}"
            );
        }
    }
    Ok(())
}

/// Asks for the metrics, and makes sure that the answer is what was asked for.
fn scrape(addr: SocketAddr, kind: &str, version: &str, escaping: &str) -> Result<String> {
    let accept = format!("{kind};{version};escaping={escaping};q=0.5,*/*;q=0.1");
    let response = http::request(addr, &format!("GET /metrics\naccept: {accept}"), b"")?;
    let found = response.header("content-type").context("an answer has a type")?;
    let expected = format!("{kind}; {version}; charset=utf-8; escaping={escaping}");
    ensure!(found == expected, "asked for {expected}, got {found}");
    response.text()
}
