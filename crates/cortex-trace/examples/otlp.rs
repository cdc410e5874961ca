//! Sends a trace and its logs to a collector:
//! `cargo run -p cortex-trace --features otlp,logs --example otlp -- grpc http://localhost:4317`.
#![expect(clippy::print_stdout, reason = "it tells what became of everything")]

use std::error::Error;
use std::time::Duration;

use cortex_trace::{Attribute, Otlp, OtlpLogs, SpanKind, Tracer};
use tracing_subscriber::layer::SubscriberExt;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [protocol, url] = &arguments[..] else {
        return Err("usage: otlp http|json|grpc URL".into());
    };
    let collector = || match protocol.as_str() {
        "http" => Otlp::http(url),
        "json" => Otlp::http_json(url),
        _ => Otlp::grpc(url),
    };
    let tracer = Tracer::builder("shop")
        .resource("service.version", "1.4.2")
        .export(collector()?)
        .build()?;
    let logs = OtlpLogs::builder("shop").start(collector()?)?;
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(logs.clone()))?;

    let restock = tracer.span("restock").kind(SpanKind::Consumer).start();
    restock.in_scope(|| {
        let mut count = tracer.span("count").start();
        count.set_attribute("items", 12);
        count.set_attribute("shelf", "A-7");
        count.add_event_with("recount", [Attribute::new("attempt", 2)]);
        count.set_error("mismatch");
        count.in_scope(|| tracing::warn!(items = 12, "counted again"));
    });
    let trace = restock.context().trace_id().ok_or("a span has a trace")?;
    restock.end();

    let time = Duration::from_secs(20);
    tracer.shutdown_blocking(time)?;
    logs.shutdown_blocking(time)?;
    let (spans, records) = (tracer.stats(), logs.stats());
    println!("{trace} {} {}", spans.exported, records.exported);
    if let Some((_, error)) = tracer.last_errors().next() {
        return Err(error.into());
    }
    logs.last_error().map_or(Ok(()), |error| Err(error.into()))
}
