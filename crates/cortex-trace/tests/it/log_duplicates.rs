//! Lines that repeat.

use std::time::Duration;

use cortex_testkit::{ManualClock, Recorder};
use cortex_trace::{DuplicateLimit, JsonLogs, LogHandle, TextLogs};
use proptest::prelude::*;
use serde_json::Value;
use tracing::{Dispatch, error, info, warn};
use tracing_subscriber::layer::SubscriberExt;

use crate::log_support::{Writer, read, writer};
use crate::support::AGES;

const SECOND: Duration = Duration::from_secs(1);

/// A layer that limits, its clock, and what it writes.
struct Limited {
    clock: ManualClock,
    output: Recorder,
    handle: LogHandle,
}

impl Limited {
    fn run(limit: DuplicateLimit, work: impl FnOnce(&Self)) {
        let (clock, output) = (ManualClock::new(), Recorder::new());
        let logs: JsonLogs<Writer> = JsonLogs::new(writer(&output))
            .clock(clock.clone())
            .limit_duplicates(limit);
        let limited = Self {
            clock,
            output,
            handle: logs.handle(),
        };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), || work(&limited));
    }

    /// Returns the lines since the last call: messages, and of a summary how many it tells.
    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.output.take()).unwrap();
        text.lines().map(|line| short(&read(line))).collect()
    }
}

fn short(line: &Value) -> String {
    let message = line["message"].as_str().unwrap();
    match line["suppressed"].as_u64() {
        Some(count) => {
            assert_eq!(message, "repeated lines suppressed");
            format!("{count} {}", line["level"].as_str().unwrap())
        }
        None => message.to_owned(),
    }
}

fn repeat(times: usize) {
    for _ in 0..times {
        warn!(target: "shop", "again");
    }
}

#[test]
fn what_is_beyond_the_limit_is_told_with_the_next_line() {
    Limited::run(DuplicateLimit::per_second(2), |limited| {
        repeat(5);
        info!("other");
        assert_eq!(limited.lines(), ["again", "again", "other"]);
        assert_eq!(limited.handle.stats().suppressed, 3);
        limited.clock.advance(SECOND);
        info!("later");
        assert_eq!(limited.lines(), ["3 WARN", "later"]);
        repeat(3);
        assert_eq!(limited.lines(), ["again", "again"]);
        limited.clock.advance(SECOND);
        repeat(1);
        assert_eq!(limited.lines(), ["1 WARN", "again"]);
        limited.clock.advance(SECOND);
        repeat(1);
        assert_eq!(limited.lines(), ["again"]);
        assert_eq!(limited.handle.stats().suppressed, 4);
    });
}

#[test]
fn the_summary_names_the_place() {
    Limited::run(DuplicateLimit::new(1, SECOND), |limited| {
        repeat(2);
        limited.output.take();
        limited.handle.flush_blocking(AGES).unwrap();
        let line = read(&limited.output.text());
        assert_eq!(
            (&line["level"], &line["target"]),
            (&"WARN".into(), &"shop".into())
        );
        assert!(line["file"].as_str().unwrap().ends_with("log_duplicates.rs"));
        assert!(line["line"].as_u64().unwrap() > 0);
        assert!(line.get("repeated").is_none());
    });
}

#[test]
fn a_flush_tells_what_was_suppressed_so_far_and_the_window_goes_on() {
    Limited::run(DuplicateLimit::new(1, SECOND), |limited| {
        repeat(4);
        limited.handle.flush_blocking(AGES).unwrap();
        assert_eq!(limited.lines(), ["again", "3 WARN"]);
        repeat(2);
        limited.handle.shutdown_blocking(AGES).unwrap();
        assert_eq!(limited.lines(), ["2 WARN"]);
        limited.handle.flush_blocking(AGES).unwrap();
        limited.clock.advance(SECOND);
        info!("later");
        assert_eq!(limited.lines(), ["later"]);
    });
}

#[test]
fn equal_messages_can_be_what_counts() {
    Limited::run(DuplicateLimit::per_second(1).by_message(), |limited| {
        for user in ["ann", "bob", "ann", "ann"] {
            error!(target: "shop", n = 1, "no \"{user}\"");
        }
        assert_eq!(limited.lines(), ["no \"ann\"", "no \"bob\""]);
        limited.clock.advance(SECOND);
        info!("later");
        let text = String::from_utf8(limited.output.take()).unwrap();
        let summary = read(text.lines().next().unwrap());
        assert_eq!(
            (&summary["suppressed"], &summary["repeated"]),
            (&2.into(), &"no \"ann\"".into())
        );
    });
}

