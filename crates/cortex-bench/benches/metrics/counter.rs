use std::hint::black_box;
use std::io;
use std::sync::atomic::Ordering;

use crate::bench::Bench;
use crate::peers::{Macros, OpenTelemetry};

/// Adds one to a counter without labels.
pub(crate) fn measure(bench: &mut Bench<'_>, macros: &Macros) -> io::Result<()> {
    let nothing = [()];

    let counter = cortex_metrics::Counter::default();
    let inc = |&(): &()| black_box(&counter).inc();
    bench.of("cortex", &nothing, inc, || counter.get())?;

    let counter = prometheus_client::metrics::counter::Counter::<u64>::default();
    let inc = |&(): &()| {
        black_box(&counter).inc();
    };
    bench.of("prometheus-client", &nothing, inc, || counter.get())?;

    let counter = foundations_metrics::ThreadLocalCounter::<u64>::default();
    let inc = |&(): &()| black_box(&counter).inc();
    bench.of("foundations", &nothing, inc, || counter.get())?;

    let counter = prometheus::IntCounter::new("counter", "Help.").expect("the name is right");
    let inc = |&(): &()| black_box(&counter).inc();
    bench.of("tikv", &nothing, inc, || counter.get())?;

    let counter = fastmetrics::metrics::counter::Counter::<u64>::default();
    let inc = |&(): &()| black_box(&counter).inc();
    bench.of("fastmetrics", &nothing, inc, || counter.total())?;

    let counter = measured::Counter::new();
    let inc = |&(): &()| black_box(&counter).inc();
    let sum = || counter.get_metric().count.load(Ordering::Relaxed);
    bench.of("measured", &nothing, inc, sum)?;

    let counter = metrics::counter!("counter");
    let inc = |&(): &()| black_box(&counter).increment(1);
    bench.of("metrics", &nothing, inc, || macros.counted("counter"))?;

    let pipeline = OpenTelemetry::new();
    let counter = pipeline.meter().u64_counter("counter").build();
    let inc = |&(): &()| black_box(&counter).add(1, &[]);
    bench.of("opentelemetry", &nothing, inc, || pipeline.counted())?;

    let pipeline = OpenTelemetry::new();
    let counter = pipeline.meter().u64_counter("counter").build().bind(&[]);
    let inc = |&(): &()| black_box(&counter).add(1);
    bench.of("opentelemetry-bound", &nothing, inc, || pipeline.counted())
}
