use serde_json::{Value, json};

use super::budget::{Bound, Limit};
use super::results::Results;
use super::table::{Align, table};

/// What an area's run came to: each bound judged, and everything that was measured.
#[derive(Debug)]
pub(super) struct Report<'a> {
    area: &'a str,
    results: &'a Results,
    judged: Vec<Judged<'a>>,
}

#[derive(Debug)]
struct Judged<'a> {
    bound: &'a Bound,
    /// The ratio, the nanoseconds or the bytes, whichever is bounded; `None` if a benchmark did not run.
    measured: Option<f64>,
}

impl<'a> Report<'a> {
    pub(super) fn new(area: &'a str, results: &'a Results, bounds: impl Iterator<Item = &'a Bound>) -> Self {
        let judge = |bound: &'a Bound| Judged {
            bound,
            measured: match &bound.limit {
                Limit::Ratio { peer, .. } => results.ratio(&bound.ours, peer),
                Limit::Nanos(_) | Limit::Bytes(_) => results.median(&bound.ours),
            },
        };
        Self {
            area,
            results,
            judged: bounds.map(judge).collect(),
        }
    }

    /// Describes each bound that does not hold; one that could not be checked does not hold.
    pub(super) fn misses(&self) -> Vec<String> {
        self.judged
            .iter()
            .filter(|judged| !judged.holds())
            .map(|judged| format!("{} {}: {}", self.area, judged.bound.ours, judged.describe()))
            .collect()
    }

    /// Lays everything out for people.
    pub(super) fn to_table(&self) -> String {
        let mut rows = Vec::new();
        for id in self.results.ids() {
            let median = self
                .results
                .median(id)
                .map(|median| amount(id, median))
                .unwrap_or_default();
            let mut bounded = self
                .judged
                .iter()
                .filter(|judged| judged.bound.ours == id)
                .peekable();
            if bounded.peek().is_none() {
                rows.push([
                    id.into(),
                    median,
                    String::new(),
                    String::new(),
                    String::new(),
                    String::new(),
                ]);
                continue;
            }
            rows.extend(bounded.map(|judged| judged.row(median.clone())));
        }
        let ids = self.results.ids();
        let absent = self
            .judged
            .iter()
            .filter(|judged| !ids.contains(&*judged.bound.ours));
        rows.extend(absent.map(|judged| judged.row(String::new())));
        let heading = [self.area, "median", "ratio", "to", "budget", "verdict"];
        let align = [
            Align::Left,
            Align::Right,
            Align::Right,
            Align::Left,
            Align::Right,
            Align::Left,
        ];
        table(heading, align, &rows)
    }

    /// Lays everything out for programs.
    pub(super) fn to_json(&self) -> Value {
        let benchmarks = self.results.ids().into_iter().map(|id| {
            let rounds: Vec<_> = self.results.rounds.iter().map(|round| round.get(id)).collect();
            let [median, each] = if is_bytes(id) {
                ["median_bytes", "rounds_bytes"]
            } else {
                ["median_ns", "rounds_ns"]
            };
            json!({ "name": id, median: self.results.median(id), each: rounds })
        });
        let bounds = self.judged.iter().map(|judged| {
            let (peer, unit, max) = match &judged.bound.limit {
                Limit::Ratio { peer, max } => (Some(peer), "ratio", max),
                Limit::Nanos(max) => (None, "ns", max),
                Limit::Bytes(max) => (None, "bytes", max),
            };
            json!({
                "ours": judged.bound.ours,
                "peer": peer,
                "unit": unit,
                "measured": judged.measured,
                "max": max,
                "why": judged.bound.why,
                "holds": judged.holds(),
            })
        });
        json!({
            "area": self.area,
            "benchmarks": benchmarks.collect::<Vec<_>>(),
            "bounds": bounds.collect::<Vec<_>>(),
        })
    }
}

impl Judged<'_> {
    fn holds(&self) -> bool {
        let (Limit::Ratio { max, .. } | Limit::Nanos(max) | Limit::Bytes(max)) = &self.bound.limit;
        self.measured.is_some_and(|measured| measured <= *max)
    }

    fn describe(&self) -> String {
        match (&self.bound.limit, self.measured) {
            (Limit::Ratio { peer, max }, Some(ratio)) => format!("{ratio:.3} of {peer}, budget {max}"),
            (Limit::Nanos(max), Some(nanos)) => format!("{}, budget {}", time(nanos), time(*max)),
            (Limit::Bytes(max), Some(most)) => format!("{}, budget {}", bytes(most), bytes(*max)),
            (Limit::Ratio { peer, .. }, None) => format!("it or {peer} did not run"),
            (Limit::Nanos(_) | Limit::Bytes(_), None) => "it did not run".into(),
        }
    }

    fn row(&self, median: String) -> [String; 6] {
        let (ratio, peer, budget) = match &self.bound.limit {
            Limit::Ratio { peer, max } => (
                self.measured
                    .map(|ratio| format!("{ratio:.3}"))
                    .unwrap_or_default(),
                peer.clone(),
                max.to_string(),
            ),
            Limit::Nanos(max) => (String::new(), String::new(), time(*max)),
            Limit::Bytes(max) => (String::new(), String::new(), bytes(*max)),
        };
        let verdict = match (self.holds(), self.measured) {
            (true, _) => "ok",
            (false, Some(_)) => "MISSED",
            (false, None) => "DID NOT RUN",
        };
        [
            self.bound.ours.clone(),
            median,
            ratio,
            peer,
            budget,
            verdict.into(),
        ]
    }
}

