//! What spans look like to a collector.

use cortex_core::{Context, Flags, SpanId, TraceId};
use cortex_testkit::ManualClock;
use cortex_trace::{Attribute, Exporter, Otlp, SpanKind, Tracer, Value as Attr};
use http::{HeaderMap, Method};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, span};
use serde_json::Value as Json;
use std::time::{Duration, SystemTime};

use super::collector::{Collector, Speaks};
use crate::support::AGES;

/// Makes spans that have everything and sends them.
fn everything(exporter: impl Exporter) {
    let clock = ManualClock::new();
    clock.set_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    let tracer = Tracer::builder("shop")
        .resource("service.version", "1.4.2")
        .resource("replicas", 3)
        .clock(clock.clone())
        .restart_traces()
        .export(exporter)
        .build()
        .unwrap();
    let mut headers = HeaderMap::new();
    headers.insert(
        "traceparent",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
            .parse()
            .unwrap(),
    );
    headers.insert("tracestate", "congo=t61rcWkgMzE".parse().unwrap());
    let start = cortex_trace::ServerStart {
        method: &Method::GET,
        path: "/items/7",
        start: cortex_core::Clock::now(&clock),
    };
    drop(tracer.server(&headers, start)); // has a link

    let parent = Context::new().with_span(
        TraceId::new(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736).unwrap(),
        SpanId::new(0x00f0_67aa_0ba9_02b7).unwrap(),
        Flags::SAMPLED | Flags::RANDOM | Flags::RECORDING,
    );
    let state = "congo=t61rcWkgMzE".parse().unwrap();
    let mut span = tracer
        .span("charge")
        .kind(SpanKind::Client)
        .parent(parent)
        .tracestate(state)
        .start();
    span.set_attribute("text", "é");
    span.set_attribute("empty", "");
    span.set_attribute("int", -7);
    span.set_attribute("zero", 0);
    span.set_attribute("float", 0.5);
    span.set_attribute("no", false);
    span.set_attribute("nan", f64::NAN);
    clock.advance(Duration::from_millis(2));
    span.add_event_with("retry", [Attribute::new("attempt", 2)]);
    for at in 0..130 {
        span.set_attribute(format!("more.{at}"), at);
    }
    span.set_error("declined");
    clock.advance(Duration::from_millis(3));
    span.end();
    tracer.shutdown_blocking(AGES).unwrap();
    assert_eq!(tracer.stats().exported, 2);
}

fn check(request: &ExportTraceServiceRequest) {
    let [resource_spans] = &request.resource_spans[..] else {
        panic!("{request:?}")
    };
    let resource = resource_spans.resource.as_ref().unwrap();
    assert_eq!(
        values(&resource.attributes),
        [
            ("service.name", Value::StringValue("shop".into())),
            ("service.version", Value::StringValue("1.4.2".into())),
            ("replicas", Value::IntValue(3)),
        ]
    );
    let [scope_spans] = &resource_spans.scope_spans[..] else {
        panic!("{request:?}")
    };
    let scope = scope_spans.scope.as_ref().unwrap();
    assert_eq!(
        (&*scope.name, &*scope.version),
        ("cortex-trace", env!("CARGO_PKG_VERSION"))
    );
    let [server, charge] = &scope_spans.spans[..] else {
        panic!("{request:?}")
    };
    check_server(server);
    check_charge(charge);
}

