//! The hand-over to OpenTelemetry's SDK, against what the SDK itself has.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use cortex_core::{Clock, Context, Flags, SpanId, TraceId};
use cortex_testkit::Recorder;
use cortex_trace::otel::{self, opentelemetry as api, opentelemetry_sdk as sdk};
use cortex_trace::propagation::{Remote, TraceState, extract};
use cortex_trace::{
    AlwaysOff, Attribute, Decision, ExportError, Exporter as _, ParentBased, SampleParams, ServerEnd,
    ServerStart, SpanData, SpanKind, Status, Threshold, Tracer, Value,
};
use http::{HeaderMap, HeaderValue, Method, Uri};
use proptest::prelude::*;

use api::KeyValue;
use api::propagation::{Extractor, TextMapPropagator};
use api::trace::{Span as _, SpanContext, TraceContextExt, TraceFlags, Tracer as _, TracerProvider as _};
use sdk::error::{OTelSdkError, OTelSdkResult};
use sdk::trace::{
    BatchSpanProcessor, InMemorySpanExporter, SamplingDecision, SamplingResult, SdkTracerProvider,
    ShouldSample, SpanExporter, SpanProcessor,
};

use crate::support::{AGES, Fixture, block_on};

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";

fn received(tracestate: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_static(CALLER));
    headers.insert("tracestate", HeaderValue::from_static(tracestate));
    headers.insert("host", HeaderValue::from_static("shop.example"));
    headers
}

/// Makes spans in which no field has its default value, or every one has.
fn make_spans(fixture: &Fixture) {
    let start = ServerStart {
        method: &Method::GET,
        path: "/items/7?page=2",
        start: fixture.clock.now(),
    };
    fixture.clock.advance(Duration::from_millis(3));
    let mut server = fixture.tracer.server(&received("congo=1,rojo=2"), start);
    server.set_route("/items/{id}");
    {
        let _guard = server.context().attach();
        let mut inner = fixture.tracer.span("inner").start();
        for (key, value) in [
            ("bool", Value::from(true)),
            ("int", Value::from(i64::MIN)),
            ("float", Value::from(0.1)),
            ("text", Value::from("a\0ü")),
        ] {
            inner.set_attribute(key, value);
        }
        for number in 0..130 {
            inner.set_attribute(format!("key {number}"), number);
        }
        fixture.clock.advance(Duration::from_micros(7));
        for _ in 0..130 {
            inner.add_event_with("retry", [Attribute::new("attempt", 2)]);
        }
        inner.set_error("timeout");
        fixture.clock.advance(Duration::from_nanos(1));
        inner.end();
        for kind in [SpanKind::Producer, SpanKind::Consumer] {
            fixture
                .tracer
                .span(String::from("plain"))
                .kind(kind)
                .start()
                .end();
        }
        let uri = Uri::from_static("http://stock.internal/7");
        fixture.tracer.client(&Method::GET, &uri).end();
    }
    server.finish(ServerEnd {
        status: Some(500),
        end: fixture.clock.now(),
        error: None,
    });
    fixture.tracer.span("root").start().end();
}

/// Exports to ours and to theirs at once.
fn both(
    configure: impl FnOnce(cortex_trace::TracerBuilder, InMemorySpanExporter) -> cortex_trace::TracerBuilder,
) -> (Fixture, InMemorySpanExporter) {
    let theirs = InMemorySpanExporter::default();
    let fixture = Fixture::with(|builder| configure(builder, theirs.clone()));
    (fixture, theirs)
}

fn text<T: std::fmt::Debug>(value: T) -> String {
    format!("{value:?}")
}

fn pairs(ours: &[Attribute]) -> String {
    let pairs = ours.iter().map(|attribute| match &attribute.value {
        Value::Bool(value) => format!("{} bool {value}", attribute.key),
        Value::Int(value) => format!("{} int {value}", attribute.key),
        Value::Float(value) => format!("{} float {value}", attribute.key),
        Value::Str(value) => format!("{} text {value}", attribute.key),
        other => panic!("{other:?}"),
    });
    pairs.collect::<Vec<_>>().join("\n")
}

fn their_pairs(theirs: &[KeyValue]) -> String {
    let pairs = theirs.iter().map(|pair| match &pair.value {
        api::Value::Bool(value) => format!("{} bool {value}", pair.key),
        api::Value::I64(value) => format!("{} int {value}", pair.key),
        api::Value::F64(value) => format!("{} float {value}", pair.key),
        api::Value::String(value) => format!("{} text {value}", pair.key),
        other => panic!("{other:?}"),
    });
    pairs.collect::<Vec<_>>().join("\n")
}