/// Writes what was measured in its unit: bytes if the group's name says so, else nanoseconds.
fn amount(id: &str, measured: f64) -> String {
    if is_bytes(id) {
        bytes(measured)
    } else {
        time(measured)
    }
}

fn is_bytes(id: &str) -> bool {
    id.split('/')
        .next()
        .is_some_and(|group| group.ends_with("-bytes"))
}

/// Writes bytes as a person wants to read them.
fn bytes(bytes: f64) -> String {
    match bytes {
        ..1e4 => format!("{bytes:.0} B"),
        _ => format!("{:.1} kB", bytes / 1e3),
    }
}

/// Writes nanoseconds with three digits that count and the unit that suits them.
fn time(nanos: f64) -> String {
    let (value, unit) = match nanos {
        ..1e3 => (nanos, "ns"),
        1e3..1e6 => (nanos / 1e3, "us"),
        _ => (nanos / 1e6, "ms"),
    };
    match value {
        ..10.0 => format!("{value:.2} {unit}"),
        10.0..100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;

    fn results() -> Results {
        let round = |ours: f64| {
            [
                ("attach/cortex", ours),
                ("attach/opentelemetry", 25.0),
                ("serve/cortex", 6_400.0),
            ]
            .map(|(id, nanos)| (id.to_owned(), nanos))
            .into()
        };
        Results {
            rounds: vec![round(7.5), round(7.5), round(9.0)],
        }
    }

    fn budget() -> Budget {
        let entry = |ours, limit| format!("[[bound]]\narea = 'core'\nours = '{ours}'\n{limit}\nwhy = 'x'\n");
        let text = entry("attach/cortex", "peer = 'attach/opentelemetry'\nmax = 0.25")
            + &entry("attach/cortex", "max_ns = 10")
            + &entry("serve/cortex", "peer = 'serve/bare'\nmax = 1.05");
        Budget::parse(&text).unwrap()
    }

    #[test]
    fn shows_each_bound_and_everything_measured() {
        let (results, budget) = (results(), budget());
        let report = Report::new("core", &results, budget.of_area("core"));
        assert_eq!(
            report.to_table(),
            "core                   median  ratio  to                     budget  verdict\n\
             attach/cortex         7.50 ns  0.300  attach/opentelemetry     0.25  MISSED\n\
             attach/cortex         7.50 ns                               10.0 ns  ok\n\
             attach/opentelemetry  25.0 ns\n\
             serve/cortex          6.40 us         serve/bare               1.05  DID NOT RUN\n"
        );
        assert_eq!(
            report.misses(),
            [
                "core attach/cortex: 0.300 of attach/opentelemetry, budget 0.25",
                "core serve/cortex: it or serve/bare did not run",
            ]
        );
    }

    #[test]
    fn a_bound_without_any_benchmark_is_shown_too() {
        let (results, budget) = (Results::default(), budget());
        let report = Report::new("core", &results, budget.of_area("core"));
        assert_eq!(report.misses().len(), 3);
        assert_eq!(report.to_table().matches("DID NOT RUN").count(), 3);
    }

    #[test]
    fn json_holds_what_was_measured_and_judged() {
        let (results, budget) = (results(), budget());
        let json = Report::new("core", &results, budget.of_area("core")).to_json();
        assert_eq!(json["area"], "core");
        assert_eq!(json["benchmarks"][0]["rounds_ns"], json!([7.5, 7.5, 9.0]));
        assert_eq!(json["bounds"][0]["holds"], false);
        assert_eq!(json["bounds"][1]["measured"], 7.5);
        assert_eq!(json["bounds"][2]["measured"], Value::Null);
    }

    #[test]
    fn bytes_are_told_by_the_name_of_the_group() {
        let texts = [
            ("idle-bytes/ours", 9_876.0),
            ("idle-bytes/ours", 12_345.0),
            ("bytes/ours", 12.0),
        ];
        let texts = texts.map(|(id, measured)| amount(id, measured));
        assert_eq!(texts, ["9876 B", "12.3 kB", "12.0 ns"]);
    }

    #[test]
    fn a_bound_in_bytes_is_shown_in_bytes() {
        let text = "[[bound]]\narea = 'core'\nours = 'idle-bytes/cortex'\nmax_bytes = 500_000\nwhy = 'x'\n";
        let budget = Budget::parse(text).unwrap();
        let round = [("idle-bytes/cortex".to_owned(), 600_000.0)].into();
        let results = Results { rounds: vec![round] };
        let report = Report::new("core", &results, budget.of_area("core"));
        assert_eq!(
            report.misses(),
            ["core idle-bytes/cortex: 600.0 kB, budget 500.0 kB"]
        );
        assert!(
            report
                .to_table()
                .contains("600.0 kB             500.0 kB  MISSED"),
            "{}",
            report.to_table()
        );
        assert_eq!(report.to_json()["bounds"][0]["unit"], "bytes");
    }

    #[test]
    fn times_read_well() {
        let texts = [0.5, 9.99, 12.34, 999.0, 1_000.0, 98_765.0, 2.5e6].map(time);
        assert_eq!(
            texts,
            [
                "0.50 ns", "9.99 ns", "12.3 ns", "999 ns", "1.00 us", "98.8 us", "2.50 ms"
            ]
        );
    }
}
