use cortex_metrics::{
    Buckets, Counter, CounterF64, DenseFamily, Family, Format, Gauge, GaugeF64, Histogram, Info, LevelGauge,
    NativeBuckets, Registry, Samples, StateSet, labels,
};
use expect_test::{Expect, expect};

use crate::{encode, parser};

labels! {
    struct Route { method: &'static str, route: String }
}

fn check(registry: &Registry, text: &Expect, open_metrics: &Expect) {
    for (format, expected) in [(Format::Text004, text), (Format::OpenMetrics1, open_metrics)] {
        let exposed = encode(registry, format);
        parser::parse(format, &exposed);
        expected.assert_eq(&exposed);
    }
}

#[test]
fn nothing() {
    check(
        &Registry::default(),
        &expect![[""]],
        &expect![[r#"
        # EOF
    "#]],
    );
}

#[test]
fn every_type() {
    let registry = Registry::default();
    let counter = Counter::default();
    registry
        .register("jobs_total", "Jobs done.", counter.clone())
        .unwrap();
    counter.add(u64::MAX);
    let gauge = Gauge::default();
    registry.register("level", "", gauge.clone()).unwrap();
    gauge.set(i64::MIN);
    let float = GaugeF64::default();
    registry
        .register_with_unit("load", "Load.", "ratio", float.clone())
        .unwrap();
    float.set(0.1);
    let histogram = Histogram::classic(&Buckets::new([-1.0, 0.005, 1.0, 1e6]).unwrap());
    registry
        .register_with_unit("wait", "Time waited.", "seconds", histogram.clone())
        .unwrap();
    for value in [0.0, 0.0625, 2e6] {
        histogram.observe(value);
    }
    registry
        .register(
            "build",
            "What runs.",
            Info::new([("version", "1.0"), ("commit", "abc")]),
        )
        .unwrap();
    let family = Family::<Route, Counter>::new(Counter::default);
    registry.register("never_used", "Not shown.", family).unwrap();
    registry.register_collector(|out: &mut Samples<'_>| {
        out.gauge("odd", "Odd values.", &[("value", "nan")], f64::NAN);
        out.counter("collected_total", "Collected.", &[], 1e16);
        out.gauge("odd", "Odd values.", &[("value", "inf")], f64::NEG_INFINITY);
    });
    check(
        &registry,
        &expect![[r##"
        # HELP jobs_total Jobs done.
        # TYPE jobs_total counter
        jobs_total 18446744073709551615
        # TYPE level gauge
        level -9223372036854775808
        # HELP load_ratio Load.
        # TYPE load_ratio gauge
        load_ratio 0.1
        # HELP wait_seconds Time waited.
        # TYPE wait_seconds histogram
        wait_seconds_bucket{le="-1.0"} 0
        wait_seconds_bucket{le="0.005"} 1
        wait_seconds_bucket{le="1.0"} 2
        wait_seconds_bucket{le="1e+06"} 2
        wait_seconds_bucket{le="+Inf"} 3
        wait_seconds_sum 2000000.0625
        wait_seconds_count 3
        # HELP build_info What runs.
        # TYPE build_info gauge
        build_info{version="1.0",commit="abc"} 1
        # HELP odd Odd values.
        # TYPE odd gauge
        odd{value="nan"} NaN
        odd{value="inf"} -Inf
        # HELP collected_total Collected.
        # TYPE collected_total counter
        collected_total 1e16
    "##]],
        &expect![[r##"
            # TYPE jobs counter
            # HELP jobs Jobs done.
            jobs_total 18446744073709551615
            # TYPE level gauge
            level -9223372036854775808
            # TYPE load_ratio gauge
            # UNIT load_ratio ratio
            # HELP load_ratio Load.
            load_ratio 0.1
            # TYPE wait_seconds histogram
            # UNIT wait_seconds seconds
            # HELP wait_seconds Time waited.
            wait_seconds_bucket{le="-1.0"} 0
            wait_seconds_bucket{le="0.005"} 1
            wait_seconds_bucket{le="1.0"} 2
            wait_seconds_bucket{le="1e+06"} 2
            wait_seconds_bucket{le="+Inf"} 3
            # TYPE build info
            # HELP build What runs.
            build_info{version="1.0",commit="abc"} 1
            # TYPE odd gauge
            # HELP odd Odd values.
            odd{value="nan"} NaN
            odd{value="inf"} -Inf
            # TYPE collected counter
            # HELP collected Collected.
            collected_total 1e16
            # EOF
        "##]],
    );
}

cortex_metrics::label_enum! {
    enum Light { Red = "red", Green = "gr\"een" }
}

cortex_metrics::dense_labels! {
    struct Crossing { light: Light, night: bool }
}

#[test]
fn states_levels_and_dense_families() {
    let registry = Registry::default();
    let sub = registry.sub_registry("", [("zone", "z")]).unwrap();
    let light = Family::<Route, _>::new(|| StateSet::new(Light::Green));
    sub.register("light", "Lights.", light.clone()).unwrap();
    let labels = Route {
        method: "GET",
        route: "/".to_owned(),
    };
    light.with(&labels, |light| light.put(Light::Red, true));
    let level = LevelGauge::default();
    level.add(-3);
    registry.register("level", "", level).unwrap();
    let spent = CounterF64::default();
    spent.add(0.5);
    registry.register("spent", "", spent).unwrap();
    let crossed = DenseFamily::new(Counter::default);
    sub.register("crossed", "", crossed.clone()).unwrap();
    for (light, night) in [(Light::Green, true), (Light::Red, false), (Light::Green, true)] {
        crossed.with(Crossing { light, night }, Counter::inc);
    }
    assert_eq!(
        crossed
            .handle(Crossing {
                light: Light::Green,
                night: true
            })
            .get(),
        2
    );
    let all = DenseFamily::<Crossing, _>::new(Gauge::default).expose_all();
    registry.register("all", "", all).unwrap();
    check(
        &registry,
        &expect![[r##"
        # HELP light Lights.
        # TYPE light gauge
        light{zone="z",method="GET",route="/",light="red"} 1
        light{zone="z",method="GET",route="/",light="gr\"een"} 1
        # TYPE level gauge
        level -3
        # TYPE spent_total counter
        spent_total 0.5
        # TYPE crossed_total counter
        crossed_total{zone="z",light="red",night="false"} 1
        crossed_total{zone="z",light="gr\"een",night="true"} 2
        # TYPE all gauge
        all{light="red",night="false"} 0
        all{light="red",night="true"} 0
        all{light="gr\"een",night="false"} 0
        all{light="gr\"een",night="true"} 0
    "##]],
        &expect![[r##"
        # TYPE light stateset
        # HELP light Lights.
        light{zone="z",method="GET",route="/",light="red"} 1
        light{zone="z",method="GET",route="/",light="gr\"een"} 1
        # TYPE level gauge
        level -3
        # TYPE spent counter
        spent_total 0.5
        # TYPE crossed counter
        crossed_total{zone="z",light="red",night="false"} 1
        crossed_total{zone="z",light="gr\"een",night="true"} 2
        # TYPE all gauge
        all{light="red",night="false"} 0
        all{light="red",night="true"} 0
        all{light="gr\"een",night="false"} 0
        all{light="gr\"een",night="true"} 0
        # EOF
    "##]],
    );
    let error = |name: &str, labels: [(&str, &str); 1]| {
        let sub = registry.sub_registry("", labels).unwrap();
        sub.register(name, "", StateSet::new(true))
            .unwrap_err()
            .to_string()
    };
    assert!(
        error("on", [("on", "1")])
            .contains("belongs to the buckets of a histogram or to the states of a set")
    );
    let unit = registry
        .register_with_unit("on", "", "seconds", StateSet::new(true))
        .unwrap_err();
    assert!(unit.to_string().contains("has no unit"), "{unit}");
}

#[test]
fn times_of_creation_are_shown_if_asked_for() {
    let registry = Registry::default();
    let histogram = Histogram::classic(&Buckets::new([1.0]).unwrap());
    registry.register("h", "", histogram).unwrap();
    registry.register("c", "", Counter::default()).unwrap();
    assert!(!encode(&registry, Format::OpenMetrics1).contains("_created"));
    registry.expose_created();
    let exposed = encode(&registry, Format::OpenMetrics1);
    parser::parse(Format::OpenMetrics1, &exposed);
    for name in ["h_created ", "c_created "] {
        let line = exposed.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let seconds: f64 = line.parse().unwrap();
        assert!(seconds > 1.7e9 && seconds < 5e9, "{exposed}");
    }
    assert!(!encode(&registry, Format::Text004).contains("_created"));
}

#[test]
fn what_a_format_cannot_show_is_counted() {
    let registry = Registry::default();
    let native = Histogram::native(NativeBuckets::default());
    registry.register("h", "Hidden.", native).unwrap();
    registry.expose_self().unwrap();
    for expected in 0..2 {
        let line = format!("\ncortex_metrics_dropped_families_total {expected}\n");
        let exposed = encode(&registry, Format::OpenMetrics1);
        parser::parse(Format::OpenMetrics1, &exposed);
        assert!(
            exposed.contains(&line) && !exposed.contains("Hidden"),
            "{exposed}"
        );
    }
    assert!(registry.expose_self().is_err());
}

#[test]
fn hostile_text() {
    let registry = Registry::default();
    let hostile = "\\ \"quoted\"\n# TYPE x counter\u{e9}";
    let family = Family::<Route, _>::new(Counter::default).max_series(1);
    let sub = registry.sub_registry("svc", [("zone", hostile)]).unwrap();
    sub.register("hits", hostile, family.clone()).unwrap();
    for route in [hostile, "over", "the bound"] {
        let method = "GET";
        let route = route.to_owned();
        family.with(&Route { method, route }, Counter::inc);
    }
    registry
        .register("i", hostile, Info::new([("k", hostile)]))
        .unwrap();
    registry.register_collector(move |out: &mut Samples<'_>| out.gauge("c", hostile, &[("k", hostile)], 1.0));
    check(
        &registry,
        &expect![[r##"
        # HELP svc_hits_total \\ "quoted"\n# TYPE x counteré
        # TYPE svc_hits_total counter
        svc_hits_total{zone="\\ \"quoted\"\n# TYPE x counteré",method="GET",route="\\ \"quoted\"\n# TYPE x counteré"} 1
        svc_hits_total{zone="\\ \"quoted\"\n# TYPE x counteré",method="__other__",route="__other__"} 2
        # HELP i_info \\ "quoted"\n# TYPE x counteré
        # TYPE i_info gauge
        i_info{k="\\ \"quoted\"\n# TYPE x counteré"} 1
        # HELP c \\ "quoted"\n# TYPE x counteré
        # TYPE c gauge
        c{k="\\ \"quoted\"\n# TYPE x counteré"} 1.0
    "##]],
        &expect![[r##"
        # TYPE svc_hits counter
        # HELP svc_hits \\ \"quoted\"\n# TYPE x counteré
        svc_hits_total{zone="\\ \"quoted\"\n# TYPE x counteré",method="GET",route="\\ \"quoted\"\n# TYPE x counteré"} 1
        svc_hits_total{zone="\\ \"quoted\"\n# TYPE x counteré",method="__other__",route="__other__"} 2
        # TYPE i info
        # HELP i \\ \"quoted\"\n# TYPE x counteré
        i_info{k="\\ \"quoted\"\n# TYPE x counteré"} 1
        # TYPE c gauge
        # HELP c \\ \"quoted\"\n# TYPE x counteré
        c{k="\\ \"quoted\"\n# TYPE x counteré"} 1.0
        # EOF
    "##]],
    );
}

#[test]
fn a_family_of_histograms() {
    let registry = Registry::default();
    let buckets = Buckets::linear(1.0, 1.0, 1).unwrap();
    let family = Family::<Route, _>::new(move || Histogram::classic(&buckets));
    registry
        .sub_registry("", [("a", "1")])
        .unwrap()
        .register("h", "H.", family.clone())
        .unwrap();
    for (method, value) in [("GET", 1.0), ("PUT", 1.5)] {
        let route = "/".to_owned();
        family.with(&Route { method, route }, |histogram| histogram.observe(value));
    }
    check(
        &registry,
        &expect![[r##"
        # HELP h H.
        # TYPE h histogram
        h_bucket{a="1",method="GET",route="/",le="1.0"} 1
        h_bucket{a="1",method="GET",route="/",le="+Inf"} 1
        h_sum{a="1",method="GET",route="/"} 1.0
        h_count{a="1",method="GET",route="/"} 1
        h_bucket{a="1",method="PUT",route="/",le="1.0"} 0
        h_bucket{a="1",method="PUT",route="/",le="+Inf"} 1
        h_sum{a="1",method="PUT",route="/"} 1.5
        h_count{a="1",method="PUT",route="/"} 1
    "##]],
        &expect![[r##"
        # TYPE h histogram
        # HELP h H.
        h_bucket{a="1",method="GET",route="/",le="1.0"} 1
        h_bucket{a="1",method="GET",route="/",le="+Inf"} 1
        h_sum{a="1",method="GET",route="/"} 1.0
        h_count{a="1",method="GET",route="/"} 1
        h_bucket{a="1",method="PUT",route="/",le="1.0"} 0
        h_bucket{a="1",method="PUT",route="/",le="+Inf"} 1
        h_sum{a="1",method="PUT",route="/"} 1.5
        h_count{a="1",method="PUT",route="/"} 1
        # EOF
    "##]],
    );
}

#[test]
fn an_exposition_is_appended() {
    let mut text = b"before\n".to_vec();
    Registry::default().encode(Format::OpenMetrics1, &mut text);
    assert_eq!(text, b"before\n# EOF\n");
    let drops = Registry::default();
    drops.register("dropped_families", "", drops.dropped()).unwrap();
    drops.register_collector(|out: &mut Samples<'_>| out.gauge("not a name", "", &[], 1.0));
    for expected in 0..3 {
        let expected = format!("# TYPE dropped_families_total counter\ndropped_families_total {expected}\n");
        assert_eq!(encode(&drops, Format::Text004), expected);
    }
}
