//! What is encoded, decoded by the types of OpenTelemetry.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cortex_core::{Clock, Context, Flags, SpanId, SystemClock, TraceId};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint,
    exemplar, metric::Data, number_data_point::Value,
};
use proptest::prelude::*;
use prost::Message as _;

use super::encode::{Frame, nanos};
use crate::{
    Buckets, Counter, CounterF64, DynamicFamily, Gauge, GaugeF64, Histogram, HistogramBuilder, Info,
    LevelGauge, NameScheme, NativeBuckets, Registry, Samples, StateSet,
};

crate::label_enum! {
    enum Lamp { Red = "red", Green = "green" }
}

fn frame() -> Frame {
    Frame {
        resource: Vec::new(),
        trims_units: false,
        max_bytes: usize::MAX,
    }
}

fn decode(bytes: &[u8]) -> ExportMetricsServiceRequest {
    ExportMetricsServiceRequest::decode(bytes).unwrap()
}

/// Encodes everything at some time and returns the metrics, and how many points were counted.
fn encoded(frame: &Frame, registry: &Registry, now: SystemTime) -> (Vec<Metric>, u64) {
    let (mut metrics, mut points) = (Vec::new(), 0);
    for encoded in frame.encode(registry, now) {
        let mut request = decode(&encoded.bytes);
        assert_eq!(request.resource_metrics.len(), 1);
        let mut resource = request.resource_metrics.remove(0);
        assert_eq!(resource.scope_metrics.len(), 1);
        metrics.append(&mut resource.scope_metrics.remove(0).metrics);
        points += encoded.points;
    }
    (metrics, points)
}

fn metrics(registry: &Registry) -> Vec<Metric> {
    encoded(&frame(), registry, SystemClock.wall()).0
}

fn one(registry: &Registry) -> Metric {
    let mut metrics = metrics(registry);
    assert_eq!(metrics.len(), 1);
    metrics.remove(0)
}

fn pairs(attributes: &[KeyValue]) -> Vec<(&str, &str)> {
    fn pair(pair: &KeyValue) -> (&str, &str) {
        match pair.value.as_ref().and_then(|any| any.value.as_ref()) {
            Some(any_value::Value::StringValue(value)) => (&pair.key, value),
            other => panic!("{other:?}"),
        }
    }
    attributes.iter().map(pair).collect()
}

fn numbers(metric: &Metric) -> &[NumberDataPoint] {
    match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => {
            assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Cumulative);
            assert!(sum.is_monotonic);
            &sum.data_points
        }
        Data::Gauge(gauge) => &gauge.data_points,
        other => panic!("{other:?}"),
    }
}

fn values(metric: &Metric) -> Vec<Value> {
    numbers(metric).iter().map(|point| point.value.unwrap()).collect()
}

fn histogram(metric: &Metric) -> &HistogramDataPoint {
    match metric.data.as_ref().unwrap() {
        Data::Histogram(histogram) => {
            assert_eq!(
                histogram.aggregation_temporality(),
                AggregationTemporality::Cumulative
            );
            assert_eq!(histogram.data_points.len(), 1);
            &histogram.data_points[0]
        }
        other => panic!("{other:?}"),
    }
}

fn exponential(metric: &Metric) -> &ExponentialHistogramDataPoint {
    match metric.data.as_ref().unwrap() {
        Data::ExponentialHistogram(histogram) => {
            assert_eq!(
                histogram.aggregation_temporality(),
                AggregationTemporality::Cumulative
            );
            assert_eq!(histogram.data_points.len(), 1);
            &histogram.data_points[0]
        }
        other => panic!("{other:?}"),
    }
}

fn registry(name: &str, metric: impl crate::Metric) -> Registry {
    let registry = Registry::default();
    registry.register(name, "Help\n\"me\".", metric).unwrap();
    registry
}

#[test]
fn a_request_says_who_and_what() {
    let frame = Frame {
        resource: vec![
            ("service.name".into(), "sh\u{f6}p".into()),
            ("empty".into(), String::new()),
        ],
        ..frame()
    };
    let encoded = frame.encode(&registry("jobs", Counter::default()), UNIX_EPOCH);
    let request = decode(&encoded[0].bytes);
    let resource = &request.resource_metrics[0];
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(pairs(attributes), [("service.name", "sh\u{f6}p"), ("empty", "")]);
    let scope = resource.scope_metrics[0].scope.as_ref().unwrap();
    assert_eq!(scope.name, "cortex-metrics");
    assert_eq!(scope.version, env!("CARGO_PKG_VERSION"));
    let metric = &resource.scope_metrics[0].metrics[0];
    assert_eq!(
        (&*metric.name, &*metric.description, &*metric.unit),
        ("jobs", "Help\n\"me\".", "")
    );
    assert_eq!(pairs(&metric.metadata), [("prometheus.type", "counter")]);
}

