//! What a measured request pays for its metrics, and a scrape for all of them, beside prometheus-client.

use std::hint::black_box;

use cortex_metrics::{Buckets, Format};
use criterion::Criterion;
use prometheus_client::encoding::EncodeLabelSet;

/// As many series as a small service has: the products of four methods, eight routes and five statuses.
const SERIES: usize = 160;

/// As many as a scrape should still take without anybody noticing.
const SCRAPED: usize = 10_000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    counter(&mut criterion);
    family(&mut criterion);
    histogram(&mut criterion);
    encode(&mut criterion);
    criterion.final_summary();
}

fn counter(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("counter");
    let counter = cortex_metrics::Counter::default();
    group.bench_function("cortex", |b| b.iter(|| black_box(&counter).inc()));
    let counter = prometheus_client::metrics::counter::Counter::<u64>::default();
    group.bench_function("prometheus-client", |b| b.iter(|| black_box(&counter).inc()));
}

cortex_metrics::labels! {
    #[derive(Copy)]
    struct Ours {
        method: &'static str,
        route: &'static str,
        status: u16,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Theirs {
    method: &'static str,
    route: &'static str,
    status: u16,
}

impl From<Ours> for Theirs {
    fn from(labels: Ours) -> Self {
        Self {
            method: labels.method,
            route: labels.route,
            status: labels.status,
        }
    }
}

/// Every label set once, in an order without a pattern that a branch predictor or a prefetcher could learn.
fn label_sets() -> Vec<Ours> {
    const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
    const ROUTES: [&str; 8] = [
        "/",
        "/catalogue",
        "/catalogue/full",
        "/products/{id}",
        "/products/{id}/reviews",
        "/basket",
        "/checkout",
        "/orders/{id}",
    ];
    const STATUSES: [u16; 5] = [200, 201, 404, 429, 500];
    let set = |n: usize| Ours {
        method: METHODS[n % 4],
        route: ROUTES[n / 4 % 8],
        status: STATUSES[n / 32],
    };
    // 97 and 160 have no common factor, so this visits all of them.
    (0..SERIES).map(|n| set(n * 97 % SERIES)).collect()
}

/// Counts with three labels, each time another one of 160 series that exist already.
fn family(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("family");
    let sets = label_sets();

    let family = cortex_metrics::Family::new(cortex_metrics::Counter::default);
    for labels in &sets {
        family.with(labels, |_| ());
    }
    assert_eq!(family.len(), SERIES);
    let mut next = sets.iter().cycle();
    group.bench_function("cortex", |b| {
        b.iter(|| {
            next.next()
                .map(|labels| family.with(labels, cortex_metrics::Counter::inc))
        });
    });

    let family = prometheus_client::metrics::family::Family::<
        Theirs,
        prometheus_client::metrics::counter::Counter,
    >::default();
    let sets: Vec<Theirs> = sets.iter().copied().map(Theirs::from).collect();
    for labels in &sets {
        drop(family.get_or_create(labels));
    }
    let mut next = sets.iter().cycle();
    group.bench_function("prometheus-client", |b| {
        b.iter(|| next.next().map(|labels| family.get_or_create(labels).inc()));
    });
}

/// Observes durations over the eleven classic bounds from 5 ms to 10 s.
fn histogram(criterion: &mut Criterion) {
    const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
    let mut group = criterion.benchmark_group("histogram");
    // From 0.1 ms to 18 s, in no order.
    let values: Vec<f64> = (0..128_i32).map(|n| 1e-4 * 1.1_f64.powi(n * 61 % 128)).collect();

    let histogram = cortex_metrics::Histogram::classic(&Buckets::new(BOUNDS).expect("they rise"));
    let mut next = values.iter().cycle();
    group.bench_function("cortex", |b| {
        b.iter(|| next.next().map(|value| histogram.observe(*value)));
    });

    let histogram = prometheus_client::metrics::histogram::Histogram::new(BOUNDS);
    let mut next = values.iter().cycle();
    group.bench_function("prometheus-client", |b| {
        b.iter(|| next.next().map(|value| histogram.observe(*value)));
    });
}

/// Encodes 10,000 series of one counter family as text, in the format both libraries have.
fn encode(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encode-10k");
    let mut sets = Vec::with_capacity(SCRAPED);
    for (n, labels) in (0_u16..).zip(label_sets().into_iter().cycle().take(SCRAPED)) {
        sets.push(Ours { status: n, ..labels });
    }

    let registry = cortex_metrics::Registry::default();
    let family = cortex_metrics::Family::new(cortex_metrics::Counter::default).max_series(SCRAPED);
    registry
        .register("http_requests", "Requests answered", family.clone())
        .expect("the name is right and new");
    for (n, labels) in (1..).zip(&sets) {
        family.with(labels, |counter| counter.add(n));
    }
    let mut ours = Vec::new();
    group.bench_function("cortex", |b| {
        b.iter(|| {
            ours.clear();
            registry.encode(Format::OpenMetrics1, &mut ours);
        });
    });

    let mut registry = prometheus_client::registry::Registry::default();
    let family = prometheus_client::metrics::family::Family::<
        Theirs,
        prometheus_client::metrics::counter::Counter,
    >::default();
    registry.register("http_requests", "Requests answered", family.clone());
    for (n, labels) in (1..).zip(&sets) {
        family.get_or_create(&Theirs::from(*labels)).inc_by(n);
    }
    let mut theirs = String::new();
    group.bench_function("prometheus-client", |b| {
        b.iter(|| {
            theirs.clear();
            prometheus_client::encoding::text::encode(&mut theirs, &registry).expect("a string takes all");
        });
    });

    // Empty when a filter left one of them out.
    if !ours.is_empty() && !theirs.is_empty() {
        let ours = String::from_utf8(ours).expect("the format is UTF-8");
        let samples = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!((samples(&ours), samples(&theirs)), (SCRAPED, SCRAPED));
    }
}