/// Compares every field there is, by its name.
fn assert_same(ours: &SpanData, theirs: &sdk::trace::SpanData) {
    let context = &theirs.span_context;
    let parent = ours.parent_span_id.map_or("0".repeat(16), |id| id.to_string());
    let kind = match theirs.span_kind {
        api::trace::SpanKind::Internal => SpanKind::Internal,
        api::trace::SpanKind::Server => SpanKind::Server,
        api::trace::SpanKind::Client => SpanKind::Client,
        api::trace::SpanKind::Producer => SpanKind::Producer,
        api::trace::SpanKind::Consumer => SpanKind::Consumer,
    };
    let status = match &theirs.status {
        api::trace::Status::Unset => Status::Unset,
        api::trace::Status::Ok => Status::Ok,
        api::trace::Status::Error { description } => Status::Error {
            description: description.clone(),
        },
    };
    for (field, ours, theirs) in [
        (
            "trace_id",
            ours.trace_id.to_string(),
            context.trace_id().to_string(),
        ),
        ("span_id", ours.span_id.to_string(), context.span_id().to_string()),
        (
            "flags",
            text(ours.flags.to_wire()),
            text(context.trace_flags().to_u8()),
        ),
        ("is_remote", text(false), text(context.is_remote())),
        (
            "tracestate",
            ours.tracestate.to_string(),
            context.trace_state().header(),
        ),
        ("parent_span_id", parent, theirs.parent_span_id.to_string()),
        (
            "parent_is_remote",
            text(ours.parent_is_remote),
            text(theirs.parent_span_is_remote),
        ),
        ("name", ours.name.to_string(), theirs.name.to_string()),
        ("kind", text(ours.kind), text(kind)),
        ("start", text(ours.start), text(theirs.start_time)),
        ("end", text(ours.end), text(theirs.end_time)),
        (
            "attributes",
            pairs(&ours.attributes),
            their_pairs(&theirs.attributes),
        ),
        (
            "dropped_attributes",
            text(ours.dropped_attributes),
            text(theirs.dropped_attributes_count),
        ),
        ("events", text(ours.events.len()), text(theirs.events.len())),
        (
            "dropped_events",
            text(ours.dropped_events),
            text(theirs.events.dropped_count),
        ),
        ("links", text(ours.links.len()), text(theirs.links.len())),
        ("dropped_links", text(0), text(theirs.links.dropped_count)),
        ("status", text(&ours.status), text(status)),
        (
            "scope",
            text("cortex-trace"),
            text(theirs.instrumentation_scope.name()),
        ),
        (
            "scope version",
            text(Some(env!("CARGO_PKG_VERSION"))),
            text(theirs.instrumentation_scope.version()),
        ),
    ] {
        assert_eq!(ours, theirs, "{field}");
    }
    for (ours, theirs) in ours.events.iter().zip(theirs.events.iter()) {
        assert_eq!((&ours.name, ours.time), (&theirs.name, theirs.timestamp));
        assert_eq!(pairs(&ours.attributes), their_pairs(&theirs.attributes));
        assert_eq!(ours.dropped_attributes, theirs.dropped_attributes_count);
    }
    for (ours, theirs) in ours.links.iter().zip(theirs.links.iter()) {
        let context = &theirs.span_context;
        assert_eq!(ours.trace_id.to_string(), context.trace_id().to_string());
        assert_eq!(ours.span_id.to_string(), context.span_id().to_string());
        assert_eq!(ours.flags.to_wire(), context.trace_flags().to_u8());
        assert_eq!(ours.tracestate.to_string(), context.trace_state().header());
        assert!(theirs.attributes.is_empty());
    }
}

#[test]
fn every_field_is_handed_over() {
    for restart in [false, true] {
        let (fixture, theirs) = both(|builder, theirs| {
            let builder = builder.export(otel::Exporter::new(theirs));
            if restart {
                builder.restart_traces()
            } else {
                builder
            }
        });
        make_spans(&fixture);
        let ours = fixture.ended();
        let theirs = theirs.get_finished_spans().unwrap();
        assert_eq!((ours.len(), theirs.len()), (6, 6));
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_same(ours, theirs);
        }
        // The table is worth something only if its fields are used.
        assert!(
            ours.iter()
                .any(|span| span.dropped_attributes > 0 && span.dropped_events > 0)
        );
        assert_eq!(ours.iter().any(|span| !span.links.is_empty()), restart);
        assert_eq!(ours.iter().any(|span| span.parent_is_remote), !restart);
    }
}

#[test]
fn the_batch_processor_of_the_sdk_gets_everything() {
    let (fixture, theirs) = both(|builder, theirs| {
        builder.export(otel::Processor::new(BatchSpanProcessor::builder(theirs).build()).timeout(AGES))
    });
    make_spans(&fixture);
    let ours = fixture.ended(); // flushes both
    let theirs = theirs.get_finished_spans().unwrap();
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(&theirs) {
        assert_same(ours, theirs);
    }
    fixture.tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(fixture.tracer.stats().exported, 12);
}

#[test]
fn what_the_sdk_hands_over_comes_back_the_same() {
    let (fixture, theirs) =
        both(|builder, theirs| builder.restart_traces().export(otel::Exporter::new(theirs)));
    make_spans(&fixture);
    let before = fixture.ended();
    let intake = otel::Intake::new(fixture.tracer.clone());
    for span in theirs.get_finished_spans().unwrap() {
        intake.on_end(span);
    }
    assert_eq!(fixture.ended(), before);
}

/// Uses spans and logs of `tracing` when it exports, as HTTP clients do.
#[cfg(feature = "bridge")]
#[derive(Debug)]
struct Chatty {
    subscriber: Arc<std::sync::OnceLock<tracing::Dispatch>>,
    tracer: Arc<std::sync::OnceLock<Tracer>>,
    exported: InMemorySpanExporter,
}