#[test]
fn names_go_as_they_are() {
    let registry = Registry::with_names(NameScheme::Utf8);
    let sub = registry.sub_registry("", [("service.zone", "z")]).unwrap();
    let family = DynamicFamily::new(["http.\"route\""], Counter::default);
    family.with(["/"], Counter::inc);
    sub.register_with_unit("sent.all", "", "bytes", family).unwrap();
    let (metrics, _) = encoded(&frame(), &registry, UNIX_EPOCH);
    assert_eq!((&*metrics[0].name, &*metrics[0].unit), ("sent.all_bytes", "By"));
    let expected = [("service.zone", "z"), ("http.\"route\"", "/")];
    assert_eq!(pairs(&numbers(&metrics[0])[0].attributes), expected);
}

#[test]
fn nothing_is_no_request() {
    assert!(frame().encode(&Registry::default(), UNIX_EPOCH).is_empty());
    assert_eq!(encoded(&frame(), &Registry::default(), UNIX_EPOCH), (vec![], 0));
    let family = DynamicFamily::new(["a"], Counter::default);
    assert_eq!(
        encoded(&frame(), &registry("jobs", family), UNIX_EPOCH),
        (vec![], 0)
    );
}

#[test]
fn counters_are_sums_since_they_were_made() {
    let before = nanos(SystemClock.wall());
    let counter = Counter::default();
    counter.add(7);
    let now = SystemClock.wall() + Duration::from_secs(1);
    let (metrics, points) = encoded(&frame(), &registry("jobs_total", counter), now);
    assert_eq!(points, 1);
    assert!(matches!(metrics[0].data, Some(Data::Sum(_))));
    assert_eq!(values(&metrics[0]), [Value::AsInt(7)]);
    let point = &numbers(&metrics[0])[0];
    assert_eq!(point.time_unix_nano, nanos(now));
    assert!((before..nanos(now)).contains(&point.start_time_unix_nano));
    assert_eq!((&point.attributes[..], &point.exemplars[..]), (&[][..], &[][..]));
}

#[test]
fn a_clock_that_was_set_back_makes_no_start_after_the_end() {
    let long_ago = UNIX_EPOCH + Duration::from_secs(5);
    let (metrics, _) = encoded(&frame(), &registry("jobs", Counter::default()), long_ago);
    let point = &numbers(&metrics[0])[0];
    assert_eq!(
        (point.start_time_unix_nano, point.time_unix_nano),
        (5_000_000_000, 5_000_000_000)
    );
}

#[test]
fn numbers_are_whole_where_they_fit() {
    let counter = Counter::default();
    counter.add(u64::MAX / 2);
    let registry = registry("whole", counter.clone());
    assert_eq!(values(&one(&registry)), [Value::AsInt(i64::MAX)]);
    counter.add(1);
    assert_eq!(
        values(&one(&registry)),
        [Value::AsDouble(9_223_372_036_854_775_808.0)]
    );

    let float = CounterF64::default();
    float.add(0.5);
    assert_eq!(
        values(&one(&self::registry("float", float))),
        [Value::AsDouble(0.5)]
    );
    let gauge = Gauge::default();
    gauge.set(-3);
    let metric = one(&self::registry("gauge", gauge));
    assert!(matches!(metric.data, Some(Data::Gauge(_))));
    assert_eq!(values(&metric), [Value::AsInt(-3)]);
    assert_eq!(numbers(&metric)[0].start_time_unix_nano, 0);
    assert_eq!(
        values(&one(&self::registry("level", LevelGauge::default()))),
        [Value::AsInt(0)]
    );
    assert_eq!(
        values(&one(&self::registry("zero", GaugeF64::default()))),
        [Value::AsDouble(0.0)]
    );
}

