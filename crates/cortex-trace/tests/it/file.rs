//! OTLP/JSON lines on a disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cortex_core::{Flags, SpanId, TraceId};
use cortex_testkit::ManualClock;
use cortex_trace::propagation::Remote;
use cortex_trace::{AlwaysOn, Attribute, OtlpJsonFile, SpanKind, Tracer};
use expect_test::expect;
use proptest::prelude::*;
use serde_json::Value;

use crate::support::AGES;

/// A folder of its own for each test, gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("cortex-trace-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("traces.jsonl")
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn tracer(file: OtlpJsonFile) -> Tracer {
    let builder = Tracer::builder("shop")
        .resource("service.version", "1.0")
        .sampler(AlwaysOn);
    let builder = builder
        .clock(ManualClock::new())
        .batch_delay(Duration::from_hours(1));
    builder.export(file).build().unwrap()
}

/// Returns the spans of a file, whose every line must be a whole request.
fn spans(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    let mut spans = Vec::new();
    for line in text.lines() {
        let request: Value = serde_json::from_str(line).unwrap();
        spans.extend(
            request["resourceSpans"][0]["scopeSpans"][0]["spans"]
                .as_array()
                .unwrap()
                .iter()
                .cloned(),
        );
    }
    spans
}

fn names_in(path: &Path) -> Vec<String> {
    spans(path)
        .iter()
        .map(|span| span["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_line_is_an_otlp_request() {
    let folder = Folder::new();
    let tracer = tracer(OtlpJsonFile::rotating(folder.file(), 1 << 20, 3).unwrap());
    let ids = TraceId::new(0x4bf9).zip(SpanId::new(0x00f0)).unwrap();
    let caller = Remote::new(
        ids.0,
        ids.1,
        Flags::SAMPLED | Flags::RANDOM,
        "congo=1".parse().unwrap(),
    );
    let mut span = tracer
        .span("take \"order\"")
        .kind(SpanKind::Consumer)
        .remote(caller)
        .start();
    span.set_attribute("text", "ä\n\u{0}");
    span.set_attribute("int", i64::MIN);
    span.set_attribute("bool", true);
    for (key, value) in [
        ("half", 0.5),
        ("nan", f64::NAN),
        ("up", f64::INFINITY),
        ("down", f64::NEG_INFINITY),
    ] {
        span.set_attribute(key, value);
    }
    span.add_event_with("retry", [Attribute::new("attempt", 2)]);
    span.set_error("declined");
    let id = span.context().span_id().unwrap().to_string();
    span.end();
    tracer.shutdown_blocking(AGES).unwrap();

    let text = fs::read_to_string(folder.file()).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert!(serde_json::from_str::<Value>(&text).is_ok());
    let shown = text
        .replace(&id, "<id>")
        .replace(env!("CARGO_PKG_VERSION"), "<version>");
    expect![[r#"
        {"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}},{"key":"service.version","value":{"stringValue":"1.0"}}]},"scopeSpans":[{"scope":{"name":"cortex-trace","version":"<version>"},"spans":[{"traceId":"00000000000000000000000000004bf9","spanId":"<id>","parentSpanId":"00000000000000f0","traceState":"ot=th:0,congo=1","flags":771,"name":"take \"order\"","kind":5,"startTimeUnixNano":"1767225600000000000","endTimeUnixNano":"1767225600000000000","attributes":[{"key":"text","value":{"stringValue":"ä\n\u0000"}},{"key":"int","value":{"intValue":"-9223372036854775808"}},{"key":"bool","value":{"boolValue":true}},{"key":"half","value":{"doubleValue":0.5}},{"key":"nan","value":{"doubleValue":"NaN"}},{"key":"up","value":{"doubleValue":"Infinity"}},{"key":"down","value":{"doubleValue":"-Infinity"}},{"key":"error.type","value":{"stringValue":"declined"}}],"events":[{"name":"retry","timeUnixNano":"1767225600000000000","attributes":[{"key":"attempt","value":{"intValue":"2"}}]}],"status":{"code":2}}]}]}]}
    "#]].assert_eq(&shown);
}

