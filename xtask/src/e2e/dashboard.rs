use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Every query of a dashboard of Grafana, as Prometheus would be asked.
#[derive(Debug)]
pub(super) struct Dashboard {
    pub(super) questions: Vec<Question>,
}

#[derive(Debug)]
pub(super) struct Question {
    /// The panel or the variable.
    pub(super) place: String,
    pub(super) query: String,
}

/// What Grafana puts in: the choice of everything, and windows that hold some scrapes.
const VARIABLES: [(&str, &str); 3] = [("$job", ".+"), ("$instance", ".+"), ("$__rate_interval", "5m")];

impl Dashboard {
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?;
        Self::of(&serde_json::from_str(&text)?)
    }

    fn of(json: &Value) -> Result<Self> {
        let mut questions = Vec::new();
        for panel in items(&json["panels"]) {
            let place = panel["title"].as_str().context("a panel without a title")?;
            for target in items(&panel["targets"]) {
                questions.push(Question::new(place, &target["expr"])?);
            }
        }
        for annotation in items(&json["annotations"]["list"]) {
            questions.push(Question::new("annotations", &annotation["expr"])?);
        }
        for variable in items(&json["templating"]["list"]) {
            if variable["type"] == "query" {
                let place = variable["name"].as_str().context("a variable without a name")?;
                let query = variable["query"]["query"].as_str().and_then(label_values);
                let query = query.with_context(|| format!("{place} is no `label_values(metric, label)`"))?;
                questions.push(Question::new(place, &Value::String(query))?);
            }
        }
        ensure!(!questions.is_empty(), "the dashboard asks for nothing");
        Ok(Self { questions })
    }

    /// Writes rules that ask the same, so that a program that reads rules reads every query.
    pub(super) fn as_rules(&self) -> String {
        let mut text = "groups:\n- name: dashboard\n  rules:\n".to_owned();
        for (number, question) in self.questions.iter().enumerate() {
            // A string of JSON is one of YAML.
            let query = Value::String(question.query.clone());
            text.extend([format!(
                "  - record: dashboard:query:{number}\n    expr: {query}\n"
            )]);
        }
        text
    }
}

impl Question {
    fn new(place: &str, query: &Value) -> Result<Self> {
        let query = query.as_str().with_context(|| format!("{place}: no query"))?;
        let query = VARIABLES.iter().fold(query.to_owned(), |query, (name, value)| {
            query.replace(name, value)
        });
        ensure!(!query.contains('$'), "{place}: an unknown variable in {query}");
        Ok(Self {
            place: place.to_owned(),
            query,
        })
    }
}

/// Writes `label_values(metric, label)`, which only Grafana knows, as a query with the same answer.
fn label_values(query: &str) -> Option<String> {
    let (selector, label) = query
        .strip_prefix("label_values(")?
        .strip_suffix(')')?
        .rsplit_once(',')?;
    Some(format!("group by ({}) ({})", label.trim(), selector.trim()))
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;
    use crate::project;

    fn ours() -> Value {
        let file = project::root()
            .unwrap()
            .with_file_name("docs/monitoring/dashboard.json");
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
    }

    #[test]
    fn reads_every_query() {
        let dashboard = Dashboard::of(&json!({
            "panels": [
                { "title": "Row" },
                { "title": "A", "targets": [{ "expr": "rate(a{job=~\"$job\"}[$__rate_interval])" }, { "expr": "b" }] },
            ],
            "annotations": { "list": [{ "expr": "c" }] },
            "templating": { "list": [
                { "name": "datasource", "type": "datasource", "query": "prometheus" },
                { "name": "job", "type": "query", "query": { "query": "label_values(d{x=\"y\"}, job)" } },
            ] },
        }))
        .unwrap();
        let queries: Vec<_> = dashboard.questions.iter().map(|it| &*it.query).collect();
        assert_eq!(
            queries,
            [
                "rate(a{job=~\".+\"}[5m])",
                "b",
                "c",
                "group by (job) (d{x=\"y\"})"
            ]
        );
        assert!(
            dashboard
                .as_rules()
                .contains("record: dashboard:query:0\n    expr: \"rate(a{job=~\\\".+\\\"}[5m])\"\n")
        );
    }

    #[test]
    fn what_cannot_be_asked_is_an_error() {
        let panel = |target: Value| json!({ "panels": [{ "title": "A", "targets": [target] }] });
        for (json, says) in [
            (json!({}), "asks for nothing"),
            (panel(json!({})), "A: no query"),
            (
                panel(json!({ "expr": "a[$range]" })),
                "A: an unknown variable in a[$range]",
            ),
            (
                json!({ "templating": { "list": [{ "name": "x", "type": "query", "query": { "query": "metrics(.*)" } }] } }),
                "x is no `label_values",
            ),
        ] {
            let error = Dashboard::of(&json).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn our_panels_have_rows_places_and_sources() {
        let json = ours();
        let variables: BTreeSet<_> = items(&json["templating"]["list"])
            .map(|variable| variable["name"].as_str().unwrap())
            .collect();
        assert_eq!(variables, BTreeSet::from(["datasource", "instance", "job"]));
        let (mut ids, mut taken, mut rows) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for panel in items(&json["panels"]) {
            let title = panel["title"].as_str().unwrap();
            assert!(
                ids.insert(panel["id"].as_u64().unwrap()),
                "{title}: its id is another's"
            );
            let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(place("x") + place("w") <= 24, "{title} is too wide");
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(taken.insert((x, y)), "{title} lies over another panel");
                }
            }
            if panel["type"] == "row" {
                rows.push((title, 0));
                continue;
            }
            rows.last_mut().unwrap().1 += 1;
            assert!(
                !panel["description"].as_str().unwrap().is_empty(),
                "{title}: what does it say?"
            );
            let sources = items(&panel["targets"]).map(|target| &target["datasource"]);
            for source in sources.chain([&panel["datasource"]]) {
                assert_eq!(source["uid"], "${datasource}", "{title}");
            }
        }
        let names: Vec<_> = rows.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [
                "Traffic",
                "Errors",
                "Duration",
                "Saturation",
                "Health",
                "Observability itself",
                "Traces",
                "Calls to others",
                "Compression",
                "Pools of threads"
            ]
        );
        assert!(rows.iter().all(|(_, panels)| *panels > 0), "{rows:?}");
    }
}
