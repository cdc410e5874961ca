use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fastmetrics::derive::LabelSet as FastLabels;
use measured::LabelGroup;
use metrics::{Label, SharedString};
use opentelemetry::{KeyValue, StringValue};
use paracord::ParaCord;
use serde::Serialize;

use crate::bench::Bench;
use crate::labels::{NAMES, label_sets};
use crate::peers::{Macros, OpenTelemetry};

type ClientCounter = prometheus_client::metrics::counter::Counter;
type FastCounter = fastmetrics::metrics::counter::Counter<u64>;

#[derive(Clone, PartialEq, Eq, Hash, FastLabels, Serialize)]
struct Owned {
    method: String,
    route: String,
    status: String,
}

#[derive(LabelGroup)]
#[label(set = InternedSet)]
struct Interned<'a> {
    #[label(dynamic_with = ParaCord, default)]
    method: &'a str,
    #[label(dynamic_with = ParaCord, default)]
    route: &'a str,
    #[label(dynamic_with = ParaCord, default)]
    status: &'a str,
}

impl<'a> From<&'a [String; 3]> for Interned<'a> {
    fn from([method, route, status]: &'a [String; 3]) -> Self {
        Self {
            method,
            route,
            status,
        }
    }
}

/// Counts with three labels whose values came up while running, each time another one of 160 series.
///
/// Ours, `tikv` and `measured` take three `&str`. The others get what they want as owned values made beforehand, so
/// that only their lookup counts: whoever has just parsed the values pays for several allocations, too.
pub(crate) fn measure(bench: &mut Bench<'_>, macros: &Macros) -> io::Result<()> {
    let sets = label_sets(|labels| labels.values().map(String::from));

    let family = cortex_metrics::DynamicFamily::new(NAMES, cortex_metrics::Counter::default);
    let inc = |set: &[String; 3]| {
        let values = set.each_ref().map(String::as_str);
        black_box(&family).with(values, cortex_metrics::Counter::inc);
    };
    let sum = || {
        sets.iter()
            .map(|values| family.handle(values.each_ref().map(String::as_str)).get())
            .sum()
    };
    bench.of("cortex", &sets, inc, sum)?;

    let options = prometheus::Opts::new("family_dynamic", "Help.");
    let family = prometheus::IntCounterVec::new(options, &NAMES).expect("the names are right");
    let inc = |set: &[String; 3]| black_box(&family).with_label_values(set).inc();
    let sum = || {
        sets.iter()
            .map(|values| family.with_label_values(values).get())
            .sum()
    };
    bench.of("tikv", &sets, inc, sum)?;

    let family = measured::CounterVec::with_label_set(InternedSet::default());
    let inc = |set: &[String; 3]| black_box(&family).inc(Interned::from(set));
    let sum = || {
        let count = |values| {
            let id = family.with_labels(Interned::from(values));
            family.get_metric(id).count.load(Ordering::Relaxed)
        };
        sets.iter().map(count).sum()
    };
    bench.of("measured", &sets, inc, sum)?;

    owning_peers(bench)?;

    let shared = |value: &'static str| SharedString::from_shared(Arc::from(value));
    let sets = label_sets(|labels| {
        let [method, route, status] = labels.values();
        [
            Label::new("method", shared(method)),
            Label::new("route", shared(route)),
            Label::new("status", shared(status)),
        ]
    });
    let inc = |set: &[Label; 3]| metrics::counter!("family_dynamic", set.iter()).increment(1);
    bench.of("metrics", &sets, inc, || macros.counted("family_dynamic"))?;

    let shared = |value: &'static str| StringValue::from(Arc::<str>::from(value));
    let sets = label_sets(|labels| {
        let [method, route, status] = labels.values();
        [
            KeyValue::new("method", shared(method)),
            KeyValue::new("route", shared(route)),
            KeyValue::new("status", shared(status)),
        ]
    });
    let pipeline = OpenTelemetry::new();
    let counter = pipeline.meter().u64_counter("family_dynamic").build();
    let inc = |set: &[KeyValue; 3]| black_box(&counter).add(1, set);
    bench.of("opentelemetry", &sets, inc, || pipeline.counted())
}

/// Measures the peers whose keys are owned values.
fn owning_peers(bench: &mut Bench<'_>) -> io::Result<()> {
    let sets = label_sets(|labels| {
        let pairs = NAMES.into_iter().zip(labels.values());
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect::<Vec<_>>()
    });
    let family =
        prometheus_client::metrics::family::Family::<Vec<(String, String)>, ClientCounter>::default();
    let inc = |set: &Vec<(String, String)>| {
        black_box(&family).get_or_create(set).inc();
    };
    let sum = || sets.iter().map(|labels| family.get_or_create(labels).get()).sum();
    bench.of("prometheus-client", &sets, inc, sum)?;

    let sets = label_sets(|labels| {
        let [method, route, status] = labels.values().map(String::from);
        Owned {
            method,
            route,
            status,
        }
    });
    let family = foundations_metrics::Family::<Owned, foundations_metrics::ThreadLocalCounter>::default();
    let inc = |set: &Owned| black_box(&family).get_or_create(set).inc();
    let sum = || sets.iter().map(|labels| family.get_or_create(labels).get()).sum();
    bench.of("foundations", &sets, inc, sum)?;

    let family = fastmetrics::metrics::family::Family::<Owned, FastCounter>::default();
    let inc = |set: &Owned| black_box(&family).with_or_new(set, FastCounter::inc);
    let sum = || {
        sets.iter()
            .map(|labels| family.with_or_new(labels, FastCounter::total))
            .sum()
    };
    bench.of("fastmetrics", &sets, inc, sum)
}