#[test]
fn what_is_empty_is_left_out() {
    let folder = Folder::new();
    let tracer = Tracer::builder("shop")
        .sampler(AlwaysOn)
        .restart_traces()
        .export(OtlpJsonFile::rotating(folder.file(), 1 << 20, 3).unwrap())
        .build()
        .unwrap();
    let mut many = tracer.span("many").start();
    for n in 0..130 {
        many.set_attribute(format!("{n}"), n);
        many.add_event_with("e", (0..129).map(|n| Attribute::new(format!("{n}"), n)));
    }
    many.end();
    tracer.span("plain").start().end();
    let ids = TraceId::new(7).zip(SpanId::new(8)).unwrap();
    let caller = Remote::new(ids.0, ids.1, Flags::SAMPLED, "a=1".parse().unwrap());
    tracer.span("linked").remote(caller).start().end();
    tracer.shutdown_blocking(AGES).unwrap();

    let [many, plain, linked] = &spans(&folder.file())[..] else {
        panic!()
    };
    assert_eq!(
        (&many["droppedAttributesCount"], &many["droppedEventsCount"]),
        (&Value::from(2), &Value::from(2))
    );
    assert_eq!(many["events"][0]["droppedAttributesCount"], 1);
    let keys: Vec<_> = plain.as_object().unwrap().keys().cloned().collect();
    let expected = [
        "endTimeUnixNano",
        "flags",
        "kind",
        "name",
        "spanId",
        "startTimeUnixNano",
        "traceId",
        "traceState",
    ];
    assert_eq!(keys, expected);
    let link = &linked["links"][0];
    assert_eq!(link["traceId"], "00000000000000000000000000000007");
    assert_eq!(
        (&link["spanId"], &link["traceState"]),
        (&"0000000000000008".into(), &"a=1".into())
    );
    assert_eq!(link["flags"], 0x301);
    assert_eq!((&linked["flags"], &linked["kind"]), (&0x103.into(), &1.into()));
}

#[test]
fn files_rotate_by_size_and_the_oldest_go() {
    let folder = Folder::new();
    let limit = 2000;
    let tracer = tracer(OtlpJsonFile::rotating(folder.file(), limit, 2).unwrap());
    for n in 0..40 {
        tracer.span(format!("span {n}")).start().end();
        tracer.flush_blocking(AGES).unwrap(); // a line each
    }
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(tracer.stats().exported, 40);
    assert_eq!(
        folder.names(),
        ["traces.jsonl", "traces.jsonl.1", "traces.jsonl.2"]
    );
    let mut names = Vec::new();
    for name in ["traces.jsonl.2", "traces.jsonl.1", "traces.jsonl"] {
        let path = folder.0.join(name);
        assert!(fs::metadata(&path).unwrap().len() <= limit);
        names.extend(names_in(&path));
    }
    let newest: Vec<_> = (40 - names.len()..40).map(|n| format!("span {n}")).collect();
    assert_eq!(names, newest);
    assert!(names.len() >= 6, "{names:?}");
}

#[test]
fn a_batch_larger_than_a_file_is_several_lines() {
    let folder = Folder::new();
    let tracer = tracer(OtlpJsonFile::rotating(folder.file(), 1500, 100).unwrap());
    for n in 0..50 {
        tracer.span(format!("span {n}")).start().end();
    }
    let mut huge = tracer.span("huge").start();
    huge.set_attribute("text", "x".repeat(3000));
    huge.end();
    tracer.shutdown_blocking(AGES).unwrap();
    let mut names: Vec<_> = folder.names();
    names.sort_by_key(|name| std::cmp::Reverse(name.rsplit('.').next().unwrap().parse().unwrap_or(0)));
    let mut all = Vec::new();
    for name in names {
        let path = folder.0.join(name);
        let inside = names_in(&path);
        assert!(fs::metadata(&path).unwrap().len() <= 1500 || inside == ["huge"]);
        all.extend(inside);
    }
    let mut expected: Vec<_> = (0..50).map(|n| format!("span {n}")).collect();
    expected.push("huge".to_owned());
    assert_eq!(all, expected);
}

#[test]
fn without_room_for_old_files_there_is_one() {
    let folder = Folder::new();
    let tracer = tracer(OtlpJsonFile::rotating(folder.file(), 700, 0).unwrap());
    for n in 0..10 {
        tracer.span(format!("span {n}")).start().end();
        tracer.flush_blocking(AGES).unwrap();
    }
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(folder.names(), ["traces.jsonl"]);
    assert_eq!(names_in(&folder.file()).last().unwrap(), "span 9");
}

