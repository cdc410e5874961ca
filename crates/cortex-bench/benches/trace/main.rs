//! What a request pays for its trace, beside the OpenTelemetry SDK with its own header adapters.
//!
//! Spans are exported to nobody. Recorded ones are made in bursts that fit both queues, which are emptied outside the
//! measured time: a span that is dropped because the queue is full would be a cheap one.

mod baggage;
mod bridge;
mod logs;
mod sampler;
mod tail;

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use axum::http::Method;
use axum::http::header::{HOST, HeaderMap, HeaderValue, USER_AGENT};
use cortex_core::{Clock, Context, SpanId, SystemClock};
use cortex_trace::{AlwaysOff, AlwaysOn, ParentBased, ServerEnd, ServerStart, Tracer, propagation};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span, SpanKind, Tracer as _, TracerProvider};
use opentelemetry::{Context as OtelContext, KeyValue};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter};

const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const UNSAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
const TRACESTATE: &str = "congo=ucfJifl5GOE,rojo=00f067aa0ba902b7,ot=th:c";

/// Fewer than the 512 that make either exporter's thread send a batch by itself.
const BURST: u64 = 256;

fn main() -> io::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    propagate(&mut criterion, "propagate", None);
    propagate(&mut criterion, "propagate-tracestate", Some(TRACESTATE));
    unsampled(&mut criterion);
    direct(&mut criterion);
    sampled(&mut criterion);
    baggage::measure(&mut criterion);
    sampler::measure(&mut criterion)?;
    tail::measure(&mut criterion);
    logs::measure(&mut criterion);
    bridge::bridge(&mut criterion);
    criterion.final_summary();
    Ok(())
}

fn received(traceparent: &'static str, tracestate: Option<&'static str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "shop.example"),
        ("user-agent", "curl/8.11.0"),
        ("accept", "*/*"),
        ("traceparent", traceparent),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(tracestate) = tracestate {
        // A slice of the head as it was read from the socket, which is what a server hands out.
        let head = bytes::Bytes::from(format!("tracestate: {tracestate}\r\n"));
        let value = head.slice("tracestate: ".len()..head.len() - 2);
        headers.insert(
            "tracestate",
            HeaderValue::from_maybe_shared(value).expect("it is valid"),
        );
    }
    headers
}

/// Reads the caller's context and writes it, with another span, into the headers of an outgoing request.
fn propagate(criterion: &mut Criterion, name: &str, tracestate: Option<&'static str>) {
    let mut group = criterion.benchmark_group(name);
    let received = received(SAMPLED, tracestate);
    let span_id = SpanId::new(7).expect("not zero");

    let mut ours = HeaderMap::new();
    group.bench_function("cortex", |b| {
        b.iter(|| {
            let remote = propagation::extract(black_box(&received)).expect("it is valid");
            let context = Context::new().with_span(remote.trace_id(), span_id, remote.flags());
            propagation::inject(&context, Some(remote.tracestate()), &mut ours);
        });
    });

    let propagator = TraceContextPropagator::new();
    let mut theirs = HeaderMap::new();
    group.bench_function("opentelemetry", |b| {
        b.iter(|| {
            let context =
                propagator.extract_with_context(&OtelContext::new(), &HeaderExtractor(black_box(&received)));
            propagator.inject_context(&context, &mut HeaderInjector(&mut theirs));
        });
    });

    // Empty when a filter left one of them out.
    for sent in [ours, theirs].iter().filter(|sent| !sent.is_empty()) {
        let traceparent = sent["traceparent"].to_str().expect("it is text");
        assert_eq!(traceparent[..36], SAMPLED[..36]);
        // The SDK sends an empty `tracestate` where none came, so only one that did can be compared.
        assert!(tracestate.is_none_or(|received| sent["tracestate"] == received));
    }
}

/// Serves a request whose caller decided not to sample.
fn unsampled(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("server-unsampled");
    let headers = received(UNSAMPLED, None);
    let tracer = ours();
    group.bench_function("cortex", |b| b.iter(|| serve_ours(&tracer, black_box(&headers))));
    assert_eq!(tracer.stats().enqueued, 0);
    let (propagator, provider) = (TraceContextPropagator::new(), theirs());
    let tracer = provider.tracer("bench");
    group.bench_function("opentelemetry", |b| {
        b.iter(|| serve_theirs(&propagator, &tracer, black_box(&headers)));
    });
}

