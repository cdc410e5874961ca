//! Logs for the whole process, which needs one of its own.
#![cfg(feature = "logs")]

use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use cortex_core::Context;
use cortex_testkit::Recorder;
use cortex_trace::{ExportError, Exporter, Filter, InstallError, JsonLogs, SpanData, Tracer};
use serde_json::Value;
use tracing::{debug, info, info_span};
use tracing_subscriber::layer::SubscriberExt;

/// Longer than any machine needs.
const AGES: Duration = Duration::from_mins(2);

/// A value that logs while it is formatted.
struct Chatty;

impl fmt::Debug for Chatty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        info!(target: "shop", "inside");
        f.write_str("outside")
    }
}

#[test]
fn the_filter_changes_while_it_runs_and_losses_are_told() {
    a_value_may_change_the_filter_while_it_is_looked_at();

    let (output, (says, written)) = (Recorder::new(), channel());
    let writer = {
        let output = output.clone();
        move || Tells(output.clone(), says.clone())
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

    // What an exporter loses while it hangs is told all the same: once, and what is new at the end.
    written.try_iter().for_each(drop);
    let (release, held) = channel();
    let tracer = Tracer::builder("shop")
        .export(Hangs(held))
        .queue_capacity(1)
        .build()
        .unwrap();
    let drop_some = || {
        let before = tracer.stats().dropped_queue_full;
        while tracer.stats().dropped_queue_full < before + 3 {
            tracer.span("work").parent(Context::new()).start().end();
        }
    };
    let told = || {
        written.recv_timeout(AGES).unwrap();
        let text = String::from_utf8(output.take()).unwrap();
        serde_json::from_str::<Value>(&text).unwrap() // one line
    };
    drop_some();
    let line = told();
    assert_eq!(
        (&line["message"], &line["exporter"], &line["failed"]),
        (&"telemetry was lost".into(), &"hangs".into(), &0.into())
    );
    let first = line["dropped"].as_u64().unwrap();
    drop_some();
    assert!(written.try_recv().is_err());
    assert!(tracer.shutdown_blocking(Duration::ZERO).unwrap_err().is_timeout());
    let line = told();
    let all = tracer.stats().dropped_queue_full;
    assert_eq!(
        (line["lost"].as_u64(), line["dropped"].as_u64()),
        (Some(all - first), Some(all))
    );
    drop(release);
    tracer.shutdown_blocking(AGES).unwrap();
    assert!(written.try_recv().is_err());
}

/// Beside no other thread: one that makes a subscriber meanwhile waits for the filter of `tracing-subscriber`, which waits
/// for the value, and the value for that thread.
fn a_value_may_change_the_filter_while_it_is_looked_at() {
    struct Changes<'a>(&'a Filter);
    impl fmt::Debug for Changes<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.0.set("info,[s{v=x}]=debug").map_err(|_| fmt::Error)?;
            f.write_str("x")
        }
    }
    let (output, filter) = (
        Recorder::new(),
        Filter::new("off,[s{v=x}]=trace").expect("valid directives"),
    );
    let logs = JsonLogs::new({
        let output = output.clone();
        move || output.clone()
    });
    let subscriber = tracing_subscriber::registry().with(filter.clone()).with(logs);
    tracing::subscriber::with_default(subscriber, || {
        info_span!("s", v = ?Changes(&filter)).in_scope(|| info!("one"));
        info_span!("s", v = "x").in_scope(|| debug!("two"));
    });
    assert_eq!(filter.to_string(), "info,[s{v=x}]=debug");
    let text = output.text();
    let messages = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    let messages: Vec<_> = messages.map(|mut line| line["message"].take()).collect();
    assert_eq!(messages, ["one", "two"]);
}

/// Says that something is written when it is.
struct Tells(Recorder, Sender<()>);

impl Write for Tells {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.0.write(bytes)?;
        let _ = self.1.send(());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits in its export until it is let go.
struct Hangs(Receiver<()>);

impl Exporter for Hangs {
    fn name(&self) -> &'static str {
        "hangs"
    }

    fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
        let _ = self.0.recv();
        Ok(())
    }
}
