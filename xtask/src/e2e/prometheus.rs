use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::child::Child;
use super::http;
use super::scenario::{Scenario, Setup};
use super::storefront::Storefront;
use super::wait::until;
use crate::tools;

pub(super) const SCENARIOS: [Scenario; 2] = [
    Scenario {
        name: "metrics: prometheus scrapes and answers",
        programs: &["prometheus"],
        test: scrapes,
    },
    Scenario {
        name: "metrics: prometheus reads native histograms and exemplars",
        programs: &["prometheus"],
        test: native,
    },
];

/// What Prometheus counts is what was asked for: by route, and for every page.
fn scrapes(setup: &Setup) -> Result<()> {
    let storefront = Storefront::start(setup)?;
    let product = storefront.product()?;
    let product = product.as_str().map_or_else(|| product.to_string(), Into::into);
    // `product` has asked for the catalogue once.
    for _ in 1..25 {
        http::get(storefront.at.shop, "/catalogue")?.text()?;
    }
    for _ in 0..7 {
        http::get(storefront.at.shop, &format!("/products/{product}"))?.text()?;
    }
    let (_prometheus, addr) = start(setup, storefront.at.admin, None, &[])?;
    for (query, expected) in [
        ("up{job=\"shop\"}", 1),
        (
            "sum(http_server_request_duration_seconds_count{http_route=\"/catalogue\"})",
            25,
        ),
        (
            "sum(http_server_request_duration_seconds_count{http_route=\"/products/{id}\"})",
            7,
        ),
    ] {
        // A scrape on a busy machine may time out; the next one is right.
        let expected = expected.to_string();
        let wanted = format!("{query} to be {expected}");
        until(Duration::from_secs(20), &wanted, || {
            Ok(value(addr, query)?.filter(|value| *value == expected))
        })?;
    }
    Ok(())
}

/// A server that asks for protobuf finds native buckets, and the trace of a request that was sampled.
fn native(setup: &Setup) -> Result<()> {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let storefront = Storefront::start(setup)?;
    let features = ["native-histograms", "exemplar-storage"];
    let (_prometheus, addr) = start(setup, storefront.at.admin, None, &features)?;
    let head = format!("GET /catalogue\ntraceparent: 00-{TRACE}-00f067aa0ba902b7-01");
    for _ in 0..3 {
        http::request(storefront.at.shop, &head, b"")?.text()?;
    }
    let catalogue = "http_server_request_duration_seconds{http_route=\"/catalogue\"}";
    let within = Duration::from_secs(20);
    for (function, expected) in [("histogram_count", "3"), ("histogram_fraction", "1")] {
        let bounds = if function == "histogram_fraction" {
            "0, 60, "
        } else {
            ""
        };
        // Such a function knows nothing of classic buckets: an answer is of native ones.
        let query = format!("sum({function}({bounds}{catalogue}))");
        until(within, &query, || {
            Ok(value(addr, &query)?.filter(|value| value == expected))
        })?;
    }
    let path = format!(
        "/api/v1/query_exemplars?query={}&start=0&end=4102444800",
        encode("http_server_request_duration_seconds")
    );
    until(within, "the exemplar", || {
        let data = ask(addr, &path)?;
        let found = data
            .pointer("/0/exemplars/0/labels/trace_id")
            .and_then(Value::as_str);
        Ok(found.map(str::to_owned))
    })
    .and_then(|found| {
        ensure!(found == TRACE, "the exemplar is of the trace {found}");
        Ok(())
    })
}

/// Starts a server with a configuration and a database of its own, on a port that is free; it evaluates rules if given.
pub(super) fn start(
    setup: &Setup,
    admin: SocketAddr,
    rules: Option<&Path>,
    features: &[&str],
) -> Result<(Child, SocketAddr)> {
    let program = tools::find("prometheus", &setup.path)?;
    let mut child = Child::start("prometheus", |folder| {
        let file = folder.join("prometheus.yml");
        fs::write(&file, configuration(admin, rules))?;
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .arg("--web.listen-address=127.0.0.1:0");
        if !features.is_empty() {
            command.arg(format!("--enable-feature={}", features.join(",")));
        }
        Ok(command)
    })?;
    let addr = child.ready("its port", |child| Ok(port(&child.stderr()?)))?;
    Ok((child, addr))
}

fn configuration(admin: SocketAddr, rules: Option<&Path>) -> String {
    let rules = rules.map_or_else(String::new, |rules| {
        format!("rule_files: [{:?}]\n", rules.display().to_string())
    });
    format!(
        "global:\n  evaluation_interval: 1s\n{rules}scrape_configs:\n  - job_name: shop\n    scrape_interval: 1s\n    \
         scrape_timeout: 1s\n    static_configs:\n      - targets: [\"{admin}\"]\n"
    )
}

/// Finds in the log where it listens.
fn port(log: &str) -> Option<SocketAddr> {
    log.lines()
        .filter(|line| line.contains("Listening on"))
        .find_map(|line| line.rsplit_once("address=")?.1.trim_matches('"').parse().ok())
}

/// Asks for the value of a query, once there is one.
fn value(addr: SocketAddr, query: &str) -> Result<Option<String>> {
    let data = ask(addr, &format!("/api/v1/query?query={}", encode(query)))?;
    let value = data.pointer("/result/0/value/1");
    value
        .map(|value| value.as_str().map(Into::into).context("a value is a string"))
        .transpose()
}

/// Asks the API and returns the data of its answer.
pub(super) fn ask(addr: SocketAddr, path: &str) -> Result<Value> {
    let response = http::get(addr, path)?;
    let mut answer: Value = serde_json::from_slice(&response.body)?;
    ensure!(answer["status"] == "success", "{path}: {}", answer["error"]);
    Ok(answer["data"].take())
}

pub(super) fn encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_port_in_the_log() {
        let log = "ts=1 level=info msg=\"Start listening for connections\" address=127.0.0.1:0\n\
                   ts=2 level=info component=web msg=\"Listening on\" address=127.0.0.1:34567\n";
        assert_eq!(port(log), Some("127.0.0.1:34567".parse().unwrap()));
        assert_eq!(port(&log[..60]), None);
    }

    #[test]
    fn encodes_a_query() {
        assert_eq!(encode("up{a=\"/x\"}"), "up%7Ba%3D%22%2Fx%22%7D");
    }
}
