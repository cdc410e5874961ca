//! JSON log lines.

use std::fmt;
use std::io::{self, Write};

use cortex_core::FutureExt;
use cortex_testkit::Recorder;
use cortex_trace::{JsonLogs, Tracer};
use expect_test::expect;
use proptest::prelude::*;
use serde_json::Value;
use tracing::field::Empty;
use tracing::{debug, error, info, info_span, trace, warn};
use tracing_subscriber::layer::SubscriberExt;

use crate::log_support::{context, logged, one, read};
use crate::support::block_on;

#[test]
fn a_line_says_when_where_and_what() {
    let text = logged(|| {
        let _guard = context().attach();
        info!(target: "shop", items = 3, "restocked {}", "apples");
        warn!(target: "shop::cart", ratio = 0.5, big = u64::MAX, small = -1, yes = true, "odd");
        error!(target: "shop", error = %io::Error::other("disk full"), path = ?"a\"b");
        debug!(target: "shop", "d");
        trace!(target: "shop", "t");
    });
    expect![[r#"
        {"timestamp":"2026-01-01T00:00:00.000000Z","level":"INFO","target":"shop","message":"restocked apples","items":3,"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","trace_flags":"01"}
        {"timestamp":"2026-01-01T00:00:00.000000Z","level":"WARN","target":"shop::cart","message":"odd","ratio":0.5,"big":18446744073709551615,"small":-1,"yes":true,"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","trace_flags":"01"}
        {"timestamp":"2026-01-01T00:00:00.000000Z","level":"ERROR","target":"shop","error":"disk full","path":"\"a\\\"b\"","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","trace_flags":"01"}
        {"timestamp":"2026-01-01T00:00:00.000000Z","level":"DEBUG","target":"shop","message":"d","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","trace_flags":"01"}
        {"timestamp":"2026-01-01T00:00:00.000000Z","level":"TRACE","target":"shop","message":"t","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","span_id":"00f067aa0ba902b7","trace_flags":"01"}
    "#]].assert_eq(&text);
}

#[test]
fn without_a_trace_there_are_no_ids() {
    expect![[r#"
        {"timestamp":"2026-01-01T00:00:00.000000Z","level":"INFO","target":"shop","message":"started"}
    "#]]
    .assert_eq(&logged(|| info!(target: "shop", "started")));
}

#[test]
fn ids_follow_the_context_and_not_the_sampling() {
    let tracer = Tracer::propagate_only();
    let span = tracer.span("job").start();
    let line = one(|| span.in_scope(|| info!("in scope")));
    assert_eq!(line["trace_id"], span.context().trace_id().unwrap().to_string());
    assert_eq!(line["span_id"], span.context().span_id().unwrap().to_string());
    assert_eq!(line["trace_flags"], "02");
    let line = one(|| block_on(async { info!("in a future") }.with_context(context())));
    assert_eq!(
        (&line["span_id"], &line["trace_flags"]),
        (&"00f067aa0ba902b7".into(), &"01".into())
    );
}

#[test]
fn the_span_around_it_is_named_with_its_fields() {
    let text = logged(|| {
        let outer = info_span!("outer", a = 1).entered();
        let span = info_span!("load \"cart\"", user = "ä", rows = Empty, name = "n", fields = 2);
        span.record("rows", 1);
        span.in_scope(|| info!(target: "shop", "one"));
        span.record("rows", 2);
        span.record("user", "x");
        span.in_scope(|| info!(target: "shop", "two"));
        info!(target: "shop", parent: &span, "three");
        info!(target: "shop", "four");
        drop(outer);
        info!(target: "shop", "five");
    });
    text.lines().for_each(|line| drop(read(line)));
    expect![[r#"
        {"timestamp":"2026-01-01T00:00:00.000000Z","level":"INFO","target":"shop","message":"one","span":{"name":"load \"cart\"","user":"ä","rows":1,"fields":{"name":"n","fields":2}}}
        {"timestamp":"2026-01-01T00:00:00.000000Z","level":"INFO","target":"shop","message":"two","span":{"name":"load \"cart\"","rows":2,"user":"x","fields":{"name":"n","fields":2}}}
        {"timestamp":"2026-01-01T00:00:00.000000Z","level":"INFO","target":"shop","message":"three","span":{"name":"load \"cart\"","rows":2,"user":"x","fields":{"name":"n","fields":2}}}
        {"timestamp":"2026-01-01T00:00:00.000000Z","level":"INFO","target":"shop","message":"four","span":{"name":"outer","a":1}}
        {"timestamp":"2026-01-01T00:00:00.000000Z","level":"INFO","target":"shop","message":"five"}
    "#]].assert_eq(&text);
}

#[test]
fn a_key_that_is_taken_moves() {
    let line = one(|| {
        let _guard = context().attach();
        info!(target: "shop", timestamp = 1, level = 2, trace_id = "x", span = 3, fields = 4, other = 5, "m");
    });
    assert_eq!(line["level"], "INFO");
    assert_eq!(line["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(line["other"], 5);
    let moved = serde_json::json!({ "timestamp": 1, "level": 2, "trace_id": "x", "span": 3, "fields": 4 });
    assert_eq!(line["fields"], moved);
}

#[test]
fn a_key_that_is_given_twice_stands_there_once() {
    let line = one(|| info!(a = 1, b = 2, a = 3, a = 4, "m"));
    assert_eq!(
        (&line["a"], &line["b"], &line["fields"]["a"]),
        (&1.into(), &2.into(), &4.into())
    );
    let line = one(|| info_span!("s", a = 1, a = 2).in_scope(|| info!("m")));
    assert_eq!(line["span"]["a"], 2);
}

#[test]
fn numbers_that_json_does_not_know() {
    let line = one(|| {
        info!(
            nan = f64::NAN,
            up = f64::INFINITY,
            down = f64::NEG_INFINITY,
            large = 1e300,
            whole = 2.0,
            i = i128::MIN,
            u = u128::MAX,
            fits = 7_i128,
            fits_too = 8_u128,
        );
    });
    assert!(["nan", "up", "down"].iter().all(|key| line[key].is_null()));
    assert_eq!((&line["large"], &line["whole"]), (&1e300.into(), &2.0.into()));
    assert_eq!(line["i"], i128::MIN.to_string());
    assert_eq!(line["u"], u128::MAX.to_string());
    assert_eq!((&line["fits"], &line["fits_too"]), (&7.into(), &8.into()));
}

#[test]
fn values_that_misbehave_do_not_break_other_lines() {
    struct Panics;
    impl fmt::Debug for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            std::panic::resume_unwind(Box::new("seeded"))
        }
    }
    struct Fails;
    impl fmt::Debug for Fails {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("half")?;
            Err(fmt::Error)
        }
    }
    let text = logged(|| {
        let span = info_span!("s", fails = ?Fails);
        span.in_scope(|| info!("one"));
        let panicked = std::panic::catch_unwind(|| info!(panics = ?Panics, "two"));
        assert!(panicked.is_err());
        info!(fails = ?Fails, "three");
    });
    let lines: Vec<_> = text.lines().map(read).collect();
    let messages: Vec<_> = lines
        .iter()
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    assert_eq!(messages, ["one", "three"]);
    assert_eq!(
        (&lines[0]["span"]["fails"], &lines[1]["fails"]),
        (&"half".into(), &"half".into())
    );
}

#[test]
fn a_message_of_several_lines_is_one_line() {
    let text = logged(|| info!(target: "shop", "first\nsecond\r\n\u{1b}[2J\u{9b}2J"));
    assert_eq!(text.matches('\n').count(), 1);
    assert!(!text.trim_end().contains(char::is_control), "{text}");
    assert_eq!(read(&text)["message"], "first\nsecond\r\n\u{1b}[2J\u{9b}2J");
}

#[test]
fn a_name_that_is_a_keyword_is_written_as_the_user_wrote_it() {
    let line = one(|| info_span!("s", r#type = 1).in_scope(|| info!(r#type = 2, "m")));
    assert_eq!((&line["type"], &line["span"]["type"]), (&2.into(), &1.into()));
}

#[test]
fn two_layers_keep_what_they_redact_apart() {
    let (open, closed) = (Recorder::new(), Recorder::new());
    let writer = |output: &Recorder| {
        let output = output.clone();
        move || output.clone()
    };
    let subscriber = tracing_subscriber::registry()
        .with(JsonLogs::new(writer(&open)).redact_only([""; 0]))
        .with(JsonLogs::new(writer(&closed)));
    tracing::subscriber::with_default(subscriber, || {
        let span = info_span!("s", token = "t1", secret = Empty);
        span.record("secret", "t2");
        span.in_scope(|| info!(password = "t3", "m"));
    });
    let seen = |text: &str| ["t1", "t2", "t3"].map(|secret| text.contains(secret));
    assert_eq!(seen(&open.text()), [true; 3]);
    assert_eq!(seen(&closed.text()), [false; 3], "{}", closed.text());
    assert_eq!(read(&closed.text())["span"]["secret"], "[redacted]");
}

#[test]
fn records_of_the_log_crate_have_their_own_target() {
    let text = logged(|| {
        let record = |level, message: &str| {
            tracing_log::format_trace(
                &tracing_log::log::Record::builder()
                    .level(level)
                    .target("hyper::client")
                    .module_path(Some("hyper"))
                    .file(Some("client.rs"))
                    .line(Some(7))
                    .args(format_args!("{message}"))
                    .build(),
            )
        };
        record(tracing_log::log::Level::Warn, "slow \"host\"").unwrap();
        record(tracing_log::log::Level::Info, "connected").unwrap();
    });
    expect![[r#"
        {"timestamp":"2026-01-01T00:00:00.000000Z","level":"WARN","target":"hyper::client","message":"slow \"host\""}
        {"timestamp":"2026-01-01T00:00:00.000000Z","level":"INFO","target":"hyper::client","message":"connected"}
    "#]]
    .assert_eq(&text);
}

#[test]
fn an_error_is_written_as_it_displays() {
    let error = io::Error::other("disk \"full\"");
    let line = one(|| error!(error = &error as &dyn std::error::Error));
    assert_eq!(line["error"], "disk \"full\"");
}

#[test]
fn a_line_is_one_write() {
    #[derive(Clone)]
    struct Writes(Recorder<Vec<u8>>);
    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.record(bytes.to_vec());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let output = Writes(Recorder::new());
    let logs = JsonLogs::new({
        let output = output.clone();
        move || output.clone()
    });
    tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), || {
        info!(text = "x".repeat(100_000), "long");
        info!("short");
    });
    let lines = output.0.take();
    assert_eq!(lines.len(), 2);
    assert!(
        lines
            .iter()
            .all(|line| line.iter().position(|byte| *byte == b'\n') == Some(line.len() - 1))
    );
}

#[test]
fn a_writer_that_fails_does_not_stop_the_work() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let logs = JsonLogs::new(|| Closed);
    assert!(format!("{:?}", JsonLogs::stdout()).starts_with("JsonLogs"));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(logs), || info!("lost"));
}

proptest! {
    #[test]
    fn every_line_parses_whatever_is_logged(
        message in "\\PC{0,20}|[\\x00-\\x7f]{0,20}",
        text in ".{0,20}|[\\x00-\\x7f]{0,40}",
        number: f64,
        integer: i128,
    ) {
        let lines = logged(|| {
            let span = info_span!("span", text, number, rows = Empty, name = text.as_str());
            let _guard = context().attach();
            span.record("rows", text.as_str());
            span.in_scope(|| info!(text, number, integer, level = text.as_str(), debug = ?text, "{message}"));
        });
        prop_assert_eq!(lines.matches('\n').count(), 1);
        let line: Value = serde_json::from_str(&lines).unwrap();
        prop_assert_eq!(&line["message"], &Value::from(message));
        prop_assert_eq!(&line["debug"], &Value::from(format!("{text:?}")));
        for found in [
            &line["text"], &line["fields"]["level"],
            &line["span"]["text"], &line["span"]["rows"], &line["span"]["fields"]["name"],
        ] {
            prop_assert_eq!(found, &Value::from(text.as_str()));
        }
        prop_assert!(!lines.trim_end_matches('\n').contains(char::is_control));
    }
}

#[test]
fn a_value_is_cut_and_says_so() {
    const MOST: usize = 64 << 10;
    let (long, fits) = ("é\n".repeat(1 << 20), "x".repeat(MOST));
    let line = one(|| {
        let span = info_span!("s", kept = long, later = Empty, span = long);
        span.record("later", tracing::field::display(&long));
        let error = io::Error::other(long.clone());
        let error: &(dyn std::error::Error + 'static) = &error;
        span.in_scope(
            || info!(text = long, shown = %long, debug = ?long, error, level = long, fits, "{long}"),
        );
    });
    assert_eq!(line["fits"], fits);
    let (span, fields) = (&line["span"], &line["fields"]);
    for value in [
        &line["message"],
        &line["text"],
        &line["shown"],
        &line["error"],
        &fields["level"],
        &span["kept"],
        &span["later"],
        &span["span"],
    ] {
        let start = value.as_str().unwrap().strip_suffix('…').unwrap();
        assert!(long.starts_with(start));
        assert!((MOST - 2..=MOST).contains(&start.len()), "{}", start.len());
    }
    let debug = line["debug"].as_str().unwrap().strip_suffix('…').unwrap();
    assert!(debug.starts_with("\"é\\né") && debug.len() == MOST);
}
