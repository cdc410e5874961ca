//! The protobuf format, read back by prost from the schema as it is published.

use std::collections::BTreeMap;

use cortex_core::{Context, Flags, SpanId, TraceId};
use cortex_metrics::{
    Buckets, ContentType, Counter, CounterF64, Escaping, Format, Histogram, HistogramBuilder, Info,
    NativeBuckets, Registry, StateSet,
};
use proptest::prelude::*;
use prost::Message;

use crate::parser;

/// <https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto>, as far as we write it.
#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(uint32, tag = "3")]
    kind: u32,
    #[prost(message, repeated, tag = "4")]
    metrics: Vec<Metric>,
    #[prost(string, tag = "5")]
    unit: String,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Pair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "5")]
    untyped: Option<Number>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<HistogramMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// `Gauge`, `Counter` and `Untyped`, which share their fields.
#[derive(Clone, PartialEq, Message)]
struct Number {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(message, optional, tag = "2")]
    exemplar: Option<Exemplar>,
    #[prost(message, optional, tag = "3")]
    created: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct HistogramMessage {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    sum: f64,
    #[prost(message, repeated, tag = "3")]
    buckets: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(message, repeated, tag = "9")]
    negative_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "10")]
    negative_deltas: Vec<i64>,
    #[prost(message, repeated, tag = "12")]
    positive_spans: Vec<Span>,
    #[prost(sint64, repeated, tag = "13")]
    positive_deltas: Vec<i64>,
    #[prost(message, optional, tag = "15")]
    created: Option<Timestamp>,
    #[prost(message, repeated, tag = "16")]
    exemplars: Vec<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative: u64,
    #[prost(double, tag = "2")]
    bound: f64,
    #[prost(message, optional, tag = "3")]
    exemplar: Option<Exemplar>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Pair>,
    #[prost(double, tag = "2")]
    value: f64,
    #[prost(message, optional, tag = "3")]
    time: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn decode(registry: &Registry) -> Vec<MetricFamily> {
    decode_escaped(registry, Escaping::default())
}

fn decode_escaped(registry: &Registry, escaping: Escaping) -> Vec<MetricFamily> {
    let mut bytes = Vec::new();
    let format = Format::Protobuf;
    registry.encode(ContentType { format, escaping }, &mut bytes);
    let mut rest = &bytes[..];
    let mut families = Vec::new();
    while !rest.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut rest).unwrap());
    }
    families
}

fn pairs(pairs: &[Pair]) -> Vec<(&str, &str)> {
    pairs.iter().map(|pair| (&*pair.name, &*pair.value)).collect()
}

/// Returns the samples that the text format would have.
pub(crate) fn samples(registry: &Registry, escaping: Escaping) -> Vec<parser::Sample> {
    let mut all = Vec::new();
    for family in decode_escaped(registry, escaping) {
        for metric in &family.metrics {
            let labels = pairs(&metric.labels);
            let labels: BTreeMap<String, String> =
                labels.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
            assert_eq!(labels.len(), metric.labels.len(), "a label is there twice");
            let mut push = |suffix: &str, le: Option<f64>, value| {
                let mut labels = labels.clone();
                labels.extend(le.map(|le| ("le".to_owned(), format!("{le:?}"))));
                let name = family.name.clone() + suffix;
                all.push(parser::Sample { name, labels, value });
            };
            match (
                family.kind,
                &metric.counter,
                &metric.gauge,
                &metric.untyped,
                &metric.histogram,
            ) {
                (0, Some(number), None, None, None)
                | (1, None, Some(number), None, None)
                | (3, None, None, Some(number), None) => push("", None, number.value),
                (4, None, None, None, Some(histogram)) => {
                    #[expect(clippy::cast_precision_loss, reason = "as the text has it")]
                    let count = |count: u64| count as f64;
                    let finite = histogram.buckets.iter().filter(|bucket| bucket.bound.is_finite());
                    finite.for_each(|bucket| push("_bucket", Some(bucket.bound), count(bucket.cumulative)));
                    push("_bucket", Some(f64::INFINITY), count(histogram.count));
                    push("_sum", None, histogram.sum);
                    push("_count", None, count(histogram.count));
                }
                _ => panic!("a metric of another type than its family: {metric:?}"),
            }
        }
    }
    all
}

#[test]
fn every_type() {
    cortex_metrics::label_enum! {
        enum Light { Red = "red", Green = "green" }
    }
    let registry = Registry::default();
    let (trace, span) = (TraceId::new(7).unwrap(), SpanId::new(9).unwrap());
    let _guard = Context::new().with_span(trace, span, Flags::SAMPLED).attach();
    let counter = Counter::with_exemplars();
    let sub = registry.sub_registry("app", [("zone", "\"a\"\n")]).unwrap();
    sub.register("hits_total", "Hits.\n", counter.clone()).unwrap();
    counter.add(3);
    let waited = CounterF64::default();
    registry
        .register_with_unit("waited", "", "seconds", waited.clone())
        .unwrap();
    waited.add(0.5);
    registry
        .register("build", "", Info::new([("version", "1")]))
        .unwrap();
    registry
        .register("light", "", StateSet::new(Light::Green))
        .unwrap();
    let [hits, waited, build, light] = &decode(&registry)[..] else {
        panic!("four families")
    };
    assert_eq!(
        (&*hits.name, &*hits.help, hits.kind),
        ("app_hits_total", "Hits.\n", 0)
    );
    assert_eq!(pairs(&hits.metrics[0].labels), [("zone", "\"a\"\n")]);
    let counter = hits.metrics[0].counter.as_ref().unwrap();
    let exemplar = counter.exemplar.as_ref().unwrap();
    let ids = [
        ("trace_id", "00000000000000000000000000000007"),
        ("span_id", "0000000000000009"),
    ];
    assert_eq!(pairs(&exemplar.labels), ids);
    assert_eq!(
        (counter.value.to_bits(), exemplar.value.to_bits()),
        (3_f64.to_bits(), 3_f64.to_bits())
    );
    let (created, seen) = (counter.created.as_ref().unwrap(), exemplar.time.as_ref().unwrap());
    assert!(
        created.seconds > 1_700_000_000 && seen.seconds >= created.seconds && created.nanos < 1_000_000_000
    );
    assert_eq!(
        (&*waited.name, &*waited.unit),
        ("waited_seconds_total", "seconds")
    );
    assert_eq!((&*build.name, build.kind), ("build_info", 1));
    let states: Vec<_> = light.metrics.iter().map(|metric| pairs(&metric.labels)).collect();
    assert_eq!(states, [[("light", "red")], [("light", "green")]]);
    let value = |at: usize| light.metrics[at].gauge.as_ref().unwrap().value.to_bits();
    assert_eq!([value(0), value(1)], [0_f64.to_bits(), 1_f64.to_bits()]);
}