#[test]
fn it_appends_to_what_is_there_and_takes_back_a_torn_line() {
    let line = |length| format!("{{\"resourceSpans\":\"{}\"}}\n", "x".repeat(length));
    for (before, kept) in [
        (String::new(), 0),
        (line(0), line(0).len()),
        (line(0) + "{\"resourceSp", line(0).len()),
        ("{\"resourceSp".to_owned(), 0),
        (line(0) + &"x".repeat(10_000), line(0).len()),
        (line(10_000) + &"y".repeat(4096), line(10_000).len()),
    ] {
        let folder = Folder::new();
        fs::write(folder.file(), &before).unwrap();
        let tracer = tracer(OtlpJsonFile::rotating(folder.file(), 1 << 20, 1).unwrap());
        tracer.span("job").start().end();
        tracer.shutdown_blocking(AGES).unwrap();
        let text = fs::read_to_string(folder.file()).unwrap();
        assert!(text.starts_with(&before[..kept]));
        assert!(text[kept..].starts_with("{\"resourceSpans\":") && text.ends_with('\n'));
    }
}

#[test]
fn a_file_that_holds_something_else_is_left_alone() {
    for other in [
        "a token without a line end",
        "{}\n",
        "\n",
        "{\"resourceMetrics\":[]}\n",
    ] {
        let folder = Folder::new();
        fs::write(folder.file(), other).unwrap();
        let error = OtlpJsonFile::rotating(folder.file(), 1 << 20, 1).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        assert_eq!(fs::read_to_string(folder.file()).unwrap(), other);
    }
}

#[test]
fn errors_of_the_disk_are_counted_and_it_goes_on_afterwards() {
    let folder = Folder::new();
    let inner = folder.0.join("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("traces.jsonl");
    let tracer = tracer(OtlpJsonFile::rotating(&path, 1 << 20, 3).unwrap());
    let export = |name: &'static str| {
        tracer.span(name).start().end();
        tracer.flush_blocking(AGES).unwrap();
    };
    export("before");
    fs::remove_dir_all(&inner).unwrap();
    export("during");
    export("during");
    assert_eq!((tracer.stats().exported, tracer.stats().failed), (1, 2));
    fs::create_dir(&inner).unwrap();
    export("after");
    assert_eq!((tracer.stats().exported, tracer.stats().failed), (2, 2));
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(names_in(&path), ["after"]);
}

#[test]
fn a_file_that_was_moved_away_is_left_alone() {
    let folder = Folder::new();
    let tracer = tracer(OtlpJsonFile::rotating(folder.file(), 1 << 20, 3).unwrap());
    for name in ["first", "second"] {
        tracer.span(name).start().end();
        tracer.flush_blocking(AGES).unwrap();
        fs::rename(folder.file(), folder.0.join(name)).unwrap();
    }
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(names_in(&folder.0.join("first")), ["first"]);
    assert_eq!(names_in(&folder.0.join("second")), ["second"]);
}

/// Every span is a line of some 400 bytes, one is a file, and a folder stands where a full one has to pass.
fn stuck(folder: &Folder, keep: usize) -> Tracer {
    let tracer = tracer(OtlpJsonFile::rotating(folder.file(), 700, keep).unwrap());
    fs::create_dir(folder.0.join("traces.jsonl.rotating")).unwrap();
    tracer
}

fn export(tracer: &Tracer, name: &'static str) {
    tracer.span(name).start().end();
    tracer.flush_blocking(AGES).unwrap();
}

#[test]
fn a_file_that_cannot_be_moved_away_takes_more_and_costs_no_other_one() {
    let folder = Folder::new();
    let old = |number: usize| folder.0.join(format!("traces.jsonl.{number}"));
    for number in 1..=3 {
        fs::write(old(number), number.to_string()).unwrap();
    }
    let tracer = stuck(&folder, 3);
    let mut written = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        export(&tracer, name);
        let stats = tracer.stats();
        if stats.failed == 0 {
            written.push(name);
        }
        assert_eq!(names_in(&folder.file()), written, "{stats:?}");
        assert!(fs::metadata(folder.file()).unwrap().len() <= 1400);
        for number in 1..=3 {
            assert_eq!(fs::read_to_string(old(number)).unwrap(), number.to_string());
        }
    }
    assert!(written.len() > 2 && written.len() < 7, "{written:?}");
    let stats = tracer.stats();
    assert_eq!(
        (stats.exported, stats.failed),
        (written.len() as u64, 7 - written.len() as u64)
    );

    fs::remove_dir(folder.0.join("traces.jsonl.rotating")).unwrap();
    export(&tracer, "moved");
    assert_eq!(names_in(&folder.file()), ["moved"]);
    assert_eq!(names_in(&old(1)), written);
    assert_eq!(
        (
            fs::read_to_string(old(2)).unwrap(),
            fs::read_to_string(old(3)).unwrap()
        ),
        ("1".into(), "2".into())
    );
    assert!(!old(4).exists());
    assert_eq!(tracer.stats().failed, stats.failed);
    tracer.shutdown_blocking(AGES).unwrap();
}