#[cfg(feature = "bridge")]
impl SpanExporter for Chatty {
    async fn export(&self, batch: Vec<sdk::trace::SpanData>) -> OTelSdkResult {
        tracing::dispatcher::with_default(self.subscriber.get().unwrap(), || {
            tracing::info_span!("export").in_scope(|| tracing::info!("exporting"));
        });
        let tracer = self.tracer.get().unwrap();
        let by_hand = tracer.span("by hand").parent(Context::new()).start();
        assert!(!by_hand.is_recording());
        assert!(!tracer.span("below").parent(sampled()).start().is_recording());
        self.exported.export(batch).await
    }
}

#[cfg(feature = "bridge")]
fn sampled() -> Context {
    let (trace, span) = ids();
    Context::new().with_span(trace, span, Flags::SAMPLED | Flags::RECORDING)
}

#[cfg(feature = "bridge")]
#[test]
fn what_the_sdk_does_to_export_is_not_exported() {
    use tracing_subscriber::layer::SubscriberExt;

    let exported = InMemorySpanExporter::default();
    let chatty = Chatty {
        subscriber: Arc::default(),
        tracer: Arc::default(),
        exported: exported.clone(),
    };
    let (subscriber, cell) = (Arc::clone(&chatty.subscriber), Arc::clone(&chatty.tracer));
    let processor = BatchSpanProcessor::builder(chatty).build();
    let tracer = Tracer::builder("shop")
        .export(otel::Processor::new(processor).timeout(AGES))
        .build()
        .unwrap();
    let layered = tracing_subscriber::registry().with(tracer.layer());
    #[cfg(all(feature = "logs", feature = "otlp"))]
    let logs = cortex_trace::OtlpLogs::builder("shop")
        .start(
            cortex_trace::Otlp::http("http://127.0.0.1:9")
                .unwrap()
                .retry_for(Duration::ZERO),
        )
        .unwrap();
    #[cfg(all(feature = "logs", feature = "otlp"))]
    let layered = layered.with(logs.clone());
    subscriber.set(tracing::Dispatch::new(layered)).unwrap();
    cell.set(tracer.clone()).unwrap();
    tracer.span("one").start().end();
    for _ in 0..3 {
        tracer.flush_blocking(AGES).unwrap();
    }
    assert_eq!(exported.get_finished_spans().unwrap().len(), 1);
    assert_eq!(tracer.stats().enqueued, 1);
    #[cfg(all(feature = "logs", feature = "otlp"))]
    assert_eq!(logs.stats().enqueued, 0);
    tracer.shutdown_blocking(AGES).unwrap();
}

#[test]
fn a_span_can_start_while_its_thread_ends() {
    struct Late(Tracer);
    impl Drop for Late {
        fn drop(&mut self) {
            self.0.span("late").start().end();
        }
    }
    thread_local! {
        // Gone after what is used later: the context of OpenTelemetry.
        static LATE: std::cell::OnceCell<Late> = const { std::cell::OnceCell::new() };
    }
    let fixture = Fixture::new();
    let tracer = fixture.tracer.clone();
    // Joined, which waits for the destructors as well.
    let thread = std::thread::spawn(move || {
        LATE.with(|late| assert!(late.set(Late(tracer.clone())).is_ok()));
        let _guard = api::Context::enter_telemetry_suppressed_scope();
        assert!(!tracer.span("suppressed").start().is_recording());
    });
    thread.join().unwrap();
    assert_eq!(fixture.one().name, "late");
}

fn sampled_and_not() -> [SpanData; 2] {
    let fixture = Fixture::new();
    fixture.tracer.span("sampled").start().end();
    let sampled = fixture.one();
    let mut not = sampled.clone();
    not.flags = Flags::RECORDING;
    [sampled, not]
}

#[test]
fn what_is_not_sampled_is_not_handed_over() {
    let batch = sampled_and_not();
    let kept = InMemorySpanExporter::default();
    let mut exporter = otel::Exporter::new(kept.clone());
    exporter.export(&batch.each_ref()).unwrap();
    exporter.export(&[&batch[1]]).unwrap();
    assert_eq!(kept.get_finished_spans().unwrap().len(), 1);

    let kept = InMemorySpanExporter::default();
    let mut processor = otel::Processor::new(BatchSpanProcessor::builder(kept.clone()).build());
    processor.export(&batch.each_ref()).unwrap();
    processor.flush().unwrap();
    assert_eq!(kept.get_finished_spans().unwrap().len(), 1);

    let fixture = Fixture::new();
    let intake = otel::Intake::new(fixture.tracer.clone());
    for span in &batch {
        intake.on_end(otel::span_data(span));
    }
    assert_eq!(fixture.one().name, "sampled");
}

/// An exporter that tells what is done with it.
#[derive(Clone, Debug, Default)]
struct Telling {
    said: Recorder<String>,
    answer: Answer,
    shutdown: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Answer {
    #[default]
    Yes,
    No,
    Never,
    /// After a while, with the help of a runtime.
    Later,
}

impl SpanExporter for Telling {
    async fn export(&self, batch: Vec<sdk::trace::SpanData>) -> OTelSdkResult {
        assert!(api::Context::is_current_telemetry_suppressed());
        self.said.record(format!("export {}", batch.len()));
        match self.answer {
            Answer::Yes => Ok(()),
            Answer::No => Err(OTelSdkError::InternalFailure("no".into())),
            Answer::Never => pending().await,
            Answer::Later => {
                let task = tokio::spawn(tokio::time::sleep(Duration::from_nanos(1)));
                task.await
                    .map_err(|error| OTelSdkError::InternalFailure(error.to_string()))
            }
        }
    }

