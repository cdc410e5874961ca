use std::error::Error;
use std::hint::black_box;

use cortex_metrics::Format;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use fastmetrics::derive::LabelSet as FastLabels;
use fastmetrics::format::text::TextProfile;
use foundations_metrics::EncodeMetric;
use measured::lasso::{Rodeo, RodeoReader};
use measured::text::BufferedTextEncoder;
use measured::{CounterVec, LabelGroup, MetricGroup};
use metrics_exporter_prometheus::PrometheusBuilder;
use paracord::ParaCord;
use prometheus::TextEncoder;
use prometheus_client::encoding::EncodeLabelSet;
use serde::Serialize;

use crate::labels::{METHODS, ROUTES};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const NAME: &str = "http_requests";
const HELP: &str = "Requests answered";

cortex_metrics::labels! {
    #[derive(Copy)]
    struct Ours {
        method: &'static str,
        route: &'static str,
        tenant: u32,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet, FastLabels, Serialize)]
struct Theirs {
    method: &'static str,
    route: &'static str,
    tenant: u32,
}

impl From<Ours> for Theirs {
    fn from(labels: Ours) -> Self {
        let Ours {
            method,
            route,
            tenant,
        } = labels;
        Self {
            method,
            route,
            tenant,
        }
    }
}

#[derive(LabelGroup)]
#[label(set = InternedSet)]
struct Interned<'a> {
    #[label(fixed_with = RodeoReader)]
    method: &'a str,
    #[label(fixed_with = RodeoReader)]
    route: &'a str,
    #[label(dynamic_with = ParaCord, default)]
    tenant: &'a str,
}

#[derive(MetricGroup)]
struct InternedMetrics {
    /// Requests answered
    http_requests_total: CounterVec<InternedSet>,
}

/// Lists as many label sets, each with what its series has counted.
fn series(count: u32) -> impl Iterator<Item = (Ours, u64)> {
    (0..count).zip(1..).map(|(tenant, counted)| {
        let n = tenant as usize;
        let labels = Ours {
            method: METHODS[n % 4],
            route: ROUTES[n / 4 % 8],
            tenant,
        };
        (labels, counted)
    })
}

/// Encodes `count` series of one counter family as text: in `OpenMetrics` if the library has it, else in 0.0.4, which
/// here differs in a line.
pub(crate) fn text(criterion: &mut Criterion, group: &str, count: u32) -> Outcome {
    let mut group = criterion.benchmark_group(group);
    // The slowest takes a quarter of a second each time.
    group.sample_size(if count > 10_000 { 10 } else { 40 });

    let registry = ours(count)?;
    let mut out = Vec::new();
    let encode = || {
        out.clear();
        encode_ours(&registry, Format::OpenMetrics1, &mut out);
        out.len()
    };
    run(&mut group, "cortex", encode);
    check(std::str::from_utf8(&out)?, count);

    let registry = prometheus_client(count);
    let mut out = String::new();
    let encode = || {
        out.clear();
        prometheus_client::encoding::text::encode(&mut out, &registry).expect("a string takes all");
        out.len()
    };
    run(&mut group, "prometheus-client", encode);
    check(&out, count);

    let metric = foundations(count);
    let mut out = String::new();
    let encode = || {
        out = foundations_metrics::encode_to_text(&metric.encode());
        out.len()
    };
    run(&mut group, "foundations", encode);
    check(&out, count);

    fastmetrics(&mut group, count)?;
    tikv(&mut group, count)?;
    measured(&mut group, count)?;
    metrics(&mut group, count);
    group.finish();
    Ok(())
}

/// Encodes `count` series of one counter family in Prometheus' protobuf format.
pub(crate) fn protobuf(criterion: &mut Criterion, group: &str, count: u32) -> Outcome {
    let mut group = criterion.benchmark_group(group);

    let registry = ours(count)?;
    let mut out = Vec::new();
    let encode = || {
        out.clear();
        encode_ours(&registry, Format::Protobuf, &mut out);
        out.len()
    };
    run(&mut group, "cortex", encode);
    check_protobuf(&out, count);

    let registry = prometheus_client(count);
    let mut out = Vec::new();
    let encode = || {
        out = prometheus_client::encoding::prometheus_protobuf::encode_to_vec(&registry)
            .expect("it can be encoded");
        out.len()
    };
    run(&mut group, "prometheus-client", encode);
    check_protobuf(&out, count);

    let metric = foundations(count);
    let mut out = Vec::new();
    let encode = || {
        out = foundations_metrics::encode_to_protobuf(&metric.encode());
        out.len()
    };
    run(&mut group, "foundations", encode);
    check_protobuf(&out, count);
    group.finish();
    Ok(())
}

fn run(group: &mut BenchmarkGroup<'_, WallTime>, library: &str, mut encode: impl FnMut() -> usize) {
    group.bench_function(library, |bencher| bencher.iter(&mut encode));
    // A filter may have left it out, but what it gives is checked all the same.
    encode();
}

/// Checks that every series is there, with its count.
fn check(text: &str, count: u32) {
    let samples = text
        .lines()
        .filter(|line| line.starts_with("http_requests_total{"));
    assert_eq!(samples.count(), count as usize);
    let count = u64::from(count);
    assert_eq!(
        crate::peers::total(text, "http_requests_total"),
        count * (count + 1) / 2
    );
}

