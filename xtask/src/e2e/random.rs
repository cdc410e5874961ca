use std::fmt::Write as _;

use anyhow::{Result, ensure};

use super::http;
use super::scenario::{Scenario, Setup};
use super::service::Service;
use super::storefront::sum;

pub(super) const SCENARIOS: [Scenario; 1] = [Scenario {
    name: "http: random paths and methods make no new series",
    programs: &[],
    test: random,
}];

const REQUESTS: usize = 1_500;

/// The routes of our example, and what is none.
const ROUTES: [&str; 7] = [
    "/",
    "/users/{id}",
    "/echo",
    "/large",
    "/wait/{millis}",
    "/panic",
    "unmatched",
];

const METHODS: [&str; 9] = [
    "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "QUERY",
];

/// Asks what nobody would. The answers say that it is the client's fault, and no label is the client's.
fn random(setup: &Setup) -> Result<()> {
    let service = Service::start(setup, "")?;
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    for _ in 0..REQUESTS {
        let (method, path) = (numbers.method(), numbers.path());
        let head = format!("{method} {path}");
        match service.explain(http::request(service.at.app, &head, b"")) {
            Ok(response) => ensure!(
                matches!(response.status, 200 | 400 | 404 | 405),
                "{head} was answered {}",
                response.status
            ),
            // Its length is that of the body which it leaves out.
            Err(error) => ensure!(method == "HEAD", "{head}: {error:#}"),
        }
    }
    let text = service.metrics()?;
    let count = "http_server_request_duration_seconds_count{";
    let series: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(count)).collect();
    for series in &series {
        let route = label(series, "http_route");
        ensure!(ROUTES.contains(&route), "{series}");
        let method = label(series, "http_request_method");
        ensure!(method == "_OTHER" || METHODS.contains(&method), "{series}");
    }
    // Only then it was tried.
    for seen in ["http_route=\"unmatched\"", "http_request_method=\"_OTHER\""] {
        ensure!(
            series.iter().any(|series| series.contains(seen)),
            "no {seen}: {series:?}"
        );
    }
    let overflow = sum(&text, "cortex_metrics_overflow_total");
    ensure!(overflow <= 0.0, "{overflow} did not fit:\n{text}");
    Ok(())
}

fn label<'a>(series: &'a str, name: &str) -> &'a str {
    let value = series.split_once(&format!("{name}=\"")).map(|(_, rest)| rest);
    value.and_then(|rest| rest.split('"').next()).unwrap_or_default()
}

/// The same numbers in each run: xorshift, by Marsaglia.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % bound
    }

    /// Two in three are methods that somebody knows.
    fn method(&mut self) -> String {
        if self.below(3) > 0 {
            return METHODS[self.below(METHODS.len())].into();
        }
        (0..=self.below(12))
            .map(|_| char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcxyz019-_!~"[self.below(39)]))
            .collect()
    }

    /// Some are of a route that has a parameter, most of none.
    fn path(&mut self) -> String {
        let mut path = String::from(["/", "/users/", "/wait/x", "/large/"][self.below(4)]);
        for _ in 0..self.below(24) {
            match self.below(6) {
                0 => path.push('/'),
                1 => {
                    let _ = write!(path, "%{:02X}", self.below(256)); // a string takes everything
                }
                2 => path.push_str("../"),
                3 => path.push_str("{id}"),
                _ => path.push(char::from(
                    b"abcdefghijklmnopqrstuvwxyz0123456789;,=@+"[self.below(41)],
                )),
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_label() {
        let series = r#"method="GET",http_route="/users/{id}",code="200"} 1"#;
        assert_eq!(label(series, "http_route"), "/users/{id}");
        assert_eq!(label(series, "other"), "");
    }

    #[test]
    fn the_numbers_differ_and_are_the_same_in_each_run() {
        let some = || {
            let mut numbers = Numbers(7);
            (0..50)
                .map(|_| numbers.method() + &numbers.path())
                .collect::<Vec<_>>()
        };
        assert_eq!(some(), some());
        let unique: std::collections::BTreeSet<_> = some().into_iter().collect();
        assert!(unique.len() > 40, "{unique:?}");
    }
}
