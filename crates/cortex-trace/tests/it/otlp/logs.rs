//! Events of `tracing` as log records.

use std::time::{Duration, SystemTime};

use cortex_core::{Context, Flags, SpanId, TraceId};
use cortex_testkit::ManualClock;
use cortex_trace::{BuildErrorKind, Otlp, OtlpLogs, OtlpLogsBuilder, Tracer};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use tracing_subscriber::layer::SubscriberExt;

use super::collector::{Collector, Reply, Speaks, assert_adds_up};
use crate::support::{AGES, block_on};

fn patient() -> OtlpLogsBuilder {
    OtlpLogs::builder("shop").batch_delay(Duration::from_hours(1))
}

fn with(logs: &OtlpLogs, work: impl FnOnce()) {
    tracing::subscriber::with_default(tracing_subscriber::registry().with(logs.clone()), work);
}

/// Logs some and returns once it is all sent.
fn everything(otlp: Otlp) {
    let clock = ManualClock::new();
    clock.set_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let builder = patient().resource("service.version", "1.4.2").clock(clock);
    let logs = builder.start(otlp).unwrap();
    with(&logs, || {
        let _guard = Context::new()
            .with_span(
                TraceId::new(0x4bf9).unwrap(),
                SpanId::new(0x00f0).unwrap(),
                Flags::SAMPLED | Flags::RECORDING,
            )
            .attach();
        tracing::warn!(target: "shop::stock", items = 3_u64, left = -1, ratio = 0.5, low = true, by = %"me", "restocked {}", 7);
        tracing::error!(target: "shop::cart", error = &std::io::Error::other("disk full") as &dyn std::error::Error);
        drop(Context::new().attach());
        tracing::trace!(target: "shop::stock", huge = u128::MAX, long = %"é".repeat(4096));
    });
    with(&logs, || {
        tracing::info!(
            target: "log",
            { log.target = "old::crate", log.module_path = "old", log.file = "old.rs", log.line = 7_u32 },
            "from log"
        );
    });
    logs.shutdown_blocking(AGES).unwrap();
    assert_eq!(assert_adds_up(logs.stats()).exported, 4);
}

fn check(request: &ExportLogsServiceRequest) {
    let [resource_logs] = &request.resource_logs[..] else {
        panic!("{request:?}")
    };
    let resource = resource_logs.resource.as_ref().unwrap();
    let keys: Vec<_> = resource.attributes.iter().map(|pair| &*pair.key).collect();
    assert_eq!(keys, ["service.name", "service.version"]);
    let scopes: Vec<_> = resource_logs
        .scope_logs
        .iter()
        .map(|scope| (&*scope.scope.as_ref().unwrap().name, scope.log_records.len()))
        .collect();
    assert_eq!(scopes, [("old::crate", 1), ("shop::cart", 1), ("shop::stock", 2)]);

    let [warning, trace] = &resource_logs.scope_logs[2].log_records[..] else {
        panic!("{request:?}")
    };
    assert_eq!(warning.time_unix_nano, 1_700_000_000_000_000_000);
    assert_eq!(warning.observed_time_unix_nano, warning.time_unix_nano);
    assert_eq!((warning.severity_number, &*warning.severity_text), (13, "WARN"));
    assert_eq!(body(warning), Some(Value::StringValue("restocked 7".into())));
    assert_eq!(
        attributes(warning),
        [
            ("items", Value::IntValue(3)),
            ("left", Value::IntValue(-1)),
            ("ratio", Value::DoubleValue(0.5)),
            ("low", Value::BoolValue(true)),
            ("by", Value::StringValue("me".into())),
        ]
    );
    assert_eq!(warning.trace_id, 0x4bf9_u128.to_be_bytes());
    assert_eq!(warning.span_id, 0x00f0_u64.to_be_bytes());
    assert_eq!(warning.flags, 1);

    assert_eq!((trace.severity_number, body(trace)), (1, None));
    let [
        ("huge", Value::StringValue(huge)),
        ("long", Value::StringValue(long)),
    ] = &attributes(trace)[..]
    else {
        panic!("{trace:?}")
    };
    assert_eq!((huge, long.len()), (&u128::MAX.to_string(), 4096));

    let error = &resource_logs.scope_logs[1].log_records[0];
    assert_eq!(
        attributes(error),
        [("error", Value::StringValue("disk full".into()))]
    );
    let info = &resource_logs.scope_logs[0].log_records[0];
    assert_eq!((info.severity_number, info.flags), (9, 0));
    assert!(info.trace_id.is_empty() && info.span_id.is_empty());
    assert_eq!(
        attributes(info),
        [
            ("code.file.path", Value::StringValue("old.rs".into())),
            ("code.line.number", Value::IntValue(7)),
        ]
    );
}