    // As exporters do, instead of `shutdown_with_timeout`.
    fn shutdown(&self) -> OTelSdkResult {
        self.said.record("shutdown".into());
        match self.shutdown {
            None => Ok(()),
            Some("already") => Err(OTelSdkError::AlreadyShutdown),
            Some(why) => Err(OTelSdkError::InternalFailure(why.into())),
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.said.record("flush".into());
        Ok(())
    }

    fn set_resource(&mut self, resource: &sdk::Resource) {
        let service = resource.get(&api::Key::new("service.name")).unwrap();
        let version = resource.get(&api::Key::new("service.version")).unwrap();
        self.said
            .record(format!("{service} {version} {}", resource.len()));
    }
}

fn traced(exporter: otel::Exporter<Telling>) -> Tracer {
    let builder = Tracer::builder("shop").resource("service.version", "7");
    builder.export(exporter).build().unwrap()
}

#[test]
fn an_exporter_is_called_in_order_and_shut_down_once() {
    let telling = Telling::default();
    let tracer = traced(otel::Exporter::new(telling.clone()));
    tracer.span("a").start().end();
    tracer.flush_blocking(AGES).unwrap();
    tracer.shutdown_blocking(AGES).unwrap();
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(telling.said.take(), ["shop 7 2", "export 1", "flush", "shutdown"]);
    let (name, _) = tracer.stats_by_exporter().next().unwrap();
    assert!(name.ends_with("Telling"), "{name}");
}

#[test]
fn somebody_else_may_have_shut_it_down() {
    for (why, is_ok) in [("already", true), ("disk full", false)] {
        let telling = Telling {
            shutdown: Some(why),
            ..Telling::default()
        };
        let result = traced(otel::Exporter::new(telling)).shutdown_blocking(AGES);
        assert_eq!(result.is_ok(), is_ok);
        assert!(result.is_ok() || result.unwrap_err().to_string().contains("disk full"));
    }
}

#[test]
fn failures_and_late_answers_are_counted() {
    for (answer, why) in [(Answer::No, "no"), (Answer::Never, "timed out")] {
        let telling = Telling {
            answer,
            ..Telling::default()
        };
        let mut direct = otel::Exporter::new(telling.clone()).timeout(Duration::ZERO);
        let error = direct.export(&sampled_and_not().each_ref()).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(why), "{cause}");
        for exporter in [
            otel::Exporter::new(telling.clone()),
            otel::Exporter::in_runtime({
                let telling = telling.clone();
                move || Ok(telling)
            }),
        ] {
            let tracer = traced(exporter.timeout(Duration::ZERO));
            tracer.span("a").start().end();
            tracer.span("b").start().end();
            tracer.shutdown_blocking(AGES).unwrap();
            let stats = tracer.stats();
            assert_eq!(
                (stats.enqueued, stats.failed, stats.in_flight),
                (2, 2, 0),
                "{answer:?}"
            );
        }
    }
}

#[test]
fn an_export_is_given_up_when_the_time_for_the_shutdown_is() {
    let telling = Telling {
        answer: Answer::Never,
        ..Telling::default()
    };
    let built = telling.clone();
    for exporter in [
        otel::Exporter::new(telling),
        otel::Exporter::in_runtime(move || Ok(built)),
    ] {
        let tracer = traced(exporter.timeout(AGES));
        tracer.span("a").start().end();
        assert!(tracer.shutdown_blocking(Duration::ZERO).unwrap_err().is_timeout());
        tracer.shutdown_blocking(AGES / 2).unwrap();
        assert_eq!(tracer.stats().failed, 1);
    }
}

fn later(telling: &Telling) -> otel::Exporter<Telling> {
    let telling = Telling {
        answer: Answer::Later,
        ..telling.clone()
    };
    otel::Exporter::in_runtime(move || {
        assert!(tokio::runtime::Handle::try_current().is_ok());
        Ok(telling)
    })
}

#[test]
fn an_exporter_gets_a_runtime_of_its_own() {
    let telling = Telling::default();
    let tracer = traced(later(&telling));
    tracer.span("a").start().end();
    tracer.flush_blocking(AGES).unwrap();
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(telling.said.take(), ["shop 7 2", "export 1", "flush", "shutdown"]);
    assert_eq!(tracer.stats().exported, 1);
}

#[test]
fn flushing_from_any_runtime_does_not_wait_for_it() {
    let flush = async |telling: Telling| {
        let tracer = traced(later(&telling));
        tracer.span("a").start().end();
        tracer.flush(AGES).await.unwrap();
        tracer.flush_blocking(AGES).unwrap(); // blocks the runtime: nothing may depend on it
        tracer.shutdown_blocking(AGES).unwrap();
        assert_eq!(tracer.stats().exported, 1);
    };
    block_on(flush(Telling::default()));
    let current = tokio::runtime::Builder::new_current_thread().build().unwrap();
    current.block_on(flush(Telling::default()));
    let one_worker = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    one_worker.block_on(async { tokio::spawn(flush(Telling::default())).await.unwrap() });
}

#[test]
fn what_cannot_be_built_fails_every_span() {
    let refused = || -> Result<Telling, ExportError> { Err(ExportError::new("no certificate")) };
    let panicking = || -> Result<Telling, ExportError> { std::panic::resume_unwind(Box::new("scripted")) };
    for (exporter, why, panics) in [
        (otel::Exporter::in_runtime(refused), "no certificate", 0),
        (otel::Exporter::in_runtime(panicking), "panicked", 1),
    ] {
        let tracer = traced(exporter);
        tracer.span("a").start().end();
        let error = tracer.shutdown_blocking(AGES).unwrap_err().to_string();
        assert!(error.contains(why) || panics > 0, "{error}");
        let stats = tracer.stats();
        assert_eq!((stats.failed, stats.panics), (1, panics));
    }
}

#[test]
fn a_processor_that_fails_says_so() {
    #[derive(Debug)]
    struct Failing;
    impl SpanProcessor for Failing {
        fn on_start(&self, _: &mut sdk::trace::Span, _: &api::Context) {}
        fn on_end(&self, _: sdk::trace::SpanData) {}
        fn force_flush(&self) -> OTelSdkResult {
            Err(OTelSdkError::InternalFailure("no flush".into()))
        }
        fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
            Err(OTelSdkError::Timeout(timeout))
        }
    }
    let processor = otel::Processor::new(Failing).timeout(Duration::from_secs(7));
    let tracer = Tracer::builder("shop").export(processor).build().unwrap();
    let flush = tracer.flush_blocking(AGES).unwrap_err().to_string();
    assert!(flush.contains("Failing: Operation failed: no flush"), "{flush}");
    let shutdown = tracer.shutdown_blocking(AGES).unwrap_err().to_string();
    assert!(shutdown.contains("timed out after 7s"), "{shutdown}");
}

