use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use cortex_core::{Flags, SpanId, TraceId};
use cortex_testkit::Recorder;
use cortex_trace::propagation::{Remote, TraceState};
use cortex_trace::{
    AlwaysOff, ExportError, Exporter, FlushError, InMemory, JsonLogs, ParentBased, SpanData, SpanExt,
    Telemetry, TelemetryError, TextLogs, Tracer,
};
use serde_json::{Value, json};
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, info, info_span};
use tracing_subscriber::Layer;

const LONG: Duration = Duration::from_mins(1);

/// How long one that hangs is waited for: enough for what does not, of which the lines get a tenth, on a loaded machine.
const WHILE: Duration = Duration::from_millis(500);

const NOWHERE: (&str, &str) = ("OTEL_TRACES_EXPORTER", "none");

fn writer(output: &Recorder) -> impl Fn() -> Recorder + Send + Sync + 'static {
    let output = output.clone();
    move || output.clone()
}

fn in_scope(subscriber: &Dispatch, work: impl FnOnce()) {
    tracing::dispatcher::with_default(subscriber, work);
}

#[test]
fn lines_join_the_spans_they_are_logged_in() {
    let (spans, json, text) = (InMemory::new(), Recorder::new(), Recorder::new());
    let tracer = Tracer::builder("shop").export(spans.clone());
    let (telemetry, subscriber) = Telemetry::builder(tracer)
        .json_logs(JsonLogs::new(writer(&json)))
        .text_logs(TextLogs::new(writer(&text)))
        .filter("off,shop=info")
        .build()
        .unwrap();
    in_scope(&subscriber, || {
        let span = info_span!(target: "shop", "restock", items = 3);
        span.in_scope(|| {
            info!(target: "shop", "inside");
            info!(target: "hyper", "filtered out");
        });
        telemetry.set_filter("info").unwrap();
        info!(target: "hyper", "let through");
        assert!(telemetry.set_filter("shop=loud").is_err());
    });
    telemetry.shutdown_blocking(LONG).unwrap();
    let spans = spans.take();
    assert_eq!((spans.len(), &*spans[0].name), (1, "restock"));
    let json = String::from_utf8(json.take()).unwrap();
    let lines: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["trace_id"], spans[0].trace_id.to_string());
    assert_eq!(lines[0]["span_id"], spans[0].span_id.to_string());
    assert_eq!(
        (&lines[1]["message"], lines.len()),
        (&Value::from("let through"), 2)
    );
    assert_eq!(text.text().lines().count(), 2);
}

#[test]
fn an_event_that_names_its_span_has_the_ids_of_that() {
    let (spans, json, text) = (InMemory::new(), Recorder::new(), Recorder::new());
    let (telemetry, subscriber) = Telemetry::builder(Tracer::builder("shop").export(spans.clone()))
        .json_logs(JsonLogs::new(writer(&json)))
        .text_logs(TextLogs::new(writer(&text)))
        .layer(tracing_subscriber::layer::Identity::new().with_filter(LevelFilter::OFF))
        .trace_layer(|layer| layer.events(LevelFilter::WARN))
        .build()
        .unwrap();
    in_scope(&subscriber, || {
        let job = info_span!("job");
        info!(parent: &job, "outside");
        info_span!("other").in_scope(|| {
            info!(parent: &job, "inside of another");
            info!(parent: None, "of nobody, in the same request");
        });
        info!("nowhere");
    });
    telemetry.shutdown_blocking(LONG).unwrap();
    let spans = spans.take();
    let id = |name: &str| spans.iter().find(|span| span.name == name).unwrap().span_id;
    let (job, other) = (id("job").to_string(), id("other").to_string());
    let lines = json.text();
    let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap());
    let ids: Vec<Value> = lines.map(|mut line: Value| line["span_id"].take()).collect();
    assert_eq!(ids, [json!(job), json!(job), json!(other), Value::Null]);
    let trace = spans.iter().find(|span| span.name == "job").unwrap().trace_id;
    let shown = &trace.to_string()[..8];
    assert_eq!(text.text().matches(shown).count(), 2, "{}", text.text());
}

