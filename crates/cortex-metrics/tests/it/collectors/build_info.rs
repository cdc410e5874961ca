use cortex_metrics::{Format, Registry, build_info};

use crate::{encode, parser};

#[test]
fn it_says_what_the_environment_said() {
    let registry = Registry::default();
    registry
        .register("shop_build", "What runs here.", build_info!())
        .unwrap();
    let sub = registry.sub_registry("other", [("zone", "a")]).unwrap();
    let given = String::from("f00");
    let info = build_info! { revision = given, tier = "free", };
    sub.register("build_info", "What runs there.", info).unwrap();
    for format in [Format::Text004, Format::OpenMetrics1] {
        let families = parser::parse(format, &encode(&registry, format));
        let [shop, other] = &*families else {
            panic!("two families: {families:?}")
        };
        let labels = &shop.samples[0].labels;
        assert_eq!(
            (&*shop.samples[0].name, shop.samples[0].value),
            ("shop_build_info", 1.0)
        );
        assert_eq!(labels["package"], "cortex-metrics");
        assert_eq!(labels["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(labels["os"], std::env::consts::OS);
        assert_eq!(labels["arch"], std::env::consts::ARCH);
        let profile = if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        };
        assert_eq!(labels["profile"], profile);
        let revision = [option_env!("GIT_COMMIT"), option_env!("GITHUB_SHA")];
        if let Some(revision) = revision.into_iter().flatten().next() {
            assert_eq!(labels["revision"], revision);
        }
        if let Some(version) = option_env!("RUSTC_VERSION") {
            assert!(version.contains(&labels["rustversion"]));
        }
        let labels = &other.samples[0].labels;
        assert_eq!(
            [&*labels["revision"], &labels["tier"], &labels["zone"]],
            ["f00", "free", "a"]
        );
    }
}

#[test]
fn a_bad_label_is_refused_when_it_is_registered() {
    let registry = Registry::default();
    let twice = build_info!(a = "1", a = "2");
    assert!(registry.register("build", "", twice).is_err());
    assert!(registry.register("build", "", build_info!(__a = "1")).is_err());
    assert_eq!(encode(&registry, Format::Text004), "");
}