// --------------------------------------------------------------------------------------------------------- the intake

#[test]
fn spans_of_the_sdk_reach_our_exporters() {
    let fixture = Fixture::new();
    let provider = SdkTracerProvider::builder()
        .with_span_processor(otel::Intake::new(fixture.tracer.clone()))
        .build();
    let theirs = provider.tracer("a library");
    let ours = fixture.tracer.span("ours").start();
    let parent = otel::span_context(&ours.context(), ours.tracestate());
    let parent = api::Context::new().with_remote_span_context(parent);
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
    let builder = theirs
        .span_builder("query")
        .with_kind(api::trace::SpanKind::Client);
    let mut span = builder.with_start_time(at).start_with_context(&theirs, &parent);
    let array = api::Array::I64(vec![1, 2]);
    span.set_attribute(KeyValue::new("rows", api::Value::Array(array)));
    span.set_attribute(KeyValue::new("twice", 1));
    span.set_attribute(KeyValue::new("twice", 2));
    span.add_event_with_timestamp("hit", at, vec![KeyValue::new("x", 0.5)]);
    span.add_link(span.span_context().clone(), vec![]);
    span.set_status(api::trace::Status::error("broken"));
    span.end_with_timestamp(at - Duration::from_secs(1));
    provider.force_flush().unwrap();

    let data = fixture.one();
    assert_eq!(data.trace_id, ours.context().trace_id().unwrap());
    assert_eq!(data.parent_span_id, ours.context().span_id());
    assert_eq!((&*data.name, data.kind), ("query", SpanKind::Client));
    assert_eq!((data.start, data.end), (at, at)); // never before the start
    assert_eq!(
        data.attributes,
        [Attribute::new("rows", "[1,2]"), Attribute::new("twice", 2)]
    );
    assert_eq!((&*data.events[0].name, data.events[0].time), ("hit", at));
    assert_eq!(data.events[0].attributes, [Attribute::new("x", 0.5)]);
    assert_eq!(data.links[0].span_id, data.span_id);
    assert_eq!(
        data.status,
        Status::Error {
            description: "broken".into()
        }
    );
    provider.shutdown().unwrap();
    fixture.tracer.span("still open").start().end();
    assert_eq!(fixture.one().name, "still open");
}

#[test]
fn spans_of_the_sdk_are_cut_like_ours() {
    let fixture = Fixture::new();
    let limits = sdk::trace::SpanLimits {
        max_attributes_per_span: 1_000,
        max_attributes_per_event: 1_000,
        ..Default::default()
    };
    let provider = SdkTracerProvider::builder()
        .with_span_processor(otel::Intake::new(fixture.tracer.clone()))
        .with_span_limits(limits)
        .build();
    let long = "ü".repeat(3_000);
    let many = || (0..130).map(|n| KeyValue::new(format!("key {n}"), n));
    let long_pair = || KeyValue::new(long.clone(), long.clone());
    let mut span = provider.tracer("a library").start(long.clone());
    span.set_attribute(long_pair());
    span.set_attributes(many());
    span.add_event(long.clone(), many().chain([long_pair()]).collect());
    span.set_status(api::trace::Status::error(long.clone()));
    span.end();

    let data = fixture.one();
    let (cut, event) = (&long[..4096], &data.events[0]);
    assert_eq!((&*data.name, &*event.name), (cut, cut));
    assert_eq!(data.attributes[0], Attribute::new(cut.to_owned(), cut.to_owned()));
    assert_eq!((data.attributes.len(), data.dropped_attributes), (128, 3));
    assert_eq!((event.attributes.len(), event.dropped_attributes), (128, 3));
    let description = cut.to_owned().into();
    assert_eq!(data.status, Status::Error { description });
    provider.shutdown().unwrap();
}