#[test]
fn a_caller_can_become_the_parent_of_a_span_that_the_sampler_dropped() {
    let spans = InMemory::new();
    let tracer = Tracer::builder("shop")
        .sampler(ParentBased::root(AlwaysOff))
        .export(spans.clone());
    let (telemetry, subscriber) = Telemetry::builder(tracer).build().unwrap();
    let ids = TraceId::new(7).zip(SpanId::new(8)).unwrap();
    let caller = Remote::new(ids.0, ids.1, Flags::SAMPLED, TraceState::EMPTY);
    in_scope(&subscriber, || {
        let span = info_span!("process");
        span.set_remote_parent(caller).unwrap();
        span.in_scope(|| {});
    });
    telemetry.shutdown_blocking(LONG).unwrap();
    let span = spans.take().pop().unwrap();
    assert_eq!((span.trace_id, span.parent_span_id), (ids.0, Some(ids.1)));
    assert_eq!(span.name, "process");
}

#[test]
fn a_filter_or_a_service_that_is_wrong_is_told() {
    let builder = || Telemetry::builder(Tracer::builder("shop"));
    let error = builder().filter("shop=loud").build().unwrap_err();
    assert!(matches!(&error, TelemetryError::Filter(error) if error.directive() == "shop=loud"));
    let error = Telemetry::builder(Tracer::builder("")).build().unwrap_err();
    assert!(matches!(error, TelemetryError::Build(_)), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn variables_choose_where_it_goes() {
    let build = |variables: &'static [(&str, &str)]| {
        Telemetry::from_variables("shop", move |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.into())
        })
    };
    let (telemetry, _) = build(&[NOWHERE, ("OTEL_LOGS_EXPORTER", "console"), ("RUST_LOG", "warn")])
        .unwrap()
        .build()
        .unwrap();
    assert_eq!(
        (
            telemetry.tracer().stats_by_exporter().count(),
            telemetry.logs().len()
        ),
        (0, 1)
    );
    assert_eq!(telemetry.filter().to_string(), "warn");
    for (variables, name) in [
        (&[("OTEL_TRACES_EXPORTER", "zipkin")][..], "OTEL_TRACES_EXPORTER"),
        (&[NOWHERE, ("OTEL_LOGS_EXPORTER", "syslog")], "OTEL_LOGS_EXPORTER"),
        (&[NOWHERE, ("OTEL_TRACES_SAMPLER", "xray")], "OTEL_TRACES_SAMPLER"),
    ] {
        let error = build(variables).unwrap_err();
        assert!(
            matches!(&error, TelemetryError::Variable(error) if error.name() == name),
            "{error}"
        );
    }
    for (name, value) in [
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_LOGS_EXPORTER", "syslog"),
        ("OTEL_TRACES_SAMPLER", "xray"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "0"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "nowhere"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
    ] {
        let builder = Telemetry::from_variables("shop", |asked| match asked {
            "OTEL_SDK_DISABLED" => Some("true".into()),
            "OTEL_PROPAGATORS" => Some("b3".into()),
            _ => (asked == name).then(|| value.into()),
        });
        let (telemetry, _) = builder.unwrap().build().unwrap();
        assert_eq!(telemetry.tracer().propagators().to_string(), "b3", "{name}");
        assert_eq!(telemetry.tracer().stats_by_exporter().count(), 0, "{name}");
    }
    let lines = build(&[("OTEL_SDK_DISABLED", "true"), ("OTEL_LOGS_EXPORTER", "console")]).unwrap();
    assert_eq!(lines.build().unwrap().0.logs().len(), 1);
    #[cfg(feature = "otlp")]
    {
        let (telemetry, _) = build(&[]).unwrap().build().unwrap();
        let names: Vec<_> = telemetry
            .tracer()
            .stats_by_exporter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names, ["otlp"]);
        let of_logs = telemetry.otlp_logs().unwrap().stats();
        assert_eq!(of_logs.queue_capacity, telemetry.tracer().stats().queue_capacity);
        let queues = &[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "7"),
            ("OTEL_BLRP_MAX_QUEUE_SIZE", "5"),
        ];
        let (telemetry, _) = build(queues).unwrap().build().unwrap();
        assert_eq!(telemetry.tracer().stats().queue_capacity, 7);
        assert_eq!(telemetry.otlp_logs().unwrap().stats().queue_capacity, 5);
        let error = build(&[("OTEL_BLRP_SCHEDULE_DELAY", "1s")]).unwrap_err();
        assert!(
            matches!(&error, TelemetryError::Variable(error) if error.name() == "OTEL_BLRP_SCHEDULE_DELAY"),
            "{error}"
        );
        let disabled = &[
            ("OTEL_SDK_DISABLED", "true"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "1s"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere"),
        ];
        let (telemetry, _) = build(disabled).unwrap().build().unwrap();
        assert!(telemetry.otlp_logs().is_none());
        assert_eq!(telemetry.tracer().stats_by_exporter().count(), 0);
        let error = build(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "nowhere")]).unwrap_err();
        assert!(matches!(error, TelemetryError::Otlp(_)), "{error}");
    }
}