#[test]
fn records_of_the_log_crate_are_told_apart_by_their_place() {
    Limited::run(DuplicateLimit::per_second(1), |limited| {
        let record = |target: &str, line| {
            let level = tracing_log::log::Level::Warn;
            let mut record = tracing_log::log::Record::builder();
            let record = record
                .level(level)
                .target(target)
                .file(Some("client.rs"))
                .line(Some(line));
            tracing_log::format_trace(&record.args(format_args!("{target}:{line}")).build()).unwrap();
        };
        for (target, line) in [("hyper", 1), ("hyper", 2), ("h2", 1), ("hyper", 1)] {
            record(target, line);
        }
        assert_eq!(limited.lines(), ["hyper:1", "hyper:2", "h2:1"]);
        limited.handle.flush_blocking(AGES).unwrap();
        let summary = read(&limited.output.text());
        assert_eq!(
            (&summary["target"], &summary["file"]),
            (&"hyper".into(), &"client.rs".into())
        );
        assert_eq!(summary["line"], 1);
    });
}

#[test]
fn the_memory_is_bounded_and_whoever_is_over_the_limit_is_remembered() {
    Limited::run(DuplicateLimit::per_second(1).by_message(), |limited| {
        repeat(3);
        for n in 0..20_000 {
            info!("message {n}");
        }
        repeat(1);
        let lines = limited.lines();
        assert_eq!(lines.len(), 20_001); // all that were different
        limited.clock.advance(SECOND);
        info!("later");
        assert_eq!(limited.lines(), ["3 WARN", "later"]);
    });
}

#[test]
fn the_text_format_tells_it_too() {
    let (clock, output) = (ManualClock::new(), Recorder::new());
    let logs = TextLogs::new(writer(&output))
        .clock(clock.clone())
        .limit_duplicates(DuplicateLimit::per_second(1).by_message());
    let handle = logs.handle();
    tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), || repeat(2));
    handle.flush_blocking(AGES).unwrap();
    let text = output.text();
    let summary = text.lines().last().unwrap();
    assert!(
        summary.contains(" WARN shop: repeated lines suppressed suppressed=1 line="),
        "{summary}"
    );
    assert!(summary.ends_with(" repeated=again"), "{summary}");
}

#[test]
fn threads_that_repeat_at_once_lose_no_count() {
    const TIMES: u64 = 2000;
    let (clock, output) = (ManualClock::new(), Recorder::new());
    let logs = JsonLogs::new(writer(&output))
        .clock(clock.clone())
        .limit_duplicates(DuplicateLimit::new(3, Duration::from_millis(10)));
    let handle = logs.handle();
    let dispatch = Dispatch::new(tracing_subscriber::registry().with(logs));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                tracing::dispatcher::with_default(&dispatch, || {
                    for n in 0..TIMES {
                        clock.advance(Duration::from_micros(50)); // a window is over now and then
                        if n % 2 == 0 { info!("a") } else { info!("b") }
                    }
                });
            });
        }
    });
    handle.flush_blocking(AGES).unwrap();
    let (mut written, mut told) = (0, 0);
    for line in output.text().lines() {
        match read(line)["suppressed"].as_u64() {
            Some(count) => told += count,
            None => written += 1,
        }
    }
    assert!(told > 0 && written > 6, "{told} {written}");
    assert_eq!((written + told, handle.stats().suppressed), (4 * TIMES, told));
}

proptest! {
    #[test]
    fn every_line_is_written_or_counted(
        steps in proptest::collection::vec((0..4_u8, 0..700_u64), 1..80),
        burst in 0..4_u32,
        by_message: bool,
    ) {
        let limit = DuplicateLimit::per_second(burst);
        let limit = if by_message { limit.by_message() } else { limit };
        let (mut logged, mut written, mut told) = (0, 0, 0);
        Limited::run(limit, |limited| {
            for (what, millis) in steps {
                limited.clock.advance(Duration::from_millis(millis));
                logged += 1;
                match what {
                    0 => info!("a"),
                    1 => warn!("b"),
                    _ => error!("c {what}"),
                }
            }
            limited.handle.flush_blocking(AGES).unwrap();
            for line in String::from_utf8(limited.output.take()).unwrap().lines() {
                match read(line)["suppressed"].as_u64() {
                    Some(count) => told += count,
                    None => written += 1,
                }
            }
            assert_eq!(limited.handle.stats().suppressed, told);
        });
        prop_assert_eq!(logged, written + told);
    }
}