#[test]
fn a_rotation_that_fails_is_told_though_nothing_is_lost() {
    let folder = Folder::new();
    let tracer = stuck(&folder, 2);
    export(&tracer, "a");
    assert_eq!(tracer.last_errors().count(), 0);
    for name in ["b", "c"] {
        export(&tracer, name);
    }
    assert_eq!((tracer.stats().exported, tracer.stats().failed), (3, 0));
    let (name, error) = tracer.last_errors().next().unwrap();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(name, "otlp json file");
    assert!(cause.starts_with("move the full file away: "), "{cause}");
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(names_in(&folder.file()), ["a", "b", "c"]);
}

#[test]
fn of_a_batch_that_is_several_lines_only_those_that_fail_are_lost() {
    let folder = Folder::new();
    let file = OtlpJsonFile::rotating(folder.file(), 1500, 2).unwrap();
    fs::create_dir(folder.0.join("traces.jsonl.rotating")).unwrap();
    let tracer = tracer(file);
    for n in 0..50 {
        tracer.span(format!("span {n}")).start().end();
    }
    tracer.flush_blocking(AGES).unwrap();
    let written = names_in(&folder.file());
    assert!((6..50).contains(&written.len()), "{written:?}");
    let stats = tracer.stats();
    assert_eq!((stats.exported + stats.failed, stats.in_flight), (50, 0));
    assert_eq!(stats.exported, written.len() as u64);
    assert!(tracer.last_errors().next().is_some());
    tracer.shutdown_blocking(AGES).unwrap();
}

#[test]
fn a_file_that_a_crash_left_aside_gets_its_number() {
    let folder = Folder::new();
    fs::write(folder.0.join("traces.jsonl.rotating"), "newer").unwrap();
    fs::write(folder.0.join("traces.jsonl.1"), "older").unwrap();
    let file = OtlpJsonFile::rotating(folder.file(), 700, 2).unwrap();
    assert_eq!(
        folder.names(),
        ["traces.jsonl", "traces.jsonl.1", "traces.jsonl.2"]
    );
    for (number, text) in [("1", "newer"), ("2", "older")] {
        let path = folder.0.join(format!("traces.jsonl.{number}"));
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }
    drop(file);
}

#[test]
fn it_opens_before_anything_is_written() {
    let folder = Folder::new();
    assert!(OtlpJsonFile::rotating(folder.file(), 0, 1).is_err());
    assert!(OtlpJsonFile::rotating(folder.0.join("missing").join("traces.jsonl"), 1, 1).is_err());
    assert!(OtlpJsonFile::rotating(&folder.0, 1, 1).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn hostile_strings_stay_inside_their_quotes(
        name in "\\PC{0,20}|[\\x00-\\x7f]{1,20}",
        attributes in proptest::collection::vec(("\\PC{0,10}|[\\x00-\\x7f]{1,10}", ".{0,20}|[\\x00-\\x7f]{0,20}"), 0..6),
    ) {
        let folder = Folder::new();
        let tracer = tracer(OtlpJsonFile::rotating(folder.file(), 1 << 20, 3).unwrap());
        let mut span = tracer.span(name.clone()).start();
        for (key, value) in &attributes {
            span.set_attribute(key.clone(), value.clone());
            span.add_event(value.clone());
        }
        span.end();
        tracer.shutdown_blocking(AGES).unwrap();
        let text = fs::read_to_string(folder.file()).unwrap();
        prop_assert_eq!(text.lines().count(), 1);
        let spans = spans(&folder.file());
        prop_assert_eq!(&spans[0]["name"], &Value::from(name));
        for (at, (key, value)) in attributes.iter().enumerate() {
            prop_assert_eq!(&spans[0]["events"][at]["name"], &Value::from(value.as_str()));
            let last = attributes.iter().rfind(|(other, _)| other == key).unwrap();
            let found = spans[0]["attributes"].as_array().unwrap().iter().find(|found| found["key"] == key.as_str());
            prop_assert_eq!(&found.unwrap()["value"]["stringValue"], &Value::from(last.1.as_str()));
        }
    }
}