#[test]
fn a_flush_that_fails_is_told_to_the_sdk() {
    let refused = || -> Result<Telling, ExportError> { Err(ExportError::new("no certificate")) };
    let intake = otel::Intake::new(traced(otel::Exporter::in_runtime(refused)));
    match intake.force_flush() {
        Err(OTelSdkError::InternalFailure(why)) => assert!(why.contains("no certificate"), "{why}"),
        other => panic!("{other:?}"),
    }
}

// -------------------------------------------------------------------------------------------------------- the sampler

/// Decides as it is told, and tells what it was asked.
#[derive(Clone, Debug)]
struct Scripted {
    decision: SamplingDecision,
    state: &'static str,
    asked: Recorder<String>,
}

impl ShouldSample for Scripted {
    fn should_sample(
        &self,
        parent: Option<&api::Context>,
        trace_id: api::TraceId,
        name: &str,
        kind: &api::trace::SpanKind,
        attributes: &[KeyValue],
        links: &[api::trace::Link],
    ) -> SamplingResult {
        let parent = parent.map(|parent| {
            let span = parent.span().span_context().clone();
            let (flags, state) = (span.trace_flags().to_u8(), span.trace_state().header());
            format!("{} {flags} {state} {}", span.span_id(), span.is_remote())
        });
        let rest = attributes.len() + links.len();
        self.asked
            .record(format!("{parent:?} {trace_id} {name} {kind:?} {rest}"));
        SamplingResult {
            decision: self.decision.clone(),
            attributes: vec![KeyValue::new("ignored", 1)],
            trace_state: self.state.parse().unwrap(),
        }
    }
}

fn ids() -> (TraceId, SpanId) {
    (
        TraceId::new(0xd2_0000_0000_0000).unwrap(),
        SpanId::new(7).unwrap(),
    )
}

#[test]
fn a_sampler_is_asked_what_the_sdk_would_ask() {
    let asked = Recorder::new();
    let adapter = otel::SamplerAdapter::new(Scripted {
        decision: SamplingDecision::Drop,
        state: "",
        asked: asked.clone(),
    });
    let (trace, span) = ids();
    let params = SampleParams::new(trace, "GET", SpanKind::Server);
    assert_eq!(params.decide(&adapter), Decision::Drop);
    let remote = Remote::new(
        trace,
        span,
        Flags::SAMPLED | Flags::RANDOM,
        "a=1".parse().unwrap(),
    );
    assert_eq!(params.parent(&remote).decide(&adapter), Decision::Drop);
    let id = "000000000000000000d2000000000000";
    assert_eq!(
        asked.take(),
        [
            format!("None {id} GET Server 0"),
            format!("Some(\"0000000000000007 3 a=1 true\") {id} GET Server 0"),
        ]
    );
}

#[test]
fn a_threshold_counts_only_if_the_sampler_has_published_it() {
    let (trace, span) = ids();
    let half = Threshold::for_probability(0.5);
    for (decision, received, returned, expected) in [
        (SamplingDecision::Drop, "", "ot=th:8", Decision::Drop),
        (SamplingDecision::RecordOnly, "", "ot=th:8", Decision::Drop),
        (
            SamplingDecision::RecordAndSample,
            "",
            "",
            Decision::RecordAndSample { threshold: None },
        ),
        (
            SamplingDecision::RecordAndSample,
            "",
            "ot=th:8",
            Decision::RecordAndSample { threshold: half },
        ),
        (
            SamplingDecision::RecordAndSample,
            "ot=th:c",
            "ot=th:8",
            Decision::RecordAndSample { threshold: half },
        ),
        // Passed on, it says nothing about this decision; and it may contradict the trace id.
        (
            SamplingDecision::RecordAndSample,
            "ot=th:8",
            "ot=th:8",
            Decision::RecordAndSample { threshold: None },
        ),
        (
            SamplingDecision::RecordAndSample,
            "",
            "ot=th:f",
            Decision::RecordAndSample { threshold: None },
        ),
    ] {
        let adapter = otel::SamplerAdapter::new(Scripted {
            decision,
            state: returned,
            asked: Recorder::new(),
        });
        let remote = Remote::new(trace, span, Flags::SAMPLED, received.parse().unwrap());
        let params = SampleParams::new(trace, "GET", SpanKind::Server);
        assert_eq!(
            params.parent(&remote).decide(&adapter),
            expected,
            "{received} {returned}"
        );
    }
}

#[test]
fn the_samplers_of_the_sdk_decide() {
    let share = |sampler: sdk::trace::Sampler| {
        let tracer = Tracer::builder("shop")
            .sampler(ParentBased::root(otel::SamplerAdapter::new(sampler)))
            .build()
            .unwrap();
        (0..1000)
            .filter(|_| tracer.span("x").start().is_recording())
            .count()
    };
    assert_eq!(share(sdk::trace::Sampler::AlwaysOn), 1000);
    assert_eq!(share(sdk::trace::Sampler::AlwaysOff), 0);
    // Standard deviation 16: eight of them is beyond any chance.
    assert!(share(sdk::trace::Sampler::TraceIdRatioBased(0.5)).abs_diff(500) < 128);
}