fn body(record: &LogRecord) -> Option<Value> {
    record.body.as_ref().and_then(|any| any.value.clone())
}

fn attributes(record: &LogRecord) -> Vec<(&str, Value)> {
    let pairs = record.attributes.iter();
    pairs
        .map(|pair| (&*pair.key, pair.value.clone().unwrap().value.unwrap()))
        .collect()
}

#[test]
fn http_protobuf() {
    let collector = Collector::start(Speaks::Http, []);
    everything(collector.exporter());
    let received = collector.next();
    assert_eq!(received.path, "/v1/logs");
    check(&received.decode());
}

#[test]
fn grpc() {
    let collector = Collector::start(Speaks::Grpc, []);
    everything(collector.exporter());
    let received = collector.next();
    assert_eq!(
        received.path,
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
    );
    check(&received.decode_framed());
}

#[test]
fn http_json() {
    let collector = Collector::start(Speaks::Http, []);
    everything(Otlp::http_json(&collector.url()).unwrap());
    let received = collector.next();
    let request: serde_json::Value = serde_json::from_slice(&received.body).unwrap();
    let scopes = &request["resourceLogs"][0]["scopeLogs"];
    assert_eq!(scopes[2]["scope"]["name"], "shop::stock");
    let warning = &scopes[2]["logRecords"][0];
    assert_eq!(
        *warning,
        serde_json::json!({
            "severityNumber": 13,
            "severityText": "WARN",
            "timeUnixNano": "1700000000000000000",
            "observedTimeUnixNano": "1700000000000000000",
            "body": {"stringValue": "restocked 7"},
            "attributes": [
                {"key": "items", "value": {"intValue": "3"}},
                {"key": "left", "value": {"intValue": "-1"}},
                {"key": "ratio", "value": {"doubleValue": 0.5}},
                {"key": "low", "value": {"boolValue": true}},
                {"key": "by", "value": {"stringValue": "me"}},
            ],
            "traceId": "00000000000000000000000000004bf9",
            "spanId": "00000000000000f0",
            "flags": 1,
        })
    );
    assert!(scopes[0]["logRecords"][0].get("traceId").is_none());
}