fn check_server(span: &Span) {
    assert_eq!(span.kind, span::SpanKind::Server as i32);
    assert!(span.parent_span_id.is_empty());
    assert_eq!(span.flags, 0x103); // random, sampled, known not to have a remote parent
    let [link] = &span.links[..] else {
        panic!("{span:?}")
    };
    assert_eq!(hex(&link.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(&link.span_id), "00f067aa0ba902b7");
    assert_eq!((&*link.trace_state, link.flags), ("congo=t61rcWkgMzE", 0x301));
}

fn check_charge(span: &Span) {
    assert_eq!(hex(&span.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(hex(&span.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(span.span_id.len(), 8);
    assert_eq!((&*span.trace_state, span.flags), ("congo=t61rcWkgMzE", 0x103));
    assert_eq!(
        (&*span.name, span.kind),
        ("charge", span::SpanKind::Client as i32)
    );
    let start = 1_700_000_000_000_000_000;
    assert_eq!(span.start_time_unix_nano, start);
    assert_eq!(span.end_time_unix_nano, start + 5_000_000);
    let attributes = values(&span.attributes);
    assert_eq!(
        attributes[..6],
        [
            ("text", Value::StringValue("é".into())),
            ("empty", Value::StringValue(String::new())),
            ("int", Value::IntValue(-7)),
            ("zero", Value::IntValue(0)),
            ("float", Value::DoubleValue(0.5)),
            ("no", Value::BoolValue(false)),
        ]
    );
    assert!(matches!(attributes[6], ("nan", Value::DoubleValue(nan)) if nan.is_nan()));
    assert_eq!((span.attributes.len(), span.dropped_attributes_count), (128, 10));
    let [event] = &span.events[..] else {
        panic!("{span:?}")
    };
    assert_eq!((&*event.name, event.time_unix_nano), ("retry", start + 2_000_000));
    assert_eq!(values(&event.attributes), [("attempt", Value::IntValue(2))]);
    assert_eq!(span.status.as_ref().unwrap().code, 2);
}

fn values(attributes: &[KeyValue]) -> Vec<(&str, Value)> {
    attributes
        .iter()
        .map(|pair| {
            let value = pair.value.as_ref().and_then(|any| any.value.clone());
            (pair.key.as_str(), value.unwrap())
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

#[test]
fn http_protobuf() {
    let collector = Collector::start(Speaks::Http, []);
    let otlp = collector.exporter().header("x-tenant", "shop").unwrap();
    everything(otlp);
    let received = collector.next();
    assert_eq!(received.path, "/v1/traces");
    assert_eq!(received.headers["content-type"], "application/x-protobuf");
    assert_eq!(
        received.headers["content-length"],
        received.body.len().to_string()
    );
    assert_eq!(received.headers["x-tenant"], "shop");
    assert!(
        received.headers["user-agent"]
            .to_str()
            .unwrap()
            .starts_with("cortex-trace/")
    );
    check(&received.decode());
}

#[test]
fn grpc() {
    let collector = Collector::start(Speaks::Grpc, []);
    let otlp = collector.exporter().header("x-tenant", "shop").unwrap();
    everything(otlp);
    let received = collector.next();
    assert_eq!(
        received.path,
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    );
    for (name, value) in [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "10000m"),
        ("x-tenant", "shop"),
    ] {
        assert_eq!(received.headers[name], value);
    }
    check(&received.decode_framed());
}

#[test]
fn http_json() {
    let collector = Collector::start(Speaks::Http, []);
    everything(Otlp::http_json(&collector.url()).unwrap());
    let received = collector.next();
    assert_eq!(received.headers["content-type"], "application/json");
    let request: Json = serde_json::from_slice(&received.body).unwrap();
    let spans = &request["resourceSpans"][0]["scopeSpans"][0]["spans"];
    assert_eq!(spans[0]["flags"], 0x103);
    assert_eq!(spans[0]["links"][0]["flags"], 0x301);
    assert_eq!(spans[1]["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(spans[1]["attributes"][2]["value"]["intValue"], "-7");
    assert_eq!(spans[1]["droppedAttributesCount"], 10);
}

#[cfg(feature = "gzip")]
#[test]
fn gzip() {
    use std::io::Read;

    let unpack = |bytes: &[u8]| {
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(bytes)
            .read_to_end(&mut unpacked)
            .unwrap();
        unpacked
    };
    for speaks in [Speaks::Http, Speaks::Grpc] {
        let collector = Collector::start(speaks, []);
        everything(collector.exporter().gzip(true));
        let received = collector.next();
        let (headers, body) = (received.headers, received.body);
        let message = match speaks {
            Speaks::Http => {
                assert_eq!(headers["content-encoding"], "gzip");
                unpack(&body)
            }
            Speaks::Grpc => {
                assert_eq!(
                    (&headers["grpc-encoding"], body[0]),
                    (&"gzip".parse().unwrap(), 1)
                );
                unpack(&body[5..])
            }
        };
        check(&prost::Message::decode(&*message).unwrap());
    }
}

#[test]
fn one_connection_is_enough() {
    for speaks in [Speaks::Http, Speaks::Grpc] {
        let collector = Collector::start(speaks, []);
        let tracer = Tracer::builder("shop")
            .export(collector.exporter())
            .build()
            .unwrap();
        for _ in 0..3 {
            tracer.span("work").start().end();
            tracer.flush_blocking(AGES).unwrap();
            assert_eq!(collector.next().spans(), 1);
        }
        assert_eq!((tracer.stats().exported, collector.connections()), (3, 1));
    }
}

#[test]
fn what_is_too_large_for_collectors_goes_in_parts() {
    static CONSTANT: [u8; 4096] = [b'x'; 4096];
    let text = std::str::from_utf8(&CONSTANT).unwrap();
    // Constants take no memory, so that only the exporter sees how large a request gets.
    for (text, expected) in [(Attr::constant(text), 4), (Attr::from(text), 3)] {
        let collector = Collector::start(Speaks::Grpc, []);
        let tracer = Tracer::builder("shop")
            .batch_delay(Duration::from_hours(1))
            .export(collector.exporter())
            .build()
            .unwrap();
        for _ in 0..20 {
            let mut span = tracer.span("large").start();
            for at in 0..100 {
                span.set_attribute(format!("text.{at}"), text.clone());
            }
        }
        tracer.shutdown_blocking(AGES).unwrap();
        let (mut spans, mut requests) = (0, 0);
        while spans < 20 {
            let received = collector.next();
            assert!(received.body.len() < 4 << 20);
            spans += received.spans();
            requests += 1;
        }
        assert_eq!((spans, requests, tracer.stats().exported), (20, expected, 20));
    }
}
