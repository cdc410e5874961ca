//! Logs for the whole process, which needs one of its own.
#![cfg(feature = "logs")]

use std::fmt;

use cortex_testkit::Recorder;
use cortex_trace::{InstallError, JsonLogs};
use serde_json::Value;
use tracing::{debug, info, info_span};

/// A value that logs while it is formatted.
struct Chatty;

impl fmt::Debug for Chatty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        info!(target: "shop", "inside");
        f.write_str("outside")
    }
}

#[test]
fn the_filter_changes_while_it_runs() {
    let output = Recorder::new();
    let writer = {
        let output = output.clone();
        move || output.clone()
    };
    let wrong = JsonLogs::stdout().install("off,shop=loud").unwrap_err();
    assert!(matches!(&wrong, InstallError::Filter(error) if error.directive() == "shop=loud"));

    let filter = JsonLogs::new(writer).install("off,shop=info").unwrap();
    let lines = || -> Vec<Value> {
        let text = String::from_utf8(output.take()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let messages = || {
        info!(target: "shop", "info");
        debug!(target: "shop", "debug");
        info!(target: "hyper", "other");
        lines()
            .iter()
            .map(|line| line["message"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(messages(), ["info"]);
    filter.set("off,shop=debug").unwrap();
    assert_eq!(messages(), ["info", "debug"]);
    let error = filter.set("info,shop=loud").unwrap_err();
    assert_eq!(error.to_string(), "read the log filter directive \"shop=loud\"");
    assert_eq!(messages(), ["info", "debug"]);
    filter.clone().set("off").unwrap();
    assert!(messages().is_empty());
    assert_eq!(
        (filter.to_string(), format!("{filter:?}")),
        ("off".to_owned(), "Filter(off)".to_owned())
    );

    let twice = JsonLogs::stdout().install("info").unwrap_err();
    assert!(matches!(twice, InstallError::AlreadyInstalled));
    assert!(twice.to_string().contains("already"));

    filter.set("info").unwrap();
    let span = info_span!(target: "shop", "span", chatty = ?Chatty, later = tracing::field::Empty);
    span.record("later", tracing::field::debug(Chatty));
    span.in_scope(|| info!(target: "shop", chatty = ?Chatty, "outer"));
    let lines = lines();
    let messages: Vec<_> = lines
        .iter()
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    assert_eq!(messages, ["inside", "inside", "inside", "outer"]);
    for found in [
        &lines[3]["chatty"],
        &lines[3]["span"]["chatty"],
        &lines[3]["span"]["later"],
    ] {
        assert_eq!(found, "outside");
    }
}
