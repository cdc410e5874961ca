use std::sync::atomic::AtomicU64;

use cortex_metrics::prometheus::prometheus_client::collector::Collector;
use cortex_metrics::prometheus::prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use cortex_metrics::prometheus::prometheus_client::metrics::counter::{
    ConstCounter, Counter as TheirCounter,
};
use cortex_metrics::prometheus::prometheus_client::metrics::exemplar::{
    CounterWithExemplar, HistogramWithExemplars,
};
use cortex_metrics::prometheus::prometheus_client::metrics::family::Family as TheirFamily;
use cortex_metrics::prometheus::prometheus_client::metrics::gauge::{ConstGauge, Gauge as TheirGauge};
use cortex_metrics::prometheus::prometheus_client::metrics::histogram::Histogram as TheirHistogram;
use cortex_metrics::prometheus::prometheus_client::metrics::info::Info as TheirInfo;
use cortex_metrics::prometheus::prometheus_client::registry::{Registry as Theirs, Unit};
use cortex_metrics::{
    Buckets, Counter, DynamicFamily, Family, Format, Gauge, GaugeF64, Histogram, Info, LevelGauge,
    NativeBuckets, Registry, Samples, StateSet, labels,
};
use expect_test::expect;

use crate::{encode, parser};

type Pairs = Vec<(String, String)>;

