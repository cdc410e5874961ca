use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use xshell::Shell;

use super::dashboard::Dashboard;
use super::http;
use super::prometheus;
use super::promql::{Selector, Used};
use super::scenario::{Scenario, Setup};
use super::storefront::Storefront;
use super::wait::until;
use crate::{project, tools};

pub(super) const SCENARIOS: [Scenario; 2] = [
    Scenario {
        name: "metrics: promtool accepts and tests the rules",
        programs: &["promtool"],
        test: promtool,
    },
    Scenario {
        name: "metrics: prometheus answers the rules and the dashboard",
        programs: &["prometheus"],
        test: answers,
    },
];

/// What Prometheus makes only while an alert waits or fires.
const ALERTS: &str = "ALERTS";

/// The rules are rules, behave as their tests say, and every query of the dashboard parses.
fn promtool(setup: &Setup) -> Result<()> {
    let program = tools::find("promtool", &setup.path)?;
    let run = |arguments: &[&str], file: &Path| {
        let output = Command::new(&program).args(arguments).arg(file).output()?;
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "promtool {}:\n{said}",
            arguments.join(" ")
        );
        // It says so after it has read something: a file without rules is well formed, too.
        ensure!(
            said.contains("SUCCESS"),
            "promtool {}:\n{said}",
            arguments.join(" ")
        );
        anyhow::Ok(said.into_owned())
    };
    run(&["check", "rules"], &file("rules.yml")?)?;
    run(&["test", "rules"], &file("rules_test.yml")?)?;
    let dashboard = Dashboard::read(&file("dashboard.json")?)?;
    let folder = Shell::new()?.create_temp_dir()?;
    let queries = folder.path().join("dashboard.yml");
    fs::write(&queries, dashboard.as_rules())?;
    let said = run(&["check", "rules"], &queries)?;
    let count = format!("{} rules found", dashboard.questions.len());
    ensure!(said.contains(&count), "not {count}:\n{said}");
    let configuration = folder.path().join("prometheus.yml");
    let rules = file("rules.yml")?.display().to_string();
    let text = snippet(&fs::read_to_string(guide()?)?)?.replace("docs/monitoring/rules.yml", &rules);
    ensure!(text.contains(&rules), "the guide's configuration loads no rules");
    fs::write(&configuration, text)?;
    run(&["check", "config"], &configuration)?;
    Ok(())
}

/// Finds the configuration of Prometheus, which is the first YAML of the guide.
fn snippet(guide: &str) -> Result<&str> {
    let snippet = guide
        .split_once("```yaml\n")
        .and_then(|(_, rest)| rest.split_once("```"));
    Ok(snippet.context("the guide shows no YAML")?.0)
}

/// A server that scrapes the storefront evaluates every rule, has every metric and label that is asked for, and has an
/// answer to every question of the dashboard.
fn answers(setup: &Setup) -> Result<()> {
    let folder = Shell::new()?.create_temp_dir()?;
    let spans = folder.path().join("spans.jsonl").display().to_string(); // without an exporter nothing is shown of it
    let storefront = Storefront::start_with(setup, &["--payment-failures", "1", "--trace-file", &spans])?;
    let rules = file("rules.yml")?;
    let (_prometheus, addr) = prometheus::start(setup, storefront.at.admin, Some(&rules), &[])?;
    let dashboard = Dashboard::read(&file("dashboard.json")?)?;
    // A rate needs two scrapes and something that happens between them, and what is recorded from it a little more.
    until(Duration::from_secs(40), "the answers", || {
        use_everything(&storefront)?;
        check(addr, &dashboard).map(Some)
    })
}

/// Makes every kind of series: a request that is served encoded, one that fails, one that the admin port refuses, and a
/// connection that is none.
fn use_everything(storefront: &Storefront) -> Result<()> {
    let shop = storefront.at.shop;
    let encoded = http::request(shop, "GET /catalogue\naccept-encoding: gzip", b"")?;
    ensure!(
        encoded.header("content-encoding") == Some("gzip"),
        "a page is not encoded"
    );
    let order = format!("{{\"product\": {}, \"quantity\": 1}}", storefront.product()?);
    let head = "POST /checkout\ncontent-type: application/json";
    let paid = http::request(shop, head, order.as_bytes())?;
    ensure!(
        paid.status == 502,
        "a payment that fails is answered {}",
        paid.status
    );
    let forged = "POST /health/checks/payments/run\nsec-fetch-site: cross-site";
    let refused = http::request(storefront.at.admin, forged, b"")?;
    ensure!(
        refused.status == 403,
        "what another site sent is answered {}",
        refused.status
    );
    let mut stream = http::connect(shop)?;
    stream.write_all(b"this is not HTTP\r\n\r\n")?;
    http::to_end(&mut stream)?;
    Ok(())
}