#[test]
fn sending_does_not_feed_itself() {
    // Everything that this process says, the client's own debugging too, goes to the collector.
    let collector = Collector::start(Speaks::Grpc, [Reply::Grpc(vec![], vec![("grpc-status", "14")])]);
    let logs = patient().start(collector.exporter()).unwrap();
    let subscriber = tracing_subscriber::registry().with(logs.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    tracing::info!(target: "shop", "once");
    let before = logs.stats().enqueued;
    logs.flush_blocking(AGES).unwrap();
    let nobody = super::faults::Nobody::new();
    let tracer = Tracer::builder("shop")
        .export(Otlp::http(&nobody.url()).unwrap().retry_for(Duration::ZERO))
        .build()
        .unwrap();
    tracer.span("work").start().end();
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(tracer.stats().failed, 1); // and its warning was not sent either
    for _ in 0..2 {
        assert_eq!(records(&collector.next().decode_framed()), 1); // and the second try took it
    }
    assert_eq!((before, logs.stats().exported), (1, 1));
}

fn records(request: &ExportLogsServiceRequest) -> usize {
    let scopes = request.resource_logs.iter().flat_map(|of| &of.scope_logs);
    scopes.map(|scope| scope.log_records.len()).sum()
}

#[test]
fn losses_are_counted_and_told() {
    let collector = Collector::start(Speaks::Http, [Reply::Http(400, vec![], vec![])]);
    let logs = patient().start(collector.exporter()).unwrap();
    with(&logs, || (0..5).for_each(|at| tracing::info!(at)));
    logs.flush_blocking(AGES).unwrap();
    let stats = assert_adds_up(logs.stats());
    assert_eq!((stats.enqueued, stats.failed), (5, 5));
    assert_eq!(logs.last_error().unwrap().to_string(), "export logs");
    logs.shutdown_blocking(AGES).unwrap();
    with(&logs, || tracing::info!("too late"));
    assert_eq!(assert_adds_up(logs.stats()).dropped_after_shutdown, 1);
}

#[test]
fn large_records_fill_the_queue_by_their_bytes() {
    let collector = Collector::start(Speaks::Http, [Reply::Hang]);
    let logs = patient().queue_bytes(40_000).start(collector.exporter()).unwrap();
    let text = "x".repeat(4000);
    let log = |records| {
        with(&logs, || {
            for _ in 0..records {
                tracing::info!(text, "{text}");
            }
        });
    };
    log(3); // together more than half of the queue
    assert_eq!(records(&collector.next().decode()), 2); // and hangs there
    log(10);
    let stats = assert_adds_up(logs.stats());
    assert_eq!((stats.queued, stats.dropped_queue_full), (4, 7));
    logs.shutdown_blocking(Duration::ZERO).unwrap_err();
}

#[test]
fn a_shutdown_is_in_time_whatever_the_collector_does() {
    let collector = Collector::start(Speaks::Grpc, [Reply::Hang]);
    let logs = patient().start(collector.exporter()).unwrap();
    with(&logs, || tracing::info!("never taken"));
    let error = logs.flush_blocking(Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.to_string(), "flush logs: otlp logs: not done in time");
    let error = block_on(logs.shutdown(Duration::from_millis(20))).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    block_on(logs.shutdown(AGES)).unwrap();
    assert_eq!(assert_adds_up(logs.stats()).failed, 1);
}

#[test]
fn what_cannot_start_is_told() {
    let otlp = || Otlp::http("http://c").unwrap();
    let nameless = OtlpLogs::builder("").start(otlp()).unwrap_err();
    assert_eq!(nameless.kind(), BuildErrorKind::ServiceName);
    for none in [patient().batch_size(0), patient().queue_bytes(0)] {
        assert_eq!(none.start(otlp()).unwrap_err().kind(), BuildErrorKind::Limit);
    }
}

#[test]
fn secrets_are_not_even_formatted() {
    struct Secret;
    impl std::fmt::Debug for Secret {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("somebody looks");
        }
    }
    let hidden = |builder: OtlpLogsBuilder| {
        let collector = Collector::start(Speaks::Http, []);
        let logs = builder.start(collector.exporter()).unwrap();
        with(
            &logs,
            || tracing::info!("http.request.header.Set-Cookie" = 1, password = ?Secret, iban = 2, user = 3, "m"),
        );
        logs.shutdown_blocking(AGES).unwrap();
        let request: ExportLogsServiceRequest = collector.next().decode();
        let record = &request.resource_logs[0].scope_logs[0].log_records[0];
        let hidden = attributes(record)
            .into_iter()
            .filter(|(_, value)| *value == Value::StringValue("[redacted]".into()));
        hidden.map(|(key, _)| key.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(hidden(patient()), ["http.request.header.Set-Cookie", "password"]);
    let more = hidden(patient().redact(["IBAN"]));
    assert_eq!(more, ["http.request.header.Set-Cookie", "password", "iban"]);
    let only = hidden(patient().redact_only(["user", "password"]));
    assert_eq!(only, ["password", "user"]);
}

#[cfg(feature = "telemetry")]
#[test]
fn a_name_that_is_a_keyword_is_the_same_in_all_that_is_told() {
    use cortex_testkit::Recorder;
    use cortex_trace::{InMemory, JsonLogs};

    #[tracing::instrument(fields(b.r#ref = 3, r#token = "hunter1"))]
    fn work(r#type: u32, r#password: &str) {
        tracing::info!(
            r#type,
            r#token = "hunter2",
            b.r#ref = 4,
            b.r#secret = "hunter3",
            "m"
        );
    }

    let (collector, spans, lines) = (
        Collector::start(Speaks::Http, []),
        InMemory::new(),
        Recorder::new(),
    );
    let tracer = Tracer::builder("shop").export(spans.clone()).build().unwrap();
    let logs = patient().redact(["ref"]).start(collector.exporter()).unwrap();
    let output = lines.clone();
    let subscriber = tracing_subscriber::registry()
        .with(tracer.layer().redact(["ref"]))
        .with(JsonLogs::new(move || output.clone()).redact(["ref"]))
        .with(logs.clone());
    tracing::subscriber::with_default(subscriber, || work(7, "hunter0"));
    tracer.shutdown_blocking(AGES).unwrap();
    logs.shutdown_blocking(AGES).unwrap();

    let (seven, hidden) = ("7".to_owned(), "[redacted]".to_owned());
    let pair = |name: &str, value: &String| (name.to_owned(), value.clone());
    let of_span = [
        pair("b.ref", &hidden),
        pair("password", &hidden),
        pair("token", &hidden),
        pair("type", &seven),
    ];
    let of_event = [
        pair("b.ref", &hidden),
        pair("b.secret", &hidden),
        pair("token", &hidden),
        pair("type", &seven),
    ];
    let sorted = |pairs: Vec<(String, String)>| {
        let own = |(name, _): &(String, String)| {
            ![
                "level",
                "target",
                "timestamp",
                "message",
                "name",
                "span",
                "trace_flags",
            ]
            .contains(&&**name)
                && !name.ends_with("_id")
        };
        let mut pairs: Vec<_> = pairs.into_iter().filter(own).collect();
        pairs.sort();
        pairs
    };
    let of_list = |list: &[cortex_trace::Attribute]| {
        sorted(
            list.iter()
                .map(|field| pair(&field.key, &field.value.to_string()))
                .collect(),
        )
    };
    let span = spans.take().remove(0);
    assert_eq!(of_list(&span.attributes), of_span);
    assert_eq!(of_list(&span.events[0].attributes), of_event);

    let line: serde_json::Value = serde_json::from_str(&lines.text()).unwrap();
    let of_line = |object: &serde_json::Value| {
        let fields = object.as_object().unwrap().iter();
        let text =
            |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        sorted(fields.map(|(name, value)| (name.clone(), text(value))).collect())
    };
    assert_eq!(
        (of_line(&line["span"]), of_line(&line)),
        (of_span.to_vec(), of_event.to_vec())
    );

    let request: ExportLogsServiceRequest = collector.next().decode();
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    let text = |value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let fields = attributes(record).into_iter();
    let of_record = fields
        .map(|(name, value)| (name.to_owned(), text(value)))
        .collect();
    assert_eq!(sorted(of_record), of_event);
}

#[test]
fn a_variable_of_one_signal_is_the_business_of_that_one() {
    let (spans, logs) = (
        typo("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
        typo("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL"),
    );

    // Set up for spans, and used for both.
    assert!(Otlp::from_variables(spans).is_err());
    let otlp = Otlp::from_variables(logs).unwrap().header("a", "b").unwrap();
    let error = patient().start(otlp).unwrap_err();
    assert_eq!(error.kind(), BuildErrorKind::Exporter);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL"), "{cause}");

    // Set up for logs, and used for both.
    assert!(Otlp::logs_from_variables(logs).is_err());
    let otlp = Otlp::logs_from_variables(spans).unwrap();
    let tracer = Tracer::builder("shop").export(otlp).build().unwrap();
    tracer.span("lost").start().end();
    tracer.shutdown_blocking(AGES).unwrap();
    let (_, error) = tracer.last_errors().next().unwrap();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), "{cause}");
}

/// An environment with a mistake in one variable.
fn typo(wrong: &'static str) -> impl Fn(&'static str) -> Option<std::ffi::OsString> + Copy {
    move |name| (name == wrong).then(|| "gprc".into())
}

#[cfg(feature = "telemetry")]
#[test]
fn telemetry_heeds_the_variables_of_the_signals_that_are_on() {
    use cortex_trace::Telemetry;

    for (wrong, off) in [
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_TRACES_EXPORTER"),
        ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "OTEL_LOGS_EXPORTER"),
    ] {
        let variable = typo(wrong);
        Telemetry::from_variables("shop", variable).unwrap_err();
        let one = |name| {
            if name == off {
                Some("none".into())
            } else {
                variable(name)
            }
        };
        drop(Telemetry::from_variables("shop", one).unwrap());
    }
}