#[test]
fn what_otlp_does_not_have_is_a_gauge() {
    let registry = Registry::default();
    registry
        .register("build", "", Info::new([("version", "1"), ("none", "")]))
        .unwrap();
    let lamp = StateSet::new(Lamp::Red);
    lamp.set(Lamp::Green);
    registry.register("lamp", "", lamp).unwrap();
    let metrics = metrics(&registry);

    assert_eq!(metrics[0].name, "build_info");
    assert_eq!(values(&metrics[0]), [Value::AsInt(1)]);
    assert_eq!(pairs(&numbers(&metrics[0])[0].attributes), [("version", "1")]);
    assert_eq!(pairs(&metrics[0].metadata), [("prometheus.type", "info")]);

    assert_eq!(metrics[1].name, "lamp");
    assert_eq!(values(&metrics[1]), [Value::AsInt(0), Value::AsInt(1)]);
    let states: Vec<_> = numbers(&metrics[1])
        .iter()
        .map(|point| pairs(&point.attributes))
        .collect();
    assert_eq!(states, [[("lamp", "red")], [("lamp", "green")]]);
    assert_eq!(pairs(&metrics[1].metadata), [("prometheus.type", "stateset")]);
    assert!(
        metrics
            .iter()
            .all(|metric| matches!(metric.data, Some(Data::Gauge(_))))
    );
}