fn check(addr: SocketAddr, dashboard: &Dashboard) -> Result<()> {
    let mut asked = Vec::new();
    let names = strings(&prometheus::ask(addr, "/api/v1/label/__name__/values")?);
    let groups = prometheus::ask(addr, "/api/v1/rules")?;
    for rule in items(&groups["groups"]).flat_map(|group| items(&group["rules"])) {
        let name = rule["name"].as_str().context("a rule without a name")?;
        let query = rule["query"].as_str().context("a rule without a query")?;
        ensure!(
            rule["health"] == "ok",
            "the rule {name} is {}: {}",
            rule["health"],
            rule["lastError"]
        );
        let recorded = rule["type"] == "recording";
        ensure!(!recorded || names.contains(name), "nothing is recorded as {name}");
        asked.push((name, query));
    }
    ensure!(!asked.is_empty(), "no rule is loaded");
    let questions = dashboard.questions.iter();
    asked.extend(questions.map(|question| (&*question.place, &*question.query)));
    for (place, query) in asked {
        let used = Used::of(query);
        names_exist(&used, &names).with_context(|| place.to_owned())?;
        labels_exist(&used, |name| labels(addr, name)).with_context(|| place.to_owned())?;
    }
    for question in &dashboard.questions {
        let path = format!("/api/v1/query?query={}", prometheus::encode(&question.query));
        let answer = prometheus::ask(addr, &path).with_context(|| question.place.clone())?;
        let is_answered = items(&answer["result"]).next().is_some();
        // What did not happen, such as a restart, is annotated nowhere.
        let is_event = question.place == "annotations";
        let may_be_empty = is_event || Used::of(&question.query).names().any(may_be_missing);
        ensure!(
            is_answered || may_be_empty,
            "{}: no answer to {}",
            question.place,
            question.query
        );
    }
    Ok(())
}

/// Fails for a metric that nobody shows.
fn names_exist(used: &Used, names: &BTreeSet<String>) -> Result<()> {
    for name in used.names() {
        ensure!(names.contains(name) || name == ALERTS, "nobody shows {name}");
    }
    Ok(())
}

/// Fails for a label that a metric does not have: what matches or groups by it is silently empty.
fn labels_exist(used: &Used, labels: impl Fn(&str) -> Result<BTreeSet<String>>) -> Result<()> {
    let (mut all, mut known) = (BTreeSet::new(), true);
    for Selector { name, labels: asked } in &used.selectors {
        // What is not there has no labels yet, and what has no name may have any.
        let Some(name) = name.as_deref().filter(|name| !may_be_missing(name)) else {
            known = false;
            continue;
        };
        let has = labels(name)?;
        for label in asked {
            ensure!(has.contains(label), "{name} has no label {label}");
        }
        all.extend(has);
    }
    for label in used.grouping.iter().filter(|_| known) {
        ensure!(all.contains(label), "no metric has the label {label}");
    }
    Ok(())
}

fn may_be_missing(name: &str) -> bool {
    name == ALERTS
}

fn labels(addr: SocketAddr, name: &str) -> Result<BTreeSet<String>> {
    let path = format!("/api/v1/labels?match%5B%5D={}", prometheus::encode(name));
    Ok(strings(&prometheus::ask(addr, &path)?))
}

fn strings(value: &Value) -> BTreeSet<String> {
    items(value).filter_map(Value::as_str).map(Into::into).collect()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn guide() -> Result<PathBuf> {
    Ok(project::root()?.with_file_name("docs/guides/monitoring.md"))
}

fn file(name: &str) -> Result<PathBuf> {
    Ok(project::root()?.with_file_name("docs/monitoring").join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
        names.map(Into::into).into()
    }

    fn names(query: &str) -> Result<()> {
        names_exist(&Used::of(query), &set(["up", "process_threads"]))
    }

    #[test]
    fn a_metric_that_nobody_shows_is_found() {
        names("up + process_threads and ALERTS{a=\"b\"}").unwrap();
        let error = |query| names(query).unwrap_err().to_string();
        assert_eq!(error("sum(rate(upp[5m]))"), "nobody shows upp");
    }

    #[test]
    fn a_label_that_no_metric_has_is_found() {
        let labels = |query| labels_exist(&Used::of(query), |_| Ok(set(["job", "le"])));
        labels("sum by (le) (a{job=\"b\"})").unwrap();
        labels("{anything=\"b\"}").unwrap();
        labels("sum by (severity) (ALERTS)").unwrap();
        let error = |query| labels(query).unwrap_err().to_string();
        assert_eq!(error("a{jop=\"b\"}"), "a has no label jop");
        assert_eq!(error("ALERTS + a{jop=\"b\"}"), "a has no label jop");
        assert_eq!(error("sum by (route) (a)"), "no metric has the label route");
    }

    #[test]
    fn finds_the_snippet() {
        assert_eq!(
            snippet("a\n```sh\nb\n```\n```yaml\nc: d\n```\n```yaml\ne: f\n```").unwrap(),
            "c: d\n"
        );
        assert!(snippet("```yaml\ncut off").is_err());
    }

    #[test]
    fn every_alert_is_tested_both_ways_and_explained() {
        let guide = fs::read_to_string(guide().unwrap()).unwrap();
        let text = |name| fs::read_to_string(file(name).unwrap()).unwrap();
        let (rules, tests) = (text("rules.yml"), text("rules_test.yml"));
        let alerts: Vec<_> = rules
            .lines()
            .filter_map(|line| line.trim().strip_prefix("- alert: "))
            .collect();
        assert!(alerts.len() >= 10, "{alerts:?}");
        for alert in alerts {
            assert!(
                guide.contains(&format!("\n| `{alert}` |")),
                "{alert} is not in the guide"
            );
            let cases: Vec<_> = tests
                .split("- alertname: ")
                .skip(1)
                .filter(|case| case.lines().next() == Some(alert))
                .collect();
            let silent = cases.iter().any(|case| case.contains("exp_alerts: []"));
            let fires = cases.iter().any(|case| case.contains("exp_labels: "));
            assert!(fires && silent, "{alert}: fires {fires}, is silent {silent}");
        }
    }
}
