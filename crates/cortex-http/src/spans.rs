use cortex_metrics::Samples;
use cortex_trace::{Stats, Tracer};

/// The name that the conventions have for what collects spans into batches.
const PROCESSOR: &str = "batching_span_processor";

/// Reads what became of spans at each scrape, by OpenTelemetry's conventions for the metrics of an SDK as far as they go.
///
/// <https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics>
pub(crate) fn collect_spans(tracer: &Tracer, out: &mut Samples<'_>) {
    for (index, (exporter, stats)) in tracer.stats_by_exporter().enumerate() {
        // The queue bears the name of its exporter, so that both can be seen as one; two may be of one type.
        let name = format!("{exporter}/{index}");
        processor(&name, &stats, out);
        export(&name, exporter, &stats, out);
    }
    let untracked = tracer.stats().untracked;
    if untracked > 0 || tracer.stats_by_exporter().next().is_some() {
        // Of no exporter, and nothing that the conventions know.
        let help = "Spans of the tracing crate that were not traced, as too many others were open";
        out.counter("cortex_trace_untracked_spans", help, &[], float(untracked));
    }
}

fn processor(name: &str, stats: &Stats, out: &mut Samples<'_>) {
    let labels = [("otel_component_name", name), ("otel_component_type", PROCESSOR)];
    out.gauge(
        "otel_sdk_processor_span_queue_size",
        "Spans that wait for the exporter",
        &labels,
        float(stats.queued),
    );
    out.gauge(
        "otel_sdk_processor_span_queue_capacity",
        "Spans that can wait for the exporter",
        &labels,
        float(stats.queue_capacity),
    );
    let handed_on = stats.enqueued - stats.dropped() - stats.queued;
    for (error, spans) in [
        (None, handed_on),
        (Some("queue_full"), stats.dropped_queue_full),
        (Some("after_shutdown"), stats.dropped_after_shutdown),
    ] {
        let help = "Spans that were handed to the exporter, or dropped before";
        with_error(&labels, error, |labels| {
            out.counter("otel_sdk_processor_span_processed", help, labels, float(spans));
        });
    }
}

fn export(name: &str, exporter: &str, stats: &Stats, out: &mut Samples<'_>) {
    let labels = [("otel_component_name", name), ("otel_component_type", exporter)];
    out.gauge(
        "otel_sdk_exporter_span_inflight",
        "Spans that the exporter is about to export",
        &labels,
        float(stats.in_flight - stats.queued),
    );
    for (error, spans) in [
        (None, stats.exported),
        (Some("rejected"), stats.rejected),
        (Some("_OTHER"), stats.failed),
    ] {
        let help = "Spans whose export is over, whether it went well or not";
        with_error(&labels, error, |labels| {
            out.counter("otel_sdk_exporter_span_exported", help, labels, float(spans));
        });
    }
}

fn with_error(&[name, kind]: &[(&str, &str); 2], error: Option<&str>, then: impl FnOnce(&[(&str, &str)])) {
    match error {
        None => then(&[name, kind]),
        Some(error) => then(&[name, kind, ("error_type", error)]),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a metric is a float")]
fn float(count: u64) -> f64 {
    count as f64
}