#[test]
fn what_has_no_type_is_a_gauge() {
    let registry = Registry::default();
    let mut theirs = prometheus_client::registry::Registry::default();
    let unknown = prometheus_client::metrics::gauge::ConstGauge::new(2_i64);
    theirs.register("theirs", "Theirs", unknown);
    registry.prometheus(theirs);
    registry.register_collector(|out: &mut Samples<'_>| out.counter("collected", "", &[("a", "b")], 2.5));
    let metrics = metrics(&registry);
    assert_eq!(metrics[0].name, "collected");
    assert_eq!(values(&metrics[0]), [Value::AsDouble(2.5)]);
    assert_eq!(numbers(&metrics[0])[0].start_time_unix_nano, 0); // nobody knows
    assert_eq!(values(&metrics[1]), [Value::AsInt(2)]);
}

#[test]
fn labels_become_attributes() {
    let registry = Registry::default();
    let family = DynamicFamily::new(["path", "none"], Gauge::default);
    family.with(["\"\\\n\u{e9}", ""], |gauge| gauge.set(1));
    registry
        .sub_registry("web", [("pool", "a,b=\"c\"")])
        .unwrap()
        .register("up", "", family)
        .unwrap();
    let metric = one(&registry);
    assert_eq!(metric.name, "web_up");
    let expected = [("pool", "a,b=\"c\""), ("path", "\"\\\n\u{e9}")];
    assert_eq!(pairs(&numbers(&metric)[0].attributes), expected);
}

#[test]
fn units_stay_in_names_unless_trimmed() {
    let registry = Registry::default();
    let gauge = |name, unit| {
        registry
            .register_with_unit(name, "", unit, Gauge::default())
            .unwrap();
    };
    let counter = |name, unit| {
        registry
            .register_with_unit(name, "", unit, Counter::default())
            .unwrap();
    };
    gauge("up_seconds", "seconds");
    counter("sent_bytes_total", "bytes");
    gauge("used_ratio", "ratio");
    counter("lost_ratio", "ratio");
    gauge("queue_jobs", "jobs");
    registry.register("plain_seconds", "", Gauge::default()).unwrap(); // no unit was given
    let named = |trims_units| -> Vec<(String, String)> {
        let frame = Frame {
            trims_units,
            ..frame()
        };
        let (metrics, _) = encoded(&frame, &registry, UNIX_EPOCH);
        metrics
            .into_iter()
            .map(|metric| (metric.name, metric.unit))
            .collect()
    };
    let expected = |pairs: [(&str, &str); 6]| pairs.map(|(name, unit)| (name.to_owned(), unit.to_owned()));
    let whole = [
        ("up_seconds", "s"),
        ("sent_bytes", "By"),
        ("used_ratio", "1"),
        ("lost_ratio", "1"),
        ("queue_jobs", "jobs"),
        ("plain_seconds", ""),
    ];
    assert_eq!(named(false), expected(whole));
    let trimmed = [
        ("up", "s"),
        ("sent", "By"),
        ("used", "1"),
        ("lost_ratio", "1"),
        ("queue", "jobs"),
        ("plain_seconds", ""),
    ];
    assert_eq!(named(true), expected(trimmed));
}

#[test]
fn classic_histograms_have_a_count_for_each_bucket_alone() {
    let sizes = Histogram::classic(&Buckets::new([1.0, 2.5]).unwrap());
    for size in [0.5, 1.0, 2.0, 9.0] {
        sizes.observe(size);
    }
    let metric = one(&registry("sizes", sizes));
    let point = histogram(&metric);
    assert_eq!(point.explicit_bounds, [1.0, 2.5]);
    assert_eq!(point.bucket_counts, [2, 1, 1]);
    assert_eq!((point.count, point.sum), (4, Some(12.5)));
    assert!(point.start_time_unix_nano > 0 && point.start_time_unix_nano <= point.time_unix_nano);
}

#[test]
fn a_sum_that_may_fall_is_left_out() {
    let signed = Histogram::builder(&Buckets::new([0.0]).unwrap()).signed().build();
    signed.observe(-1.0);
    assert_eq!(histogram(&one(&registry("signed", signed))).sum, None);
    let signed = HistogramBuilder::native_only(NativeBuckets::default())
        .signed()
        .build();
    signed.observe(-1.0);
    let metric = one(&registry("signed", signed));
    let point = exponential(&metric);
    assert_eq!((point.count, point.sum), (1, None));
    assert_eq!(point.negative.as_ref().unwrap().bucket_counts, [1]);
    assert!(point.positive.is_none());
}

#[test]
fn native_histograms_are_exponential_even_beside_classic_buckets() {
    let both = Histogram::builder(&Buckets::new([1.0]).unwrap())
        .with_native(NativeBuckets::with_schema(0).unwrap())
        .build();
    for value in [0.0, 0.75, 3.0, 4.0, 17.0] {
        both.observe(value);
    }
    let metric = one(&registry("both", both));
    let point = exponential(&metric);
    assert_eq!((point.scale, point.count, point.sum), (0, 5, Some(24.75)));
    assert_eq!(point.zero_count, 1);
    assert!(point.zero_threshold > 0.0);
    let positive = point.positive.as_ref().unwrap();
    // (0.5, 1], nothing in (1, 2], (2, 4], nothing in (4, 8] and (8, 16], (16, 32]
    assert_eq!(
        (positive.offset, &positive.bucket_counts[..]),
        (-1, &[1, 0, 2, 0, 0, 1][..])
    );
    assert!(point.negative.is_none());
}

#[test]
fn the_finest_buckets_over_the_widest_range_stay_small() {
    let native = NativeBuckets::with_schema(8).unwrap().max_buckets(1000);
    let wide = HistogramBuilder::native_only(native).signed().build();
    for value in [f64::from_bits(1), 1e-300, 1.0, f64::MAX, -1.0, -3.0] {
        wide.observe(value);
    }
    let metric = one(&registry("wide", wide));
    let point = exponential(&metric);
    let counts = &point.positive.as_ref().unwrap().bucket_counts;
    assert!((512..=1024).contains(&counts.len()), "{}", counts.len()); // as fine as fits
    assert_eq!(point.scale, -1);
    let total: u64 = counts
        .iter()
        .chain(&point.negative.as_ref().unwrap().bucket_counts)
        .sum();
    assert_eq!((total + point.zero_count, point.count), (6, 6));
}

#[test]
fn exemplars_lead_to_their_trace() {
    let counter = Counter::with_exemplars();
    let sizes = Histogram::classic(&Buckets::new([1.0, 10.0]).unwrap());
    let native = Histogram::native(NativeBuckets::default());
    let guard = Context::new()
        .with_span(
            TraceId::new(0xa1).unwrap(),
            SpanId::new(0xb2).unwrap(),
            Flags::SAMPLED,
        )
        .attach();
    counter.inc();
    sizes.observe(5.0);
    native.observe(5.0);
    drop(guard);
    sizes.observe_with(
        0.5,
        &[
            ("order", "4711"),
            ("trace_id", "not hex"),
            ("span_id", "0000000000000000"),
        ],
    );
    let registry = Registry::default();
    registry.register("jobs", "", counter).unwrap();
    registry.register("sizes", "", sizes).unwrap();
    registry.register("native", "", native).unwrap();
    let metrics = metrics(&registry);

    let trace: Vec<u8> = 0xa1_u128.to_be_bytes().to_vec();
    let span: Vec<u8> = 0xb2_u64.to_be_bytes().to_vec();
    let jobs = &numbers(&metrics[0])[0].exemplars[0];
    assert_eq!((&jobs.trace_id, &jobs.span_id), (&trace, &span));
    assert_eq!(
        (jobs.value, &jobs.filtered_attributes[..]),
        (Some(exemplar::Value::AsDouble(1.0)), &[][..])
    );
    assert!(jobs.time_unix_nano > 0);

    let mut exemplars = histogram(&metrics[1]).exemplars.clone();
    exemplars.sort_by_key(|exemplar| exemplar.trace_id.len());
    assert_eq!(exemplars.len(), 2);
    assert_eq!(exemplars[0].value, Some(exemplar::Value::AsDouble(0.5)));
    let custom = [
        ("order", "4711"),
        ("trace_id", "not hex"),
        ("span_id", "0000000000000000"),
    ];
    assert_eq!(pairs(&exemplars[0].filtered_attributes), custom);
    assert_eq!(
        (&exemplars[1].trace_id, exemplars[1].value),
        (&trace, Some(exemplar::Value::AsDouble(5.0)))
    );

    assert_eq!(exponential(&metrics[2]).exemplars[0].span_id, span);
}

#[test]
fn a_family_of_both_kinds_of_histograms_is_two_metrics() {
    let registry = Registry::default();
    let sub = |pool| registry.sub_registry("", [("pool", pool)]).unwrap();
    let classic = Histogram::classic(&Buckets::new([1.0]).unwrap());
    sub("a").register("sizes", "", classic).unwrap();
    sub("b")
        .register("sizes", "", Histogram::native(NativeBuckets::default()))
        .unwrap();
    let (metrics, points) = encoded(&frame(), &registry, UNIX_EPOCH);
    assert_eq!((metrics.len(), points), (2, 2));
    assert_eq!(pairs(&histogram(&metrics[0]).attributes), [("pool", "a")]);
    assert_eq!(pairs(&exponential(&metrics[1]).attributes), [("pool", "b")]);
    assert!(metrics.iter().all(|metric| metric.name == "sizes"));
}

proptest! {
    #[test]
    fn classic_counts_are_those_of_the_snapshot(values in prop::collection::vec(0.0..100.0_f64, 0..50)) {
        let sizes = Histogram::classic(&Buckets::new([0.1, 1.0, 10.0, 50.0]).unwrap());
        for value in &values {
            sizes.observe(*value);
        }
        let snapshot = sizes.snapshot();
        let metric = one(&registry("sizes", sizes));
        let point = histogram(&metric);
        prop_assert_eq!(&point.bucket_counts[..], snapshot.counts());
        prop_assert_eq!(&point.explicit_bounds[..], snapshot.bounds());
        prop_assert_eq!((point.count, point.sum), (snapshot.count(), Some(snapshot.sum())));
    }

    #[test]
    fn every_value_is_within_the_bounds_of_its_exponential_bucket(
        values in prop::collection::vec((-40.0..40.0_f64, any::<bool>()), 1..40),
        schema in -4..=8_i8,
    ) {
        let native = NativeBuckets::with_schema(schema).unwrap().max_buckets(100_000);
        let sizes = HistogramBuilder::native_only(native).signed().build();
        let values: Vec<f64> = values
            .iter()
            .map(|(exponent, negative)| 2_f64.powf(*exponent) * if *negative { -1.0 } else { 1.0 })
            .collect();
        for value in &values {
            sizes.observe(*value);
        }
        let metric = one(&registry("sizes", sizes));
        let point = exponential(&metric);
        prop_assert_eq!(point.count, values.len() as u64);
        let base = 2_f64.powf(2_f64.powi(-point.scale));
        for (sign, side) in [(1.0, &point.positive), (-1.0, &point.negative)] {
            let of_side: Vec<f64> = values.iter().map(|value| value * sign).filter(|value| *value > 0.0).collect();
            let Some(side) = side else {
                prop_assert!(of_side.is_empty());
                continue;
            };
            prop_assert!(side.bucket_counts.len() <= 1024);
            prop_assert_eq!(side.bucket_counts.iter().sum::<u64>(), of_side.len() as u64);
            for (index, count) in (side.offset..).zip(&side.bucket_counts) {
                let index = f64::from(index);
                // Bounds are rounded here, and not on both sides in the same way: a value at one may be in either.
                let (above, up_to) = (base.powf(index), base.powf(index + 1.0));
                let inside = |slack: f64| {
                    let range = above * (1.0 - slack)..=up_to * (1.0 + slack);
                    of_side.iter().filter(|value| range.contains(value)).count() as u64
                };
                prop_assert!(*count <= inside(1e-9) && *count >= inside(-1e-9), "{index}: {count}");
            }
        }
    }
}

/// Encodes with some bound and returns, of each request, how long it is and how many points there are, and of each name
/// the attributes and type of all points.
fn split(registry: &Registry, max_bytes: usize) -> (Vec<(usize, u64)>, Vec<String>) {
    let frame = Frame {
        resource: vec![("service.name".into(), "shop".into())],
        max_bytes,
        ..frame()
    };
    let (mut sizes, mut all) = (Vec::new(), Vec::new());
    for encoded in frame.encode(registry, UNIX_EPOCH) {
        sizes.push((encoded.bytes.len(), encoded.points));
        let request = decode(&encoded.bytes);
        let resource = &request.resource_metrics[0];
        let attributes = &resource.resource.as_ref().unwrap().attributes;
        assert_eq!(pairs(attributes), [("service.name", "shop")]);
        let before = all.len();
        for metric in &resource.scope_metrics[0].metrics {
            let head = format!("{} {:?} {:?}", metric.name, metric.description, metric.unit);
            assert_eq!(metric.metadata.len(), 1);
            match metric.data.as_ref().unwrap() {
                Data::Sum(_) | Data::Gauge(_) => {
                    let points = numbers(metric).iter();
                    all.extend(points.map(|point| format!("{head}: {point:?}")));
                }
                Data::Histogram(_) => all.push(format!("{head}: {:?}", histogram(metric))),
                Data::ExponentialHistogram(_) => all.push(format!("{head}: {:?}", exponential(metric))),
                Data::Summary(summary) => panic!("{summary:?}"),
            }
        }
        assert_eq!((all.len() - before) as u64, encoded.points);
    }
    (sizes, all)
}

#[test]
fn what_is_too_much_for_one_request_goes_into_several() {
    let registry = Registry::default();
    let jobs = DynamicFamily::new(["id"], Counter::default);
    (0..300_u64).for_each(|id| jobs.with([&*id.to_string()], |count| count.add(id)));
    registry.register("jobs", "Jobs done.", jobs).unwrap();
    for name in ["a", "b", "c"] {
        registry.register(name, "One.", Gauge::default()).unwrap();
    }
    let lamp = StateSet::new(Lamp::Red);
    registry.register("lamp", "", lamp).unwrap();
    let wait = Histogram::classic(&Buckets::http_seconds());
    wait.observe(1.0);
    registry.register("wait", "", wait).unwrap();
    let size = Histogram::native(NativeBuckets::default());
    (1..100_u32).for_each(|n| size.observe(f64::from(n)));
    registry.register("size", "", size).unwrap();

    let (whole, all) = split(&registry, usize::MAX);
    assert_eq!((whole.len(), all.len()), (1, 300 + 3 + 2 + 2));
    for max in [1_000, 5_000, 20_000] {
        let (sizes, same) = split(&registry, max);
        assert!(sizes.iter().all(|(len, _)| *len <= max), "{sizes:?} of {max}");
        // Not many more than there have to be.
        assert!(sizes.len() <= 2 * whole[0].0 / max + 1, "{sizes:?} of {max}");
        assert_eq!(same, all);
    }
    // Nothing fits: each point is alone.
    let (sizes, same) = split(&registry, 0);
    assert!(sizes.iter().all(|(_, points)| *points == 1) && sizes.len() == all.len());
    assert_eq!(same, all);
}

#[test]
fn a_family_that_panics_leaves_the_requests_before_it() {
    let registry = registry("first", Gauge::default());
    let fragile = DynamicFamily::new(["n"], || {
        if FAILS.get() {
            std::panic::resume_unwind(Box::new("without a message on stderr"));
        }
        Counter::default()
    });
    let more: Vec<_> = (0..100_u32).map(|n| fragile.handle([&*n.to_string()])).collect();
    registry.register("fragile", "", fragile.clone()).unwrap();
    registry.register("last", "", Gauge::default()).unwrap();
    let (_, all) = split(&registry, 500);
    assert_eq!(all.len(), 102);
    // What a removed series counts goes to that of all others, which is made then.
    assert!(fragile.remove(["7"]));
    more[7].inc();
    FAILS.set(true);
    let (_, all) = split(&registry, 500);
    FAILS.set(false);
    let names: Vec<_> = all.iter().map(|point| &point[..4]).collect();
    assert_eq!(names, ["firs", "last"]);
    assert_eq!(split(&registry, 500).1.len(), 102);
}

thread_local! {
    static FAILS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}
