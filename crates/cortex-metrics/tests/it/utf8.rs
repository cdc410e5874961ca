//! Names that not every scraper can read, in every format and with every escaping.

use cortex_metrics::prometheus::prometheus_client::encoding::text;
use cortex_metrics::prometheus::prometheus_client::metrics::family::Family as TheirFamily;
use cortex_metrics::prometheus::prometheus_client::metrics::gauge::Gauge as TheirGauge;
use cortex_metrics::prometheus::prometheus_client::registry::Registry as Theirs;
use cortex_metrics::{
    Buckets, ContentType, Counter, DynamicFamily, Escaping, Format, Gauge, GaugeF64, Histogram, Info,
    NameScheme, RegisterErrorKind, Registry, Samples, StateSet, label_enum,
};
use expect_test::{Expect, expect};

use crate::{encode, parser};

label_enum! {
    enum Light { Red = "red", Green = "green" }
}

fn every_type() -> Registry {
    let registry = Registry::with_names(NameScheme::Utf8);
    let sub = registry
        .sub_registry("my.app", [("service.zone", "\"a\"")])
        .unwrap();
    let requests = DynamicFamily::new(["http.route", "method"], Counter::default);
    requests.with(["/{id}", "GET"], |count| count.add(3));
    sub.register("requests", "Requests \"answered\".", requests)
        .unwrap();
    sub.register("up", "", Gauge::default()).unwrap();
    let histogram = Histogram::classic(&Buckets::new([0.5]).unwrap());
    histogram.observe(0.25);
    registry
        .register_with_unit("wait", "", "seconds", histogram.clone())
        .unwrap();
    registry
        .register_with_unit("\u{5f85}\u{3061}", "Waited.", "seconds", histogram)
        .unwrap();
    let sent = Counter::default();
    sent.inc();
    registry
        .register_with_unit("sent.all", "", "bytes", sent)
        .unwrap();
    registry
        .register("build.x", "", Info::new([("version", "1"), ("git:sha", "abc")]))
        .unwrap();
    registry
        .register("light \"x\"\n", "", StateSet::new(Light::Green))
        .unwrap();
    registry
        .register("legacy_name", "Legacy.", Gauge::default())
        .unwrap();
    registry.register_collector(|out: &mut Samples<'_>| {
        out.gauge("odd.one", "", &[("a.b", "1"), ("c", "2")], 0.5);
    });
    registry
}

fn check(registry: &Registry, format: Format, escaping: Escaping, expected: &Expect) {
    let content_type = ContentType { format, escaping };
    let exposed = encode(registry, content_type);
    parser::parse(content_type, &exposed);
    expected.assert_eq(&exposed);
}