// ------------------------------------------------------------------------------------------------------- conversions

#[test]
fn contexts_of_the_other_side() {
    let (trace, span) = ids();
    let local = Context::new().with_span(trace, span, Flags::SAMPLED | Flags::RECORDING | Flags::RANDOM);
    let theirs = otel::span_context(&local, None);
    assert!(theirs.is_valid() && theirs.is_sampled() && !theirs.is_remote());
    assert_eq!(theirs.trace_flags(), TraceFlags::new(3));
    assert_eq!(otel::context(&theirs), Some(local));
    assert_eq!(otel::span_context(&Context::new(), None), SpanContext::NONE);
    assert_eq!(otel::context(&SpanContext::NONE), None);
    assert_eq!(otel::remote(&SpanContext::NONE), None);

    let elsewhere = SpanContext::new(
        theirs.trace_id(),
        theirs.span_id(),
        TraceFlags::new(0xff),
        true,
        api::trace::TraceState::from_key_value([("empty", ""), ("b", "2"), ("a", "1\t1"), ("c", "3")])
            .unwrap(),
    );
    assert_eq!(otel::context(&elsewhere), None); // it can only be a parent
    let remote = otel::remote(&elsewhere).unwrap();
    assert_eq!((remote.trace_id(), remote.span_id()), (trace, span));
    assert_eq!(remote.flags(), Flags::SAMPLED | Flags::RANDOM);
    assert_eq!(remote.tracestate().to_string(), "b=2,c=3"); // what W3C allows
    let unsampled = SpanContext::new(
        theirs.trace_id(),
        theirs.span_id(),
        TraceFlags::default(),
        false,
        api::trace::TraceState::default(),
    );
    assert_eq!(otel::context(&unsampled).unwrap().flags(), Flags::NONE);
}

// ----------------------------------------------------------------------------------------------------- the propagator

/// Lines of headers, as a server has them.
#[derive(Debug)]
struct Lines(Vec<(&'static str, String)>);

impl Extractor for Lines {
    fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find_map(|(name, value)| (*name == key).then_some(&**value))
    }

    fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| *name).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let of_key = self.0.iter().filter(|(name, _)| *name == key);
        Some(of_key.map(|(_, value)| &**value).collect())
    }
}

fn lines(parents: &[&str], states: &[&str]) -> Lines {
    let parents = parents.iter().map(|line| ("traceparent", (*line).to_owned()));
    let states = states.iter().map(|line| ("tracestate", (*line).to_owned()));
    Lines(parents.chain(states).collect())
}

fn through(lines: &Lines) -> (api::Context, HashMap<String, String>) {
    let propagator = otel::Propagator::new();
    let context = propagator.extract_with_context(&api::Context::new(), lines);
    let mut sent = HashMap::new();
    propagator.inject_context(&context, &mut sent);
    (context, sent)
}