/// Waits in its export until it is let go.
struct Stuck(mpsc::Receiver<()>);

impl Exporter for Stuck {
    fn name(&self) -> &'static str {
        "stuck"
    }

    fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
        let _ = self.0.recv();
        Ok(())
    }
}

fn stuck() -> (mpsc::Sender<()>, Recorder, Telemetry) {
    let (release, held) = mpsc::channel();
    let output = Recorder::new();
    let tracer = Tracer::builder("shop").export(Stuck(held));
    let (telemetry, subscriber) = Telemetry::builder(tracer)
        .json_logs(JsonLogs::new(writer(&output)).background(64).unwrap())
        .build()
        .unwrap();
    in_scope(&subscriber, || info_span!("restock").in_scope(|| info!("a line")));
    (release, output, telemetry)
}

#[track_caller]
fn is_late(result: &Result<(), FlushError>) {
    assert_eq!(result.as_ref().unwrap_err().late(), ["stuck"]);
}

#[test]
fn one_that_hangs_does_not_keep_the_others_from_flushing() {
    let (release, output, telemetry) = stuck();
    is_late(&telemetry.flush_blocking(WHILE));
    assert!(output.text().contains("a line"));
    is_late(&telemetry.shutdown_blocking(WHILE));
    drop(release);
    telemetry.shutdown_blocking(LONG).unwrap();
}

#[test]
fn it_ends_in_time_on_every_kind_of_runtime() {
    use tokio::runtime::Builder;
    for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
        let runtime = builder.worker_threads(1).build().unwrap();
        let (release, _output, telemetry) = stuck();
        let inside = telemetry.clone();
        is_late(&runtime.block_on(async move {
            let on_worker = tokio::spawn(async move { inside.flush(WHILE).await });
            on_worker.await.unwrap()
        }));
        // Blocking inside of the runtime's only thread is no deadlock: nothing needs that thread.
        is_late(&runtime.block_on(async { telemetry.flush_blocking(WHILE) }));
        drop(release);
        runtime.block_on(telemetry.shutdown(LONG)).unwrap();
    }
}

#[test]
fn a_writer_that_hangs_without_a_queue_holds_up_no_flush() {
    /// Flushes only when it is let go.
    struct Hangs(Arc<Mutex<mpsc::Receiver<()>>>);
    impl Write for Hangs {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            let _ = self.0.lock().unwrap().recv();
            Ok(())
        }
    }
    let (release, held) = mpsc::channel();
    let held = Arc::new(Mutex::new(held));
    let (telemetry, _) = Telemetry::builder(Tracer::builder("shop"))
        .text_logs(TextLogs::new(move || Hangs(Arc::clone(&held))))
        .build()
        .unwrap();
    let short = Duration::from_millis(20);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for result in [
        telemetry.flush_blocking(short),
        runtime.block_on(telemetry.flush(short)),
        telemetry.shutdown_blocking(short),
    ] {
        assert_eq!(result.unwrap_err().late(), ["logs"]);
    }
    drop(release);
    telemetry.shutdown_blocking(LONG).unwrap();
}

#[test]
fn the_guard_exports_what_a_panic_leaves_behind() {
    struct Ended(Arc<AtomicBool>);
    impl Exporter for Ended {
        fn export(&mut self, _: &[&SpanData]) -> Result<(), ExportError> {
            Ok(())
        }

        fn shutdown(&mut self) -> Result<(), ExportError> {
            self.0.store(true, Ordering::SeqCst);
            Ok(())
        }
    }
    let ended = Arc::new(AtomicBool::new(false));
    let tracer = Tracer::builder("shop").export(Ended(Arc::clone(&ended)));
    let (telemetry, _) = Telemetry::builder(tracer).build().unwrap();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let guard = telemetry.guard(LONG);
        drop(guard.tracer().span("restock").start());
        std::panic::resume_unwind(Box::new("seeded"));
    }));
    assert!(result.is_err() && ended.load(Ordering::SeqCst));
}
