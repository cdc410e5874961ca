use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::child::Child;
use super::exposition::pipe;
use super::proxy::Proxy;
use super::scenario::{Scenario, Setup};
use super::wait::until;
use super::{http, prometheus};
use crate::tools;

pub(super) const SCENARIOS: [Scenario; 3] = [
    Scenario {
        name: "metrics: prometheus scrapes hostile labels in every format",
        programs: &["prometheus"],
        test: scrapes,
    },
    Scenario {
        name: "metrics: promtool checks hostile labels and help",
        programs: &["promtool"],
        test: checks,
    },
    Scenario {
        name: "metrics: python parses hostile labels, help and exemplars",
        programs: &["prometheus_client"],
        test: parses,
    },
];

const TEXT: &str = "text/plain; version=0.0.4";

/// What a newer server wants, which older ones do not speak of their own.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";

/// Parses what is on standard input, compares each text with the bytes beside it, and prints how many there were.
const PARSE: &str = r#"
import sys
if sys.argv[1] == "openmetrics":
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse
else:
    from prometheus_client.parser import text_string_to_metric_families as parse

def check(text, digits, size):
    data = text.encode()
    assert len(data) == size, (text, size)
    # The digits of a long one are cut.
    assert data.hex()[:256] == digits[:256], (text, digits)

counts = {"labels": 0, "help": 0, "exemplars": 0, "cases": 0, "forged": 0}
# Not as text, whose lines Python would end in more ways than one.
for family in parse(sys.stdin.buffer.read().decode()):
    if family.name.startswith("help_"):
        digits = family.name[len("help_"):]
        check(family.documentation, digits, len(digits) // 2)
        counts["help"] += 1
    for sample in family.samples:
        if sample.name == "hostile_cases":
            counts["cases"] = int(sample.value)
        elif sample.name == "hostile_total":
            labels = sample.labels
            check(labels["text"], labels["hex"], int(labels["bytes"]))
            counts["labels"] += 1
        elif "forged" in sample.name:
            counts["forged"] += 1
        if sample.exemplar:
            labels = sample.exemplar.labels
            check(labels["text"], labels["hex"], len(labels["hex"]) // 2)
            counts["exemplars"] += 1
print(*counts.values())
"#;

fn serve(setup: &Setup) -> Result<(Child, SocketAddr)> {
    Child::listening("hostile", &setup.hostile)
}

/// A server reads the same labels in the formats that it prefers, and in the oldest one.
fn scrapes(setup: &Setup) -> Result<()> {
    let (_hostile, addr) = serve(setup)?;
    for (accept, features, expected) in [
        (
            None,
            &["native-histograms"][..],
            "application/vnd.google.protobuf",
        ),
        (Some(OPEN_METRICS), &[], OPEN_METRICS),
        (Some(TEXT), &[], TEXT),
    ] {
        let proxy = Proxy::start(addr, accept)?;
        let (_prometheus, server) = prometheus::start(setup, proxy.addr(), None, features)?;
        let series = until(Duration::from_secs(20), "all series", || {
            let cases = query(server, "hostile_cases")?;
            let cases = cases.pointer("/0/value/1").and_then(Value::as_str);
            let series = query(server, "hostile_total")?;
            let found = series.as_array().map_or(0, Vec::len);
            Ok((cases == Some(&*found.to_string())).then_some(series))
        })?;
        for series in series.as_array().into_iter().flatten() {
            check(&series["metric"]).with_context(|| format!("{expected}: {series}"))?;
        }
        let forged = query(server, "{__name__=~\"forged.*\"}")?;
        ensure!(forged == Value::Array(Vec::new()), "{expected}: {forged}");
        let answered = proxy.answered();
        ensure!(
            answered.starts_with(expected),
            "{expected} was wanted, not {answered}"
        );
    }
    Ok(())
}

fn query(server: SocketAddr, query: &str) -> Result<Value> {
    let path = format!("/api/v1/query?query={}", prometheus::encode(query));
    Ok(prometheus::ask(server, &path)?["result"].take())
}

/// Compares a label with the bytes beside it, of which as many are there as fit.
fn check(labels: &Value) -> Result<()> {
    let label = |name: &str| labels[name].as_str().with_context(|| format!("no label {name}"));
    let (text, digits, size) = (label("text")?, label("hex")?, label("bytes")?);
    ensure!(text.len().to_string() == size, "{} bytes", text.len());
    let bytes: Vec<u8> = digits
        .as_bytes()
        .chunks(2)
        .map(|digits| Ok(u8::from_str_radix(std::str::from_utf8(digits)?, 16)?))
        .collect::<Result<_>>()?;
    let kept = text.len().min(128); // the digits of a long one are cut
    ensure!(text.as_bytes()[..kept] == bytes, "it is {text:?}");
    Ok(())
}

fn checks(setup: &Setup) -> Result<()> {
    let (_hostile, addr) = serve(setup)?;
    let promtool = tools::find("promtool", &setup.path)?;
    pipe(&promtool, &["check", "metrics"], &scrape(addr, TEXT)?)?;
    Ok(())
}

fn parses(setup: &Setup) -> Result<()> {
    let (_hostile, addr) = serve(setup)?;
    for (accept, parser, has_exemplars) in [(TEXT, "text", false), (OPEN_METRICS, "openmetrics", true)] {
        let said = pipe(&setup.python, &["-c", PARSE, parser], &scrape(addr, accept)?)?;
        let counts: Vec<usize> = said
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .with_context(|| said.clone())?;
        let [labels, help, exemplars, cases, forged] = counts[..] else {
            anyhow::bail!("{parser}: {said}")
        };
        ensure!(labels == cases && cases > help && help >= 20, "{parser}: {said}");
        ensure!((exemplars >= 15) == has_exemplars, "{parser}: {said}");
        ensure!(forged == 0, "{parser}: {said}");
    }
    Ok(())
}

fn scrape(addr: SocketAddr, accept: &str) -> Result<String> {
    let response = http::request(addr, &format!("GET /metrics\naccept: {accept}"), b"")?;
    let kind = response.header("content-type").context("an answer has a type")?;
    ensure!(kind.starts_with(accept), "asked for {accept}, got {kind}");
    response.text()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_label_that_is_not_what_was_meant_is_found() {
        check(&json!({"text": "a\n", "hex": "610a", "bytes": "2"})).unwrap();
        for wrong in [
            json!({"text": "an", "hex": "610a", "bytes": "2"}),
            json!({"text": "a\n\n", "hex": "610a", "bytes": "2"}),
            json!({"text": "a\n", "hex": "610a"}),
        ] {
            assert!(check(&wrong).is_err(), "{wrong}");
        }
    }
}