/// Makes and ends the span of a request that came without a trace and is not sampled, by somebody who has read the
/// clock: the span alone.
fn direct(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("server-direct");
    let tracer = Tracer::builder("bench")
        .sampler(AlwaysOff)
        .build()
        .expect("nothing can fail");
    let (headers, now) = (HeaderMap::new(), SystemClock.now());
    group.bench_function("cortex", |b| {
        b.iter(|| {
            let start = ServerStart {
                method: &Method::GET,
                path: "/products/7",
                start: now,
            };
            let mut span = tracer.server(black_box(&headers), start);
            black_box(span.context());
            span.finish(ServerEnd {
                status: Some(200),
                end: now,
                error: None,
            });
        });
    });
}

/// Serves a request that is recorded.
fn sampled(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("server-sampled");
    let headers = received(SAMPLED, None);

    let tracer = ours();
    in_bursts(
        &mut group,
        "cortex",
        || serve_ours(&tracer, black_box(&headers)),
        || {
            tracer
                .flush_blocking(Duration::from_secs(5))
                .expect("nothing holds it up");
        },
    );
    assert_eq!(tracer.stats().dropped(), 0);

    let (propagator, provider) = (TraceContextPropagator::new(), theirs());
    let tracer = provider.tracer("bench");
    in_bursts(
        &mut group,
        "opentelemetry",
        || serve_theirs(&propagator, &tracer, black_box(&headers)),
        || provider.force_flush().expect("nothing holds it up"),
    );
}

/// Measures `work` in bursts, with `settle` after each, outside of the time.
fn in_bursts(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut work: impl FnMut(),
    settle: impl Fn(),
) {
    group.bench_function(name, |b| {
        b.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            let mut left = iterations;
            while left > 0 {
                let burst = left.min(BURST);
                let start = SystemClock.now();
                for _ in 0..burst {
                    work();
                }
                spent += since(start);
                left -= burst;
                settle();
            }
            spent
        });
    });
}

fn since(start: Instant) -> Duration {
    SystemClock.now().saturating_duration_since(start)
}

fn ours() -> Tracer {
    struct Nowhere;
    impl cortex_trace::Exporter for Nowhere {
        fn export(&mut self, batch: &[&cortex_trace::SpanData]) -> Result<(), cortex_trace::ExportError> {
            black_box(batch);
            Ok(())
        }
    }
    Tracer::builder("bench")
        .sampler(ParentBased::root(AlwaysOn))
        .export(Nowhere)
        .build()
        .expect("a thread can be started")
}

/// Both clock reads are inside although the service that calls this has them anyway: the SDK makes its own.
fn serve_ours(tracer: &Tracer, headers: &HeaderMap) {
    let start = ServerStart {
        method: &Method::GET,
        path: "/products/7",
        start: SystemClock.now(),
    };
    let mut span = tracer.server(headers, start);
    black_box(span.context());
    span.set_route("/products/{id}");
    span.finish(ServerEnd {
        status: Some(200),
        end: SystemClock.now(),
        error: None,
    });
}

fn theirs() -> SdkTracerProvider {
    #[derive(Debug)]
    struct Nowhere;
    impl SpanExporter for Nowhere {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            black_box(batch);
            Ok(())
        }
    }
    SdkTracerProvider::builder()
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
        .with_batch_exporter(Nowhere)
        .build()
}

/// With the attributes that ours sets by itself.
fn serve_theirs(propagator: &TraceContextPropagator, tracer: &SdkTracer, headers: &HeaderMap) {
    let parent = propagator.extract_with_context(&OtelContext::new(), &HeaderExtractor(headers));
    let mut span = tracer
        .span_builder("GET")
        .with_kind(SpanKind::Server)
        .start_with_context(tracer, &parent);
    black_box(span.span_context());
    if span.is_recording() {
        span.set_attribute(KeyValue::new("http.request.method", "GET"));
        span.set_attribute(KeyValue::new("url.path", "/products/7".to_owned()));
        span.set_attribute(KeyValue::new("url.scheme", "http"));
        for (key, header) in [("server.address", HOST), ("user_agent.original", USER_AGENT)] {
            if let Some(Ok(value)) = headers.get(header).map(HeaderValue::to_str) {
                span.set_attribute(KeyValue::new(key, value.to_owned()));
            }
        }
        span.set_attribute(KeyValue::new("http.route", "/products/{id}".to_owned()));
        span.set_attribute(KeyValue::new("http.response.status_code", 200));
        span.update_name("GET /products/{id}");
    }
    span.end();
}