/// Checks that every series is there: each has one label of this name.
fn check_protobuf(bytes: &[u8], count: u32) {
    let name = b"\x0a\x06method";
    let found = bytes.windows(name.len()).filter(|window| window == name);
    assert_eq!(found.count(), count as usize);
}

fn ours(count: u32) -> Outcome<cortex_metrics::Registry> {
    let registry = cortex_metrics::Registry::default();
    let family = cortex_metrics::Family::new(cortex_metrics::Counter::default).max_series(count as usize);
    registry.register(NAME, HELP, family.clone())?;
    for (labels, counted) in series(count) {
        family.with(&labels, |counter| counter.add(counted));
    }
    Ok(registry)
}

fn encode_ours(registry: &cortex_metrics::Registry, format: Format, out: &mut Vec<u8>) {
    black_box(registry).encode(format, out);
}

fn prometheus_client(count: u32) -> prometheus_client::registry::Registry {
    type Counter = prometheus_client::metrics::counter::Counter;
    let mut registry = prometheus_client::registry::Registry::default();
    let family = prometheus_client::metrics::family::Family::<Theirs, Counter>::default();
    registry.register(NAME, HELP, family.clone());
    for (labels, counted) in series(count) {
        family.get_or_create(&labels.into()).inc_by(counted);
    }
    registry
}

/// Without its global registry, which would add the validation of what it collected.
fn foundations(count: u32) -> impl EncodeMetric {
    let family = foundations_metrics::Family::<Theirs, foundations_metrics::ThreadLocalCounter>::default();
    for (labels, counted) in series(count) {
        family.get_or_create(&labels.into()).inc_by(counted);
    }
    foundations_metrics::NamedMetric::new("http_requests_total", HELP, family)
}

fn fastmetrics(group: &mut BenchmarkGroup<'_, WallTime>, count: u32) -> Outcome {
    type Counter = fastmetrics::metrics::counter::Counter<u64>;
    let mut registry = fastmetrics::registry::Registry::default();
    let family = fastmetrics::metrics::family::Family::<Theirs, Counter>::default();
    registry.register(NAME, HELP, family.clone())?;
    for (labels, counted) in series(count) {
        family.with_or_new(&labels.into(), |counter| counter.inc_by(counted));
    }
    let mut out = String::new();
    let encode = || {
        out.clear();
        fastmetrics::format::text::encode(&mut out, &registry, TextProfile::default())
            .expect("a string takes all");
        out.len()
    };
    run(group, "fastmetrics", encode);
    check(&out, count);
    Ok(())
}

fn tikv(group: &mut BenchmarkGroup<'_, WallTime>, count: u32) -> Outcome {
    let registry = prometheus::Registry::new();
    let options = prometheus::Opts::new("http_requests_total", HELP);
    let family = prometheus::IntCounterVec::new(options, &["method", "route", "tenant"])?;
    registry.register(Box::new(family.clone()))?;
    for (labels, counted) in series(count) {
        family
            .with_label_values(&[labels.method, labels.route, &labels.tenant.to_string()])
            .inc_by(counted);
    }
    let mut out = String::new();
    let encode = || {
        out.clear();
        TextEncoder::new()
            .encode_utf8(&registry.gather(), &mut out)
            .expect("a string takes all");
        out.len()
    };
    run(group, "tikv", encode);
    check(&out, count);
    Ok(())
}

fn measured(group: &mut BenchmarkGroup<'_, WallTime>, count: u32) -> Outcome {
    let reader = |values: &[&'static str]| values.iter().collect::<Rodeo>().into_reader();
    let set = InternedSet::new(reader(&METHODS), reader(&ROUTES));
    let metrics = InternedMetrics {
        http_requests_total: CounterVec::with_label_set(set),
    };
    for (labels, counted) in series(count) {
        let labels = Interned {
            method: labels.method,
            route: labels.route,
            tenant: &labels.tenant.to_string(),
        };
        metrics.http_requests_total.inc_by(labels, counted);
    }
    let mut encoder = BufferedTextEncoder::new();
    let mut out = bytes::Bytes::new();
    let encode = || {
        let Ok(()) = metrics.collect_group_into(&mut encoder);
        out = encoder.finish();
        out.len()
    };
    run(group, "measured", encode);
    check(std::str::from_utf8(&out)?, count);
    Ok(())
}

fn metrics(group: &mut BenchmarkGroup<'_, WallTime>, count: u32) {
    let recorder = PrometheusBuilder::new().build_recorder();
    metrics::with_local_recorder(&recorder, || {
        metrics::describe_counter!("http_requests_total", HELP);
        for (labels, counted) in series(count) {
            let tenant = labels.tenant.to_string();
            metrics::counter!("http_requests_total", "method" => labels.method, "route" => labels.route, "tenant" => tenant)
                .increment(counted);
        }
    });
    let handle = recorder.handle();
    let mut out = String::new();
    let encode = || {
        out = handle.render();
        out.len()
    };
    run(group, "metrics", encode);
    check(&out, count);
}