#[test]
fn a_histogram_shows_classic_and_native_buckets() {
    let registry = Registry::default();
    let histogram = Histogram::builder(&Buckets::new([1.0, 2.0]).unwrap())
        .with_native(NativeBuckets::with_schema(0).unwrap().zero_threshold(0.001))
        .build();
    registry.register("h", "", histogram.clone()).unwrap();
    for value in [0.0, 0.5, 1.0, 1.5, 100.0] {
        histogram.observe(value);
    }
    histogram.observe_with(7.0, &[("order", "4711")]);
    let families = decode(&registry);
    let h = families[0].metrics[0].histogram.as_ref().unwrap();
    assert_eq!((h.count, h.sum.to_bits()), (6, 110_f64.to_bits()));
    let buckets: Vec<_> = h
        .buckets
        .iter()
        .map(|bucket| (bucket.bound.to_bits(), bucket.cumulative))
        .collect();
    // +Inf is only there to bear its exemplar.
    let expected =
        [(1.0, 3), (2.0, 4), (f64::INFINITY, 6)].map(|(bound, count): (f64, u64)| (bound.to_bits(), count));
    assert_eq!(buckets, expected);
    let exemplar = h.buckets[2].exemplar.as_ref().unwrap();
    assert_eq!(pairs(&exemplar.labels), [("order", "4711")]);
    assert_eq!(h.exemplars, std::slice::from_ref(exemplar));
    assert_eq!(
        (h.schema, h.zero_count, h.zero_threshold.to_bits()),
        (0, 1, 0.001_f64.to_bits())
    );
    // (0.25, 0.5], (0.5, 1], (1, 2], then (4, 8] and (64, 128].
    let spans: Vec<_> = h
        .positive_spans
        .iter()
        .map(|span| (span.offset, span.length))
        .collect();
    assert_eq!(spans, [(-1, 3), (1, 1), (3, 1)]);
    assert_eq!(h.positive_deltas, [1, 0, 0, 0, 0]);
    // The text formats have the classic ones only.
    assert!(registry.to_text().contains("h_bucket{le=\"2.0\"} 4\n"));
}

#[test]
fn an_empty_native_histogram_can_be_told_from_a_classic_one() {
    let registry = Registry::default();
    let config = NativeBuckets::default().zero_threshold(0.0);
    registry.register("h", "", Histogram::native(config)).unwrap();
    let families = decode(&registry);
    let h = families[0].metrics[0].histogram.as_ref().unwrap();
    assert_eq!(h.positive_spans, [Span { offset: 0, length: 0 }]);
    assert_eq!(registry.to_text(), "", "no text format knows it");
    assert_eq!(registry.to_open_metrics(), "# EOF\n");
}

/// Returns the buckets that spans and deltas stand for.
fn unfold(spans: &[Span], deltas: &[i64]) -> Vec<(i32, u64)> {
    let (mut at, mut count, mut deltas) = (0, 0, deltas.iter());
    let mut buckets = Vec::new();
    for span in spans {
        at += span.offset;
        for _ in 0..span.length {
            count += deltas.next().unwrap();
            buckets.push((at, u64::try_from(count).unwrap()));
            at += 1;
        }
    }
    assert_eq!(deltas.next(), None);
    buckets
}

proptest! {
    #[test]
    fn native_buckets_read_back(
        values in prop::collection::vec(prop_oneof![-1e9..1e9_f64, -1.0..1.0_f64, any::<f64>()], 0..80),
        schema in -4..=8_i8,
        max in 1..300_usize,
    ) {
        let config = NativeBuckets::with_schema(schema).unwrap().max_buckets(max);
        let histogram = HistogramBuilder::native_only(config).signed().build();
        for value in &values {
            histogram.observe(*value);
        }
        let registry = Registry::default();
        registry.register("h", "", histogram.clone()).unwrap();
        let (families, snapshot) = (decode(&registry), histogram.snapshot());
        let (h, native) = (families[0].metrics[0].histogram.as_ref().unwrap(), snapshot.native().unwrap());
        prop_assert_eq!(unfold(&h.positive_spans, &h.positive_deltas), native.positive());
        prop_assert_eq!(unfold(&h.negative_spans, &h.negative_deltas), native.negative());
        prop_assert_eq!((h.count, h.zero_count, h.schema), (snapshot.count(), native.zero_count(), native.schema().into()));
        prop_assert_eq!(h.count + histogram.dropped(), values.len() as u64);
    }
}