labels! {
    struct Key { key: &'static str }
}

fn both(registry: &Registry) -> (String, String) {
    let [text, open_metrics] = [Format::Text004, Format::OpenMetrics1].map(|format| {
        let exposed = encode(registry, format);
        parser::parse(format, &exposed);
        exposed
    });
    (text, open_metrics)
}

fn embedding(theirs: Theirs) -> Registry {
    let registry = Registry::default();
    registry.prometheus(theirs);
    registry
}

#[test]
fn what_no_exposition_may_have_is_replaced_everywhere() {
    let labels = || -> Pairs { vec![("k".into(), "a\0".into())] };
    let mut theirs = Theirs::default();
    let counters = TheirFamily::<Pairs, CounterWithExemplar<Pairs>>::default();
    counters.get_or_create(&labels()).inc_by(2, Some(labels()), None);
    theirs.register("counter", "Counts", counters);
    let histograms =
        TheirFamily::<Pairs, TheirHistogram>::new_with_constructor(|| TheirHistogram::new([1.0]));
    histograms.get_or_create(&labels()).observe(0.5);
    theirs.register("histogram", "Takes", histograms);
    let (text, open_metrics) = both(&embedding(theirs));
    assert!(
        !text.contains('\0') && !open_metrics.contains('\0'),
        "{open_metrics}"
    );
    for line in [
        "counter_total{k=\"a\u{fffd}\"} 2",
        "histogram_bucket{k=\"a\u{fffd}\",le=\"1.0\"} 1",
        "histogram_sum{k=\"a\u{fffd}\"} 0.5",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(open_metrics.contains("# {k=\"a\u{fffd}\"}"), "{open_metrics}");
}

#[test]
fn every_type_is_rewritten() {
    let mut theirs = Theirs::with_prefix("their");
    let counter = CounterWithExemplar::<Pairs>::default();
    counter.inc_by(2, Some(vec![("trace_id".into(), "a } # {b".into())]), None);
    theirs.register("counter", "Counts", counter);
    let histogram = HistogramWithExemplars::<Pairs>::new([0.5, 1.0, 1e16].into_iter());
    histogram.observe(0.75, Some(vec![("trace_id".into(), "x".into())]), None);
    theirs.register_with_unit("histogram", "Takes", Unit::Seconds, histogram);
    theirs.register("info", "Informs", TheirInfo::new(vec![("a", "1")]));
    let family = TheirFamily::<Pairs, TheirGauge<f64, AtomicU64>>::default();
    family
        .get_or_create(&vec![("k".into(), "\\ \" \n".into())])
        .set(f64::INFINITY);
    theirs.register("gauge", "Escapes \\ \" and\nlines \\n by hand", family);
    let (text, open_metrics) = both(&embedding(theirs));
    expect![[r##"
        # HELP their_counter_total Counts.
        # TYPE their_counter_total counter
        their_counter_total 2
        # HELP their_histogram_seconds Takes.
        # TYPE their_histogram_seconds histogram
        their_histogram_seconds_bucket{le="0.5"} 0
        their_histogram_seconds_bucket{le="1.0"} 1
        their_histogram_seconds_bucket{le="1e+16"} 1
        their_histogram_seconds_bucket{le="+Inf"} 1
        their_histogram_seconds_sum 0.75
        their_histogram_seconds_count 1
        # HELP their_info_info Informs.
        # TYPE their_info_info gauge
        their_info_info{a="1"} 1
        # HELP their_gauge Escapes \\ " and\nlines \n by hand.
        # TYPE their_gauge gauge
        their_gauge{k="\\ \" \n"} +Inf
    "##]]
    .assert_eq(&text);
    expect![[r##"
        # TYPE their_counter counter
        # HELP their_counter Counts.
        their_counter_total 2 # {trace_id="a } # {b"} 2.0
        # TYPE their_histogram_seconds histogram
        # UNIT their_histogram_seconds seconds
        # HELP their_histogram_seconds Takes.
        their_histogram_seconds_bucket{le="0.5"} 0
        their_histogram_seconds_bucket{le="1.0"} 1 # {trace_id="x"} 0.75
        their_histogram_seconds_bucket{le="1e+16"} 1
        their_histogram_seconds_bucket{le="+Inf"} 1
        their_histogram_seconds_sum 0.75
        their_histogram_seconds_count 1
        # TYPE their_info info
        # HELP their_info Informs.
        their_info_info{a="1"} 1
        # TYPE their_gauge gauge
        # HELP their_gauge Escapes \\ \" and\nlines \n by hand.
        their_gauge{k="\\ \" \n"} +Inf
        # EOF
    "##]]
    .assert_eq(&open_metrics);
}

#[derive(Debug)]
struct Custom(fn(DescriptorEncoder<'_>) -> std::fmt::Result);

impl Collector for Custom {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        (self.0)(encoder)
    }
}

fn custom(encode: fn(DescriptorEncoder<'_>) -> std::fmt::Result) -> Theirs {
    let mut theirs = Theirs::default();
    theirs.register("before", "Before", TheirGauge::<i64>::default());
    theirs.register_collector(Box::new(Custom(encode)));
    theirs
}

#[test]
fn what_is_malformed_is_dropped_alone() {
    let mut theirs = Theirs::default();
    let pairs = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let counter = |labels: Pairs| {
        let family = TheirFamily::<Pairs, TheirCounter>::default();
        family.get_or_create(&labels).inc();
        family
    };
    theirs.register("good", "Good", counter(pairs("a", "1")));
    theirs.register("two words", "A name with a space", TheirCounter::<u64>::default());
    theirs.register("a-b", "A name with a dash", TheirCounter::<u64>::default());
    theirs.register("label", "A bad label", counter(pairs("a b", "1")));
    theirs.register("reserved", "A reserved label", counter(pairs("__name__", "1")));
    theirs.register("newline", "A newline in a label", counter(pairs("a\n", "1")));
    theirs.register(
        "repeated",
        "A label twice",
        counter([pairs("a", "1"), pairs("a", "2")].concat()),
    );
    theirs.register("nan", "No number", TheirCounter::<f64, AtomicU64>::default());
    let nan = TheirCounter::<f64, AtomicU64>::default();
    nan.inc_by(f64::NAN);
    theirs.register("nans", "No number", nan);
    theirs.register(
        "fake\n# TYPE fake gauge\nfake",
        "A newline in a name",
        TheirCounter::<u64>::default(),
    );
    theirs.register_with_unit(
        "unit",
        "A unit with a newline",
        Unit::Other("a\nb".into()),
        TheirGauge::<i64>::default(),
    );
    let registry = embedding(theirs);
    let (text, _) = both(&registry);
    let expected = "\
# HELP good_total Good.
# TYPE good_total counter
good_total{a=\"1\"} 1
# HELP nan_total No number.
# TYPE nan_total counter
nan_total 0.0
";
    assert_eq!(text, expected);
    assert_eq!(registry.dropped().get(), 2 * 9);
}

#[test]
fn what_is_exposed_already_is_dropped() {
    let registry = Registry::default();
    registry.register("ours", "", Counter::default()).unwrap();
    registry.register_collector(|out: &mut Samples<'_>| out.gauge("collected", "", &[], 1.0));
    let mut theirs = Theirs::default();
    theirs.register("ours", "The same", TheirCounter::<u64>::default());
    theirs.register("ours_total", "A sample of ours", TheirGauge::<i64>::default());
    theirs.register("collected", "The same series", TheirGauge::<i64>::default());
    theirs.register("kept", "Not the same", TheirGauge::<i64>::default());
    registry.prometheus(theirs);
    let (text, _) = both(&registry);
    let expected = "\
# TYPE ours_total counter
ours_total 0
# TYPE collected gauge
collected 1.0
# HELP kept Not the same.
# TYPE kept gauge
kept 0
";
    assert_eq!(text, expected);
    assert_eq!(registry.dropped().get(), 2 * 3);
}

#[test]
fn families_that_it_writes_twice_are_joined() {
    let mut theirs = Theirs::default();
    for pool in ["a", "b", "b"] {
        let labels = [("pool".into(), pool.into())].into_iter();
        theirs
            .sub_registry_with_labels(labels)
            .register("jobs", "Jobs", TheirCounter::<u64>::default());
    }
    let registry = Registry::default();
    registry
        .sub_registry("app", [("zone", "z")])
        .unwrap()
        .prometheus(theirs);
    let (text, _) = both(&registry);
    let expected = "\
# HELP app_jobs_total Jobs.
# TYPE app_jobs_total counter
app_jobs_total{zone=\"z\",pool=\"a\"} 0
app_jobs_total{zone=\"z\",pool=\"b\"} 0
";
    assert_eq!(text, expected);
    assert_eq!(registry.dropped().get(), 2);
}

#[test]
fn a_failure_is_cut_back() {
    fn half(mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let gauge = ConstGauge::new(1_i64);
        gauge.encode(encoder.encode_descriptor("half", "Half.", None, gauge.metric_type())?)
    }
    let failing = custom(|encoder| {
        half(encoder)?;
        Err(std::fmt::Error)
    });
    let panicking = custom(|encoder| {
        half(encoder)?;
        std::panic::resume_unwind(Box::new("without a message on stderr"))
    });
    for theirs in [failing, panicking] {
        let registry = embedding(theirs);
        let (text, _) = both(&registry);
        assert_eq!(text, "# HELP before Before.\n# TYPE before gauge\nbefore 0\n");
        assert_eq!(registry.dropped().get(), 2);
    }
    let mut at_once = Theirs::default();
    at_once.register_collector(Box::new(Custom(|_| Err(std::fmt::Error))));
    assert_eq!(both(&embedding(at_once)).0, "");
}

#[test]
fn samples_must_be_of_their_family() {
    let registry = embedding(custom(|mut encoder| {
        let counter = ConstCounter::new(1_u64);
        let unit = Unit::Other("late".into());
        encoder.encode_descriptor("no_samples", "", None, counter.metric_type())?;
        let gauge = ConstGauge::new(1_i64);
        counter.encode(encoder.encode_descriptor("mixed", "", None, gauge.metric_type())?)?;
        counter.encode(encoder.encode_descriptor("with", "", Some(&unit), counter.metric_type())?)
    }));
    let (_, open_metrics) = both(&registry);
    let expected = "\
# TYPE before gauge
# HELP before Before.
before 0
# TYPE with_late counter
# UNIT with_late late
with_late_total 1
# EOF
";
    assert_eq!(open_metrics, expected);
    assert_eq!(registry.dropped().get(), 2);
}

#[test]
fn sums_that_open_metrics_forbids_are_left_out_of_it() {
    for (bound, observed) in [(1.0, -3.0), (1.0, f64::NAN), (-1.0, 2.0)] {
        let mut theirs = Theirs::default();
        let histogram = TheirHistogram::new([bound]);
        histogram.observe(observed);
        theirs.register("h", "H", histogram);
        let registry = embedding(theirs);
        let (text, open_metrics) = both(&registry);
        assert!(text.contains("h_sum") && text.contains("h_count 1\n"), "{text}");
        assert!(
            !open_metrics.contains("h_sum") && !open_metrics.contains("h_count"),
            "{open_metrics}"
        );
        assert!(
            open_metrics.contains("h_bucket{le=\"+Inf\"} 1\n"),
            "{open_metrics}"
        );
        assert_eq!(registry.dropped().get(), 0);
    }
}

#[test]
fn an_exemplar_that_is_too_long_goes_alone() {
    let mut theirs = Theirs::default();
    let counter = CounterWithExemplar::<Pairs>::default();
    counter.inc_by(1, Some(vec![("k".into(), "x".repeat(128))]), None);
    theirs.register("c", "C", counter);
    assert_eq!(
        both(&embedding(theirs)).1,
        "# TYPE c counter\n# HELP c C.\nc_total 1\n# EOF\n"
    );
}

#[test]
fn ours_can_be_registered_there() {
    let mut theirs = Theirs::with_labels([("zone".into(), "z".into())].into_iter());
    let counter = Counter::default();
    theirs.register("counter", "C", counter.clone());
    counter.add(3);
    let gauge = Gauge::default();
    theirs.register("gauge", "G", gauge.clone());
    gauge.dec();
    let float = GaugeF64::default();
    theirs.register("float", "F", float.clone());
    float.set(0.5);
    let histogram = Histogram::classic(&Buckets::new([1.0, 2.0]).unwrap());
    theirs.register("histogram", "H", histogram.clone());
    histogram.observe(1.5);
    histogram.observe(9.0);
    theirs.register("build", "I", Info::new([("version", "\"1\"")]));
    let family = Family::<Key, _>::new(Counter::default);
    theirs.register("family", "Fam", family.clone());
    for key in ["a\"b\\c\nd", "e"] {
        family.with(&Key { key }, Counter::inc);
    }
    let gauges = Family::<Key, _>::new(Gauge::default).max_series(0);
    theirs.register("gauges", "Gs", gauges.clone());
    gauges.with(&Key { key: "a" }, Gauge::inc);
    let buckets = Buckets::new([1.0]).unwrap();
    let histograms = Family::<Key, _>::new(move || Histogram::classic(&buckets));
    theirs.register("histograms", "Hs", histograms.clone());
    theirs.register("empty", "Not shown", Family::<Key, _>::new(Counter::default));
    histograms.with(&Key { key: "a" }, |histogram| histogram.observe(2.0));
    let buckets = Buckets::new([1.0]).unwrap();
    let mixed = Histogram::builder(&buckets)
        .with_native(NativeBuckets::default())
        .build();
    let native = Histogram::native(NativeBuckets::default());
    for (name, histogram) in [("mixed", mixed), ("native", native)] {
        theirs.register(name, "N", histogram.clone());
        histogram.observe(2.0);
    }
    let dynamic = DynamicFamily::new(["key"], LevelGauge::default);
    theirs.register("dynamic", "D", dynamic.clone());
    dynamic.with(["a"], LevelGauge::inc);
    theirs.register("state", "S", StateSet::new(true));
    let mut written = String::new();
    text::encode(&mut written, &theirs).unwrap();
    expect![[r##"
        # HELP counter C.
        # TYPE counter counter
        counter_total{zone="z"} 3
        # HELP gauge G.
        # TYPE gauge gauge
        gauge{zone="z"} -1
        # HELP float F.
        # TYPE float gauge
        float{zone="z"} 0.5
        # HELP histogram H.
        # TYPE histogram histogram
        histogram_sum{zone="z"} 10.5
        histogram_count{zone="z"} 2
        histogram_bucket{zone="z",le="1.0"} 0
        histogram_bucket{zone="z",le="2.0"} 1
        histogram_bucket{zone="z",le="+Inf"} 2
        # HELP build I.
        # TYPE build info
        build_info{zone="z",version="\"1\""} 1
        # HELP family Fam.
        # TYPE family counter
        family_total{zone="z",key="a\"b\\c\nd"} 1
        family_total{zone="z",key="e"} 1
        # HELP gauges Gs.
        # TYPE gauges gauge
        gauges{zone="z",key="__other__"} 1
        # HELP histograms Hs.
        # TYPE histograms histogram
        histograms_sum{zone="z",key="a"} 2.0
        histograms_count{zone="z",key="a"} 1
        histograms_bucket{zone="z",le="1.0",key="a"} 0
        histograms_bucket{zone="z",le="+Inf",key="a"} 1
        # HELP mixed N.
        # TYPE mixed histogram
        mixed_sum{zone="z"} 2.0
        mixed_count{zone="z"} 1
        mixed_bucket{zone="z",le="1.0"} 0
        mixed_bucket{zone="z",le="+Inf"} 1
        # HELP native N.
        # TYPE native histogram
        native_sum{zone="z"} 2.0
        native_count{zone="z"} 1
        native_bucket{zone="z",le="+Inf"} 1
        # HELP dynamic D.
        # TYPE dynamic gauge
        dynamic{zone="z",key="a"} 1
        # HELP state S.
        # TYPE state gauge
        state{zone="z",state="false"} 0
        state{zone="z",state="true"} 1
        # EOF
    "##]]
    .assert_eq(&written);
    let _ = both(&embedding(theirs));
}

#[test]
fn a_state_set_may_have_a_label_of_that_name() {
    let family = DynamicFamily::new(["state", "state_"], || StateSet::new(true));
    family.with(["ohio", "x"], |_| {});
    let mut theirs = Theirs::default();
    theirs.register("lamp", "Shines", family);
    let (text, _) = both(&embedding(theirs));
    expect![[r#"
        # HELP lamp Shines.
        # TYPE lamp gauge
        lamp{state="ohio",state_="x",state__="false"} 0
        lamp{state="ohio",state_="x",state__="true"} 1
    "#]]
    .assert_eq(&text);
}

#[test]
fn long_values_are_cut() {
    let family = TheirFamily::<Pairs, TheirGauge>::default();
    let value = |tail: &str| format!("\\\n{}{tail}", "x".repeat(1 << 20));
    let labels = vec![("k".into(), value("1")), ("l".into(), "\"".into())];
    family.get_or_create(&labels).set(0);
    let mut theirs = Theirs::default();
    theirs.register("long", "Goes on", family);
    let family = TheirFamily::<Pairs, TheirGauge>::default();
    for tail in ["1", "2"] {
        family.get_or_create(&vec![("k".into(), value(tail))]).set(0);
    }
    theirs.register("same", "Reads the same when it is cut", family);
    let registry = embedding(theirs);
    let expected = format!(
        "# HELP long Goes on.\n# TYPE long gauge\nlong{{k=\"\\\\\\n{}\",l=\"\\\"\"}} 0\n",
        "x".repeat(254)
    );
    assert_eq!(both(&registry).0, expected);
    assert_eq!(registry.dropped().get(), 2); // in each format
}

#[test]
fn facts_and_constant_labels_are_cut() {
    let long = "\u{e9}".repeat(1 << 20);
    let registry = Registry::default();
    let scope = registry.sub_registry("", [("zone", &long)]).unwrap();
    scope
        .register("build", "", Info::new([("version", &long)]))
        .unwrap();
    // Sub-registries that differ behind what is kept are the same.
    let same = registry.sub_registry("", [("zone", format!("{long}!"))]).unwrap();
    assert!(same.register("build", "", Info::new([("version", "2")])).is_err());
    let cut = "\u{e9}".repeat(128);
    let expected = format!("# TYPE build_info gauge\nbuild_info{{zone=\"{cut}\",version=\"{cut}\"}} 1\n");
    assert_eq!(both(&registry).0, expected);
}