#[test]
fn the_propagator_reads_what_the_recommendation_allows() {
    for (parents, states, parent, state) in [
        (&[CALLER][..], &[][..], Some(CALLER), None),
        (&[CALLER], &["a=1", " , b=2 "], Some(CALLER), Some("a=1,b=2")),
        (
            &[CALLER],
            &["tenant@a@b=1,a=1"],
            Some(CALLER),
            Some("tenant@a@b=1,a=1"),
        ),
        (&[CALLER], &["a=1,BAD=2"], Some(CALLER), None),
        (&[CALLER], &["a=1\n"], Some(CALLER), None),
        (&[CALLER], &[""], Some(CALLER), None),
        (&[CALLER, CALLER], &["a=1"], None, None),
        (
            &["00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"],
            &["a=1"],
            None,
            None,
        ),
        (
            &["00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-"],
            &["a=1"],
            None,
            None,
        ),
        (
            &["00-00000000000000000000000000000000-00f067aa0ba902b7-01"],
            &[],
            None,
            None,
        ),
        (
            &["ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
            &[],
            None,
            None,
        ),
        (&["\u{7f}"], &[], None, None),
        (&[], &["a=1"], None, None),
    ] {
        let (context, sent) = through(&lines(parents, states));
        assert_eq!(context.has_active_span(), parent.is_some(), "{parents:?}");
        let field = |name| sent.get(name).map(String::as_str);
        assert_eq!(
            (field("traceparent"), field("tracestate")),
            (parent, state),
            "{parents:?} {states:?}"
        );
    }
    let fields: Vec<_> = otel::Propagator::new().fields().map(ToOwned::to_owned).collect();
    assert_eq!(fields, ["traceparent", "tracestate"]);
}

/// Puts a member of its own into every `tracestate`, and takes one away.
#[derive(Clone, Debug)]
struct Vendor;

impl ShouldSample for Vendor {
    fn should_sample(
        &self,
        parent: Option<&api::Context>,
        _: api::TraceId,
        _: &str,
        _: &api::trace::SpanKind,
        _: &[KeyValue],
        _: &[api::trace::Link],
    ) -> SamplingResult {
        let state = parent.map(|parent| parent.span().span_context().trace_state().clone());
        let state = state.unwrap_or_default().insert("vendor", "new").unwrap();
        SamplingResult {
            decision: SamplingDecision::RecordAndSample,
            attributes: Vec::new(),
            trace_state: state.delete("gone").unwrap(),
        }
    }
}

#[test]
fn a_span_of_the_sdk_goes_on_with_what_it_got() {
    let pass = |provider: &SdkTracerProvider, flags: &str, state: &str| {
        let parent = format!("{}-{flags}", &CALLER[..52]);
        let (context, _) = through(&lines(&[&parent], &[state]));
        let tracer = provider.tracer("server");
        let context = context.with_span(tracer.start_with_context("request", &context));
        let span = context.span().span_context().clone();
        let mut sent = HashMap::new();
        otel::Propagator::new().inject_context(&context, &mut sent);
        (span, sent)
    };
    let plain = SdkTracerProvider::builder().build();
    for (flags, after) in [("03", "03"), ("01", "01"), ("fd", "01")] {
        let (span, sent) = pass(&plain, flags, "x@a@b=1,a=2");
        assert_eq!(
            sent["traceparent"],
            format!("{}-{}-{after}", &CALLER[..35], span.span_id())
        );
        assert_ne!(span.span_id().to_string(), CALLER[36..52]);
        assert_eq!(sent["tracestate"], "x@a@b=1,a=2"); // the SDK cannot hold the first
    }
    let vendor = SdkTracerProvider::builder().with_sampler(Vendor).build();
    let (_, sent) = pass(&vendor, "03", "x@a@b=1,gone=1,vendor=old,a=2");
    assert_eq!(sent["tracestate"], "vendor=new,x@a@b=1,a=2");
    let (_, sent) = pass(&vendor, "03", "vendor=new,a=2");
    assert_eq!(sent["tracestate"], "vendor=new,a=2");

    // A trace that starts here has nothing to do with what was received before.
    let (context, _) = through(&lines(&[CALLER], &["x@a@b=1,a=2"]));
    let root = plain.tracer("x").start_with_context("root", &api::Context::new());
    let context = context.with_span(root);
    let mut sent = HashMap::new();
    otel::Propagator::new().inject_context(&context, &mut sent);
    assert!(sent["traceparent"].ends_with("-01"));
    assert!(!sent.contains_key("tracestate"));

    let mut nothing = HashMap::new();
    otel::Propagator::new().inject_context(&api::Context::new(), &mut nothing);
    assert!(nothing.is_empty());
}

proptest! {
    #[test]
    fn the_propagator_agrees_with_extract(
        parents in prop::collection::vec("(00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]|\\PC{0,60})", 0..3),
        states in prop::collection::vec("([a-z@]{1,4}=[ -~]{0,6},?){0,3}|\\PC{0,9}", 0..3),
    ) {
        let mut headers = HeaderMap::new();
        for (name, values) in [("traceparent", &parents), ("tracestate", &states)] {
            for value in values {
                headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
        }
        let parents: Vec<_> = parents.iter().map(String::as_str).collect();
        let states: Vec<_> = states.iter().map(String::as_str).collect();
        let (context, sent) = through(&lines(&parents, &states));
        let remote = extract(&headers);
        prop_assert_eq!(context.has_active_span(), remote.is_some());
        if let Some(remote) = remote {
            let mut again = HeaderMap::new();
            for (name, value) in &sent {
                let name: http::HeaderName = name.parse().unwrap();
                again.insert(name, value.parse().unwrap());
            }
            prop_assert_eq!(extract(&again), Some(remote));
        } else {
            prop_assert!(sent.is_empty());
        }
    }

    #[test]
    fn tracestates_keep_what_both_can_hold(list in "([a-z][a-z@]{0,3}=[!-+./-9;<>-~]{1,5},){0,6}") {
        let ours: TraceState = list.parse().unwrap();
        let theirs = otel::tracestate(&ours);
        let mut expected = Vec::new();
        for (key, value) in ours.iter() {
            if api::trace::TraceState::from_key_value([(key, value)]).is_ok() {
                expected.push((key.to_owned(), value.to_owned()));
            }
        }
        let (trace, span) = ids();
        let context = Context::new().with_span(trace, span, Flags::NONE);
        let back = otel::remote(&otel::span_context(&context, Some(&ours))).unwrap();
        let held: Vec<_> = back.tracestate().iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        prop_assert_eq!(&held, &expected);
        prop_assert_eq!(theirs.into_iter().count(), expected.len());
    }
}

#[test]
fn nothing_is_handed_over_of_a_trace_that_is_not_recorded() {
    #[derive(Debug)]
    struct Count(Arc<AtomicUsize>);
    impl SpanExporter for Count {
        async fn export(&self, batch: Vec<sdk::trace::SpanData>) -> OTelSdkResult {
            self.0.fetch_add(batch.len(), Ordering::Relaxed);
            Ok(())
        }
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let tracer = Tracer::builder("shop")
        .sampler(AlwaysOff)
        .export(otel::Exporter::new(Count(Arc::clone(&calls))))
        .build()
        .unwrap();
    tracer.span("x").start().end();
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}
