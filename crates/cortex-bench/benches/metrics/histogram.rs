use std::hint::black_box;
use std::io;
use std::sync::atomic::Ordering;

use cortex_metrics::{Buckets, NativeBuckets};
use fastmetrics::metrics::histogram::HistogramSnapshot;
use measured::metric::histogram::Thresholds;
use prometheus_client::encoding::prometheus_protobuf;
use prometheus_client::metrics::histogram::NativeHistogramConfig;

use crate::bench::Bench;
use crate::peers::{Macros, OpenTelemetry};

/// Bounds for a request's seconds.
pub(crate) const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Lists values from 0.1 ms to 18 s, in no order.
fn values() -> Vec<f64> {
    (0..128_i32).map(|n| 1e-4 * 1.1_f64.powi(n * 61 % 128)).collect()
}

/// Reads what only an exposition tells.
fn count_of(histogram: &prometheus_client::metrics::histogram::Histogram) -> u64 {
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register("histogram", "Help", histogram.clone());
    let families = prometheus_protobuf::encode(&registry).expect("it can be encoded");
    let histogram = families[0].metric[0].histogram.as_ref();
    histogram
        .map(|histogram| histogram.sample_count)
        .expect("it has a count")
}

/// Observes a value with classic buckets.
pub(crate) fn classic(bench: &mut Bench<'_>, macros: &Macros) -> io::Result<()> {
    let values = values();

    let histogram = cortex_metrics::Histogram::classic(&Buckets::new(BOUNDS).expect("they rise"));
    let observe = |value: &f64| black_box(&histogram).observe(*value);
    let sum = || histogram.snapshot().count();
    bench.of("cortex", &values, observe, sum)?;

    let histogram = prometheus_client::metrics::histogram::Histogram::new(BOUNDS);
    let observe = |value: &f64| black_box(&histogram).observe(*value);
    bench.of("prometheus-client", &values, observe, || count_of(&histogram))?;

    // Its lock-free histogram takes nanoseconds.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "18 s at most"
    )]
    let nanos: Vec<u64> = values.iter().map(|seconds| (seconds * 1e9) as u64).collect();
    let histogram = foundations_metrics::TimeHistogram::new(BOUNDS);
    let observe = |nanos: &u64| black_box(&histogram).observe(*nanos);
    bench.of("foundations", &nanos, observe, || histogram.snapshot().count())?;

    let options = prometheus::HistogramOpts::new("histogram", "Help.").buckets(BOUNDS.into());
    let histogram = prometheus::Histogram::with_opts(options).expect("the name is right");
    let observe = |value: &f64| black_box(&histogram).observe(*value);
    bench.of("tikv", &values, observe, || histogram.get_sample_count())?;

    let histogram = fastmetrics::metrics::histogram::Histogram::new(BOUNDS);
    let observe = |value: &f64| black_box(&histogram).observe(*value);
    let sum = || histogram.with_snapshot(HistogramSnapshot::count);
    bench.of("fastmetrics", &values, observe, sum)?;

    let histogram = measured::Histogram::with_metadata(Thresholds::with_buckets(BOUNDS));
    let observe = |value: &f64| black_box(&histogram).observe(*value);
    let sum = || {
        let metric = histogram.get_metric();
        let state = metric.inner.write();
        let counts = state.buckets.iter().chain([&state.inf]);
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    };
    bench.of("measured", &values, observe, sum)?;

    // It keeps every value until the next upkeep sorts them into buckets: that work is not in its time.
    let histogram = metrics::histogram!("histogram");
    let observe = |value: &f64| black_box(&histogram).record(*value);
    let sum = || macros.counted("histogram_count");
    bench.of_with_upkeep("metrics", &values, observe, sum, || macros.upkeep())?;

    let pipeline = OpenTelemetry::new();
    let meter = pipeline.meter();
    let histogram = meter
        .f64_histogram("histogram")
        .with_boundaries(BOUNDS.into())
        .build();
    let observe = |value: &f64| black_box(&histogram).record(*value, &[]);
    bench.of("opentelemetry", &values, observe, || pipeline.counted())?;

    let pipeline = OpenTelemetry::new();
    let meter = pipeline.meter();
    let histogram = meter
        .f64_histogram("histogram")
        .with_boundaries(BOUNDS.into())
        .build()
        .bind(&[]);
    let observe = |value: &f64| black_box(&histogram).record(*value);
    bench.of("opentelemetry-bound", &values, observe, || pipeline.counted())
}

/// Observes a value with native buckets, called exponential by OpenTelemetry, of schema 3.
pub(crate) fn native(bench: &mut Bench<'_>) -> io::Result<()> {
    let values = values();

    let buckets = NativeBuckets::with_schema(3).expect("there is one");
    let histogram = cortex_metrics::Histogram::native(buckets);
    let observe = |value: &f64| black_box(&histogram).observe(*value);
    bench.of("cortex", &values, observe, || histogram.snapshot().count())?;

    let config = NativeHistogramConfig::with_schema(3);
    let histogram = prometheus_client::metrics::histogram::Histogram::new_native(config);
    let observe = |value: &f64| black_box(&histogram).observe(*value);
    bench.of("prometheus-client", &values, observe, || count_of(&histogram))?;

    let pipeline = OpenTelemetry::exponential();
    let histogram = pipeline.meter().f64_histogram("histogram").build().bind(&[]);
    let observe = |value: &f64| black_box(&histogram).record(*value);
    bench.of("opentelemetry-bound", &values, observe, || pipeline.counted())
}
