use std::hint::black_box;
use std::io;
use std::sync::atomic::Ordering;

use fastmetrics::derive::LabelSet as FastLabels;
use measured::LabelGroup;
use measured::lasso::{Rodeo, RodeoReader};
use opentelemetry::KeyValue;
use prometheus_client::encoding::EncodeLabelSet;
use serde::Serialize;

use crate::bench::Bench;
use crate::labels::{LabelSet, METHODS, NAMES, ROUTES, STATUSES, label_sets};
use crate::peers::{Macros, OpenTelemetry};

type ClientCounter = prometheus_client::metrics::counter::Counter;
type FastCounter = fastmetrics::metrics::counter::Counter<u64>;

cortex_metrics::labels! {
    #[derive(Copy)]
    struct Ours {
        method: &'static str,
        route: &'static str,
        status: u16,
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet, FastLabels, Serialize)]
struct Theirs {
    method: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(LabelGroup)]
#[label(set = KnownSet)]
struct Known<'a> {
    #[label(fixed_with = RodeoReader)]
    method: &'a str,
    #[label(fixed_with = RodeoReader)]
    route: &'a str,
    #[label(fixed_with = RodeoReader)]
    status: &'a str,
}

impl From<LabelSet> for Known<'static> {
    fn from(labels: LabelSet) -> Self {
        let [method, route, status] = labels.values();
        Self {
            method,
            route,
            status,
        }
    }
}

/// Counts with three labels that are static strings and a number, each time another one of 160 series.
pub(crate) fn measure(bench: &mut Bench<'_>, macros: &Macros) -> io::Result<()> {
    let sets = label_sets(|labels| Ours {
        method: labels.method,
        route: labels.route,
        status: labels.status,
    });
    let family = cortex_metrics::Family::new(cortex_metrics::Counter::default);
    let inc = |set: &Ours| black_box(&family).with(set, cortex_metrics::Counter::inc);
    let sum = || sets.iter().map(|labels| family.handle(labels).get()).sum();
    bench.of("cortex", &sets, inc, sum)?;

    typed_peers(bench)?;

    let sets = label_sets(|labels| labels.values());
    let options = prometheus::Opts::new("family", "Help.");
    let family = prometheus::IntCounterVec::new(options, &NAMES).expect("the names are right");
    let inc = |set: &[&str; 3]| black_box(&family).with_label_values(set).inc();
    let sum = || {
        sets.iter()
            .map(|values| family.with_label_values(values).get())
            .sum()
    };
    bench.of("tikv", &sets, inc, sum)?;

    // The values are known, which makes its labels fixed: an array and no map.
    let sets = label_sets(|labels| labels);
    let reader = |values: &[&'static str]| values.iter().collect::<Rodeo>().into_reader();
    let family = measured::CounterVec::dense_with_label_set(KnownSet {
        method: reader(&METHODS),
        route: reader(&ROUTES),
        status: reader(&STATUSES.map(|(_, text)| text)),
    });
    let inc = |set: &LabelSet| black_box(&family).inc(Known::from(*set));
    let sum = || {
        let count = |labels: &LabelSet| {
            let id = family.with_labels(Known::from(*labels));
            family.get_metric(id).count.load(Ordering::Relaxed)
        };
        sets.iter().map(count).sum()
    };
    bench.of("measured", &sets, inc, sum)?;

    let inc = |set: &LabelSet| {
        let [method, route, status] = set.values();
        metrics::counter!("family", "method" => method, "route" => route, "status" => status).increment(1);
    };
    bench.of("metrics", &sets, inc, || macros.counted("family"))?;

    let sets = label_sets(|labels| {
        [
            KeyValue::new("method", labels.method),
            KeyValue::new("route", labels.route),
            KeyValue::new("status", i64::from(labels.status)),
        ]
    });
    let pipeline = OpenTelemetry::new();
    let counter = pipeline.meter().u64_counter("family").build();
    let inc = |set: &[KeyValue; 3]| black_box(&counter).add(1, set);
    bench.of("opentelemetry", &sets, inc, || pipeline.counted())
}

/// Measures the peers that take a struct of labels.
fn typed_peers(bench: &mut Bench<'_>) -> io::Result<()> {
    let sets = label_sets(|labels| Theirs {
        method: labels.method,
        route: labels.route,
        status: labels.status,
    });

    let family = prometheus_client::metrics::family::Family::<Theirs, ClientCounter>::default();
    let inc = |set: &Theirs| {
        black_box(&family).get_or_create(set).inc();
    };
    let sum = || sets.iter().map(|labels| family.get_or_create(labels).get()).sum();
    bench.of("prometheus-client", &sets, inc, sum)?;

    let family = foundations_metrics::Family::<Theirs, foundations_metrics::ThreadLocalCounter>::default();
    let inc = |set: &Theirs| black_box(&family).get_or_create(set).inc();
    let sum = || sets.iter().map(|labels| family.get_or_create(labels).get()).sum();
    bench.of("foundations", &sets, inc, sum)?;

    let family = fastmetrics::metrics::family::Family::<Theirs, FastCounter>::default();
    let inc = |set: &Theirs| black_box(&family).with_or_new(set, FastCounter::inc);
    let sum = || {
        sets.iter()
            .map(|labels| family.with_or_new(labels, FastCounter::total))
            .sum()
    };
    bench.of("fastmetrics", &sets, inc, sum)
}
