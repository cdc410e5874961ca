//! What a family makes its metrics of, and what it copies.

use super::super::Family;
use super::keys::{Key, key};
use crate::{
    Buckets, Counter, CounterF64, Gauge, GaugeF64, Histogram, HistogramBuilder, Instrument, LevelGauge,
    NativeBuckets, Registry, StateSet,
};

#[test]
fn a_panic_of_what_makes_metrics_loses_its_family_for_one_scrape() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let fails = std::sync::Arc::new(AtomicBool::new(false));
    let family = {
        let fails = std::sync::Arc::clone(&fails);
        Family::new(move || {
            if fails.load(Ordering::Relaxed) {
                std::panic::resume_unwind(Box::new("without a message on stderr"));
            }
            Counter::default()
        })
    };
    let registry = Registry::default();
    registry.register("a", "", Counter::default()).unwrap();
    registry.register("b", "", family.clone()).unwrap();
    family.with(&key("x"), |count| count.add(3));
    assert!(family.remove(&key("x")));
    fails.store(true, Ordering::Relaxed); // the series of all others cannot be made
    assert_eq!(registry.to_text(), "# TYPE a_total counter\na_total 0\n");
    assert_eq!(registry.dropped().get(), 1);
    fails.store(false, Ordering::Relaxed);
    assert!(registry.to_text().ends_with("b_total{key=\"__other__\"} 3\n"));
}

/// Makes a histogram of another shape each time, from a list.
fn of_shapes(shapes: Vec<fn() -> Histogram>) -> Family<Key, Histogram> {
    let made = std::sync::atomic::AtomicUsize::new(0);
    Family::new(move || {
        let at = made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        shapes[at % shapes.len()]()
    })
}

#[test]
fn histograms_of_another_shape_do_not_move() {
    fn classic(bounds: &[f64]) -> HistogramBuilder {
        Histogram::builder(&Buckets::new(bounds.iter().copied()).unwrap())
    }
    fn few() -> Histogram {
        classic(&[1.0]).build()
    }
    let others: [fn() -> Histogram; 6] = [
        || classic(&[1.0, 2.0, 3.0]).build(),
        || classic(&[1.5]).build(),
        || classic(&[1.0]).signed().build(),
        || classic(&[1.0]).with_native(NativeBuckets::default()).build(),
        || Histogram::native(NativeBuckets::default()),
        || Histogram::native(NativeBuckets::default().zero_threshold(0.5)),
    ];
    for (number, other) in others.into_iter().enumerate() {
        // The first one made is the series, the second one that of all others.
        for shapes in [vec![other, few], vec![few, other]] {
            let family = of_shapes(shapes);
            let registry = Registry::default();
            registry.register("m", "", family.clone()).unwrap();
            registry.expose_self().unwrap();
            // In threads that are new, whose first count takes another way, and in one that is not.
            for _ in 0..2 {
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        family.with(&key("a"), |histogram| histogram.observe(7.0));
                    });
                });
                family.with(&key("a"), |histogram| histogram.observe(0.5));
            }
            family.remove(&key("a"));
            assert_eq!(family.lost(), 0);
            let text = registry.to_text();
            assert_eq!(family.lost(), 4, "{number}");
            assert!(!text.contains("m_sum{key=\"__other__\"} 15"), "{number}: {text}");
            let text = registry.to_text();
            assert_eq!(family.lost(), 4, "{number}");
            let lost = "cortex_metrics_lost_total{family=\"m\"} 4.0\n";
            assert!(text.contains(lost), "{number}: {text}");
        }
    }
}

#[test]
fn one_metric_for_all_series_is_not_added_to_itself() {
    fn counted<M: Instrument + Clone>(one: &M, add: fn(&M)) {
        let family = {
            let one = one.clone();
            Family::new(move || one.clone())
        };
        for name in ["a", "b"] {
            family.with(&key(name), add);
        }
        family.each(|_, _, _| {});
        add(one);
        family.remove(&key("a"));
        for _ in 0..5 {
            family.each(|_, _, _| {});
        }
        add(one);
        family.each(|_, _, _| {});
    }
    let (count, sum, level) = (Counter::default(), CounterF64::default(), LevelGauge::default());
    let histogram = Histogram::classic(&Buckets::new([1.0]).unwrap());
    counted(&count, Counter::inc);
    counted(&sum, |sum| sum.add(1.0));
    counted(&level, LevelGauge::inc);
    counted(&histogram, |histogram| histogram.observe(1.0));
    assert_eq!(
        (count.get(), level.get(), histogram.snapshot().count()),
        (4, 4, 4)
    );
    assert_eq!(
        (sum.get().to_bits(), histogram.snapshot().sum().to_bits()),
        (4.0_f64.to_bits(), 4.0_f64.to_bits())
    );
}

