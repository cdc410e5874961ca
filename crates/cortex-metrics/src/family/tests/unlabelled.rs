//! Families without labels, whose one series is that of all others.

use std::time::Duration;

use cortex_testkit::ManualClock;

use super::super::{DynamicFamily, Family};
use crate::{Counter, Instrument, LevelGauge, Registry, labels};

labels! {
    struct Nothing {}
}

/// Uses the one series of a family without labels in every way, and returns what is shown of it.
fn shown_without_labels<M: Instrument + Clone>(
    make: fn() -> M,
    inc: fn(&M),
    with: impl Fn(&Family<Nothing, M>) -> M,
) -> String {
    let clock = std::sync::Arc::new(ManualClock::new());
    let family = Family::<Nothing, M>::new(make)
        .max_series(0)
        .expire_after(Duration::from_secs(1), std::sync::Arc::clone(&clock));
    let registry = Registry::default();
    registry.register("m", "", family.clone()).unwrap();
    let handle = with(&family);
    inc(&handle);
    assert!(!family.remove(&Nothing {}));
    inc(&handle);
    family.retain(|_, _| false);
    with(&family);
    drop(handle);
    for _ in 0..3 {
        registry.to_text();
        clock.advance(Duration::from_secs(2));
    }
    inc(&with(&family));
    assert_eq!(
        (family.len(), family.overflow_hits(), family.retired()),
        (1, 0, 0)
    );
    registry.to_text()
}

#[test]
fn the_only_series_is_that_of_all_others_and_stays() {
    let handle = |family: &Family<Nothing, _>| family.handle(&Nothing {});
    let shown = shown_without_labels(Counter::default, Counter::inc, handle);
    assert_eq!(shown, "# TYPE m_total counter\nm_total 3\n");
    let handle = |family: &Family<Nothing, _>| family.handle(&Nothing {});
    let shown = shown_without_labels(LevelGauge::default, LevelGauge::inc, handle);
    assert_eq!(shown, "# TYPE m gauge\nm 3\n");

    let family = DynamicFamily::<Counter, 0>::new([""; 0], Counter::default);
    let handle = family.handle([]);
    assert!(!family.remove([]));
    handle.add(4);
    family.with([], Counter::inc);
    let registry = Registry::default();
    registry.register("m", "", family).unwrap();
    assert_eq!(registry.to_text(), "# TYPE m_total counter\nm_total 5\n");
}

#[test]
fn keys_without_labels_do_not_pile_up() {
    #[derive(Clone, PartialEq, Eq, Hash)]
    struct Silent(u32);
    impl crate::Labels for Silent {
        const NAMES: &'static [&'static str] = &[];
        fn values(&self, _: &mut crate::LabelValues<'_>) {}
    }
    let family = Family::<Silent, _>::new(Counter::default);
    (0..5_000).for_each(|n| family.with(&Silent(n), Counter::inc));
    assert_eq!((family.len(), family.handle(&Silent(0)).get()), (1, 5_000));
    let mut keys = 0;
    family.each(|_, _, count| {
        keys += 1;
        assert_eq!(*count, 5_000);
    });
    assert_eq!(keys, 1);
}