#[test]
fn utf8_in_text() {
    check(
        &every_type(),
        Format::Text100,
        Escaping::AllowUtf8,
        &expect![[r##"
            # HELP "my.app_requests_total" Requests "answered".
            # TYPE "my.app_requests_total" counter
            {"my.app_requests_total","service.zone"="\"a\"","http.route"="/{id}",method="GET"} 3
            # TYPE "my.app_up" gauge
            {"my.app_up","service.zone"="\"a\""} 0
            # TYPE wait_seconds histogram
            wait_seconds_bucket{le="0.5"} 1
            wait_seconds_bucket{le="+Inf"} 1
            wait_seconds_sum 0.25
            wait_seconds_count 1
            # HELP "待ち_seconds" Waited.
            # TYPE "待ち_seconds" histogram
            {"待ち_seconds_bucket",le="0.5"} 1
            {"待ち_seconds_bucket",le="+Inf"} 1
            {"待ち_seconds_sum"} 0.25
            {"待ち_seconds_count"} 1
            # TYPE "sent.all_bytes_total" counter
            {"sent.all_bytes_total"} 1
            # TYPE "build.x_info" gauge
            {"build.x_info",version="1","git:sha"="abc"} 1
            # TYPE "light \"x\"\n" gauge
            {"light \"x\"\n","light \"x\"\n"="red"} 0
            {"light \"x\"\n","light \"x\"\n"="green"} 1
            # HELP legacy_name Legacy.
            # TYPE legacy_name gauge
            legacy_name 0
            # TYPE "odd.one" gauge
            {"odd.one","a.b"="1",c="2"} 0.5
        "##]],
    );
}

#[test]
fn utf8_in_open_metrics() {
    let registry = every_type();
    check(
        &registry,
        Format::OpenMetrics1,
        Escaping::AllowUtf8,
        &expect![[r##"
            # TYPE "my.app_requests" counter
            # HELP "my.app_requests" Requests \"answered\".
            {"my.app_requests_total","service.zone"="\"a\"","http.route"="/{id}",method="GET"} 3
            # TYPE "my.app_up" gauge
            {"my.app_up","service.zone"="\"a\""} 0
            # TYPE wait_seconds histogram
            # UNIT wait_seconds seconds
            wait_seconds_bucket{le="0.5"} 1
            wait_seconds_bucket{le="+Inf"} 1
            wait_seconds_sum 0.25
            wait_seconds_count 1
            # TYPE "待ち_seconds" histogram
            # UNIT "待ち_seconds" seconds
            # HELP "待ち_seconds" Waited.
            {"待ち_seconds_bucket",le="0.5"} 1
            {"待ち_seconds_bucket",le="+Inf"} 1
            {"待ち_seconds_sum"} 0.25
            {"待ち_seconds_count"} 1
            # TYPE "sent.all_bytes" counter
            # UNIT "sent.all_bytes" bytes
            {"sent.all_bytes_total"} 1
            # TYPE "build.x" info
            {"build.x_info",version="1","git:sha"="abc"} 1
            # TYPE "light \"x\"\n" stateset
            {"light \"x\"\n","light \"x\"\n"="red"} 0
            {"light \"x\"\n","light \"x\"\n"="green"} 1
            # TYPE legacy_name gauge
            # HELP legacy_name Legacy.
            legacy_name 0
            # TYPE "odd.one" gauge
            {"odd.one","a.b"="1",c="2"} 0.5
            # EOF
        "##]],
    );
}

#[test]
fn underscores_in_text() {
    let registry = every_type();
    check(
        &registry,
        Format::Text004,
        Escaping::Underscores,
        &expect![[r##"
        # HELP my_app_requests_total Requests "answered".
        # TYPE my_app_requests_total counter
        my_app_requests_total{service_zone="\"a\"",http_route="/{id}",method="GET"} 3
        # TYPE my_app_up gauge
        my_app_up{service_zone="\"a\""} 0
        # TYPE wait_seconds histogram
        wait_seconds_bucket{le="0.5"} 1
        wait_seconds_bucket{le="+Inf"} 1
        wait_seconds_sum 0.25
        wait_seconds_count 1
        # HELP ___seconds Waited.
        # TYPE ___seconds histogram
        ___seconds_bucket{le="0.5"} 1
        ___seconds_bucket{le="+Inf"} 1
        ___seconds_sum 0.25
        ___seconds_count 1
        # TYPE sent_all_bytes_total counter
        sent_all_bytes_total 1
        # TYPE build_x_info gauge
        build_x_info{version="1",git_sha="abc"} 1
        # TYPE light__x__ gauge
        light__x__{light__x__="red"} 0
        light__x__{light__x__="green"} 1
        # HELP legacy_name Legacy.
        # TYPE legacy_name gauge
        legacy_name 0
        # TYPE odd_one gauge
        odd_one{a_b="1",c="2"} 0.5
    "##]],
    );
    assert_eq!(registry.to_text(), encode(&registry, Format::Text100));
}

#[test]
fn dots_in_open_metrics() {
    check(
        &every_type(),
        Format::OpenMetrics1,
        Escaping::Dots,
        &expect![[r##"
            # TYPE my_dot_app__requests_ counter
            # HELP my_dot_app__requests_ Requests \"answered\".
            my_dot_app__requests__total{service_dot_zone="\"a\"",http_dot_route="/{id}",method="GET"} 3
            # TYPE my_dot_app__up gauge
            my_dot_app__up{service_dot_zone="\"a\""} 0
            # TYPE wait_seconds histogram
            # UNIT wait_seconds seconds
            wait_seconds_bucket{le="0.5"} 1
            wait_seconds_bucket{le="+Inf"} 1
            wait_seconds_sum 0.25
            wait_seconds_count 1
            # TYPE ______seconds histogram
            # UNIT ______seconds seconds
            # HELP ______seconds Waited.
            ______seconds_bucket{le="0.5"} 1
            ______seconds_bucket{le="+Inf"} 1
            ______seconds_sum 0.25
            ______seconds_count 1
            # TYPE sent_dot_all__bytes_ counter
            sent_dot_all__bytes__total 1
            # TYPE build_dot_x_ info
            build_dot_x__info{version="1",git__sha="abc"} 1
            # TYPE light____x____ stateset
            light____x____{light____x____="red"} 0
            light____x____{light____x____="green"} 1
            # TYPE legacy_name gauge
            # HELP legacy_name Legacy.
            legacy_name 0
            # TYPE odd_dot_one gauge
            odd_dot_one{a_dot_b="1",c="2"} 0.5
            # EOF
        "##]],
    );
}

#[test]
fn values_in_open_metrics() {
    check(
        &every_type(),
        Format::OpenMetrics1,
        Escaping::Values,
        &expect![[r##"
            # TYPE U__my_2e_app__requests_ counter
            # HELP U__my_2e_app__requests_ Requests \"answered\".
            U__my_2e_app__requests__total{U__service_2e_zone="\"a\"",U__http_2e_route="/{id}",method="GET"} 3
            # TYPE U__my_2e_app__up gauge
            U__my_2e_app__up{U__service_2e_zone="\"a\""} 0
            # TYPE wait_seconds histogram
            # UNIT wait_seconds seconds
            wait_seconds_bucket{le="0.5"} 1
            wait_seconds_bucket{le="+Inf"} 1
            wait_seconds_sum 0.25
            wait_seconds_count 1
            # TYPE U___5f85__3061___seconds histogram
            # UNIT U___5f85__3061___seconds seconds
            # HELP U___5f85__3061___seconds Waited.
            U___5f85__3061___seconds_bucket{le="0.5"} 1
            U___5f85__3061___seconds_bucket{le="+Inf"} 1
            U___5f85__3061___seconds_sum 0.25
            U___5f85__3061___seconds_count 1
            # TYPE U__sent_2e_all__bytes_ counter
            U__sent_2e_all__bytes__total 1
            # TYPE U__build_2e_x_ info
            U__build_2e_x__info{version="1",U__git_3a_sha="abc"} 1
            # TYPE U__light_20__22_x_22__a_ stateset
            U__light_20__22_x_22__a_{U__light_20__22_x_22__a_="red"} 0
            U__light_20__22_x_22__a_{U__light_20__22_x_22__a_="green"} 1
            # TYPE legacy_name gauge
            # HELP legacy_name Legacy.
            legacy_name 0
            # TYPE U__odd_2e_one gauge
            U__odd_2e_one{U__a_2e_b="1",c="2"} 0.5
            # EOF
        "##]],
    );
}

#[test]
fn names_that_everybody_reads_are_never_escaped() {
    for scheme in [NameScheme::Legacy, NameScheme::Utf8] {
        let registry = Registry::with_names(scheme);
        let family = DynamicFamily::new(["a_b"], Gauge::default);
        family.with(["1"], Gauge::inc);
        registry.register("a__dot_b", "", family).unwrap();
        for escaping in Escaping::ALL {
            let format = Format::Text004;
            let text = encode(&registry, ContentType { format, escaping });
            assert_eq!(text, "# TYPE a__dot_b gauge\na__dot_b{a_b=\"1\"} 1\n");
        }
    }
}

#[test]
fn what_is_the_same_when_it_is_escaped_is_refused() {
    let registry = Registry::with_names(NameScheme::Utf8);
    registry.register("a.b", "", Counter::default()).unwrap();
    let problem = |name: &str| {
        let error = registry.register(name, "", Gauge::default()).unwrap_err();
        assert_eq!(error.metric(), name);
        error.kind().clone()
    };
    let escaped = |name: &str, escaping| RegisterErrorKind::EscapedClash {
        name: name.to_owned(),
        with: "a.b".to_owned(),
        escaping,
    };
    assert_eq!(problem("a.b"), RegisterErrorKind::Duplicate);
    assert_eq!(problem("a_b"), escaped("a_b", Escaping::Underscores));
    assert_eq!(problem("a-b_total"), escaped("a_b_total", Escaping::Underscores));
    assert_eq!(
        problem("a_dot_b__total"),
        escaped("a_dot_b__total", Escaping::Dots)
    );
    assert_eq!(
        problem("U__a_2e_b__total"),
        escaped("U__a_2e_b__total", Escaping::Values)
    );
    let (name, with) = ("a.b_total".to_owned(), "a.b".to_owned());
    assert_eq!(problem("a.b_total"), RegisterErrorKind::Clash { name, with });

    let error = registry.register("", "", Gauge::default()).unwrap_err();
    assert_eq!(error.kind(), &RegisterErrorKind::InvalidName);
    let error = registry.register("a:b", "", StateSet::new(true)).unwrap_err();
    assert_eq!(error.kind(), &RegisterErrorKind::InvalidName);
    registry.register("a:b", "", Gauge::default()).unwrap();
    let family = DynamicFamily::new(["x.y", "x_y"], Gauge::default);
    let error = registry.register("labels", "", family).unwrap_err();
    let clash = RegisterErrorKind::LabelClash {
        label: "x_y".to_owned(),
        with: "x.y".to_owned(),
        escaping: Escaping::Underscores,
    };
    assert_eq!(error.kind(), &clash);
    let sub = registry.sub_registry("", [("x.y", "1")]).unwrap();
    let error = sub.register("labels", "", Info::new([("x-y", "1")])).unwrap_err();
    assert!(matches!(error.kind(), RegisterErrorKind::LabelClash { .. }));
    let error = sub.register("x_y", "", StateSet::new(true)).unwrap_err();
    assert!(
        matches!(error.kind(), RegisterErrorKind::LabelClash { .. }),
        "{error}"
    );
    for reserved in ["..name..", "\u{e9}", "_x.y"] {
        let error = registry.sub_registry("", [(reserved, "1")]).unwrap_err();
        assert!(
            matches!(error.kind(), RegisterErrorKind::InvalidLabel { .. }),
            "{error}"
        );
    }
}

#[test]
fn what_is_collected_is_left_out_if_it_is_the_same_when_it_is_escaped() {
    let registry = Registry::with_names(NameScheme::Utf8);
    registry.register("a.b", "", GaugeF64::default()).unwrap();
    for label in ["x.y", "x_y"] {
        registry.register_collector(move |out: &mut Samples<'_>| {
            out.gauge("a_b", "", &[], 1.0);
            out.gauge("merged", "", &[(label, "1")], 1.0); // the second time with a label like the first
            out.gauge("labels", "", &[("k.", "1"), ("k-", "2")], 1.0);
            out.gauge("", "", &[], 1.0);
            out.gauge("g", "", &[("__x", "1")], 1.0);
        });
    }
    let expected = "# TYPE a_b gauge\na_b 0.0\n# TYPE merged gauge\nmerged{x_y=\"1\"} 1.0\n";
    assert_eq!(registry.to_text(), expected);
    assert_eq!(registry.dropped().get(), 2 * 4 + 1);
}

#[test]
fn a_registry_of_prometheus_client_has_no_quotes() {
    let mut theirs = Theirs::default();
    theirs.register("a.b", "Not readable", TheirGauge::<i64>::default());
    theirs.register("good", "Good", TheirGauge::<i64>::default());
    let family = TheirFamily::<Vec<(String, String)>, TheirGauge<i64>>::default();
    family.get_or_create(&vec![("\"x.y\"".into(), "1".into())]).set(1);
    theirs.register("quoted", "Looks like ours", family);
    let registry = Registry::with_names(NameScheme::Utf8);
    let sub = registry.sub_registry("my.app", [("z.z", "1")]).unwrap();
    sub.prometheus(theirs);
    assert_eq!(
        registry.to_text(),
        "# HELP my_app_good Good.\n# TYPE my_app_good gauge\nmy_app_good{z_z=\"1\"} 0\n"
    );
    assert_eq!(registry.dropped().get(), 2);
}

#[test]
fn ours_are_escaped_in_a_registry_of_prometheus_client() {
    let mut theirs = Theirs::default();
    for (name, labels) in [("clear", ["x.y", "z"]), ("alike", ["x.y", "x_y"])] {
        let family = DynamicFamily::new(labels, Gauge::default);
        family.with(["1", "2"], Gauge::inc);
        theirs.register(name, "Ours", family);
    }
    let mut written = String::new();
    text::encode(&mut written, &theirs).unwrap();
    assert!(written.contains("clear{x_y=\"1\",z=\"2\"} 1\n"), "{written}");
    assert!(
        written.contains("alike{U__x_2e_y=\"1\",x_y=\"2\"} 1\n"),
        "{written}"
    );
}