#[test]
fn a_sum_that_overflowed_does_not_spoil_that_of_all_others() {
    let family = Family::new(|| Histogram::classic(&Buckets::new([1.0]).unwrap()));
    family.with(&key("a"), |histogram| histogram.observe(f64::MAX));
    family.with(&key("b"), |histogram| histogram.observe(2.0));
    family.with(&key("a"), |histogram| histogram.observe(f64::MAX));
    family.each(|_, _, _| {}); // shows infinity
    family.with(&key("a"), |histogram| histogram.observe(3.0));
    for name in ["a", "b"] {
        family.with(&key(name), |histogram| histogram.observe(3.0));
        family.remove(&key(name));
    }
    let mut shown = Vec::new();
    family.each(|_, _, seen| shown.push((seen.count(), seen.sum().to_bits())));
    // The counts of both, the sum of one.
    assert_eq!((shown, family.lost()), (vec![(3, 3.0_f64.to_bits())], 2));

    let family = Family::new(CounterF64::default);
    family.with(&key("a"), |sum| (0..2).for_each(|_| sum.add(f64::MAX)));
    family.remove(&key("a"));
    let mut shown = Vec::new();
    family.each(|_, _, sum| shown.push(sum.to_bits()));
    assert_eq!((shown, family.lost()), (vec![0.0_f64.to_bits()], 1));
}

/// Clones a metric that a thread remembers, and uses the clone when its series, its family and the thread are gone.
fn use_after_all_is_gone<M: Instrument + Clone>(make: fn() -> M, add: fn(&M)) -> M {
    let thread = std::thread::spawn(move || {
        let family = Family::new(make);
        family.with(&key("a"), add);
        // Now it is remembered.
        let clones: Vec<M> = (0..3).map(|_| family.with(&key("a"), M::clone)).collect();
        assert!(family.remove(&key("a")));
        family.with(&key("b"), add); // forgets it
        let other = family.handle(&key("b"));
        drop(family);
        add(&other);
        clones.into_iter().inspect(add).last().unwrap()
    });
    let clone = thread.join().unwrap(); // with the thread's locals
    let more: Vec<M> = (0..100).map(|_| make()).collect(); // take cells that are free
    more.iter().for_each(add);
    add(&clone.clone());
    clone
}

#[test]
fn what_was_cloned_from_memory_outlives_it() {
    let count = use_after_all_is_gone(Counter::default, Counter::inc);
    let sum = use_after_all_is_gone(CounterF64::default, |sum| sum.add(0.5));
    let level = use_after_all_is_gone(LevelGauge::default, LevelGauge::inc);
    let gauge = use_after_all_is_gone(Gauge::default, Gauge::inc);
    let float = use_after_all_is_gone(GaugeF64::default, |gauge| gauge.add(0.5));
    let set = use_after_all_is_gone(StateSet::<bool>::default, |set| set.set(true));
    let make = || Histogram::classic(&Buckets::new([1.0]).unwrap());
    let histogram = use_after_all_is_gone(make, |histogram| histogram.observe(0.5));
    // Once in the family, thrice by a clone, and once in the end.
    assert_eq!((count.get(), level.get(), gauge.get()), (5, 5, 5));
    assert_eq!(
        [sum.get(), float.get()].map(f64::to_bits),
        [2.5_f64; 2].map(f64::to_bits)
    );
    assert!(set.is_on(true));
    let snapshot = histogram.snapshot();
    assert_eq!(
        (snapshot.counts(), snapshot.sum().to_bits()),
        (&[5, 0][..], 2.5_f64.to_bits())
    );
}
