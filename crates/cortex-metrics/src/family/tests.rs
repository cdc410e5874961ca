use std::collections::HashMap;
use std::sync::Barrier;
use std::time::Duration;

use cortex_testkit::ManualClock;

use super::{DynamicFamily, Family};
use crate::metric::Encode;
use crate::{
    Buckets, Counter, CounterF64, Gauge, GaugeF64, Histogram, HistogramBuilder, HistogramSnapshot,
    Instrument, LevelGauge, NativeBuckets, Registry, StateSet, labels,
};

labels! {
    struct Key { key: String }
}

fn key(key: impl Into<String>) -> Key {
    Key { key: key.into() }
}

fn exposed(family: &Family<Key, Counter>) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    family.each(|labels, _, count| all.push((labels.to_owned(), *count)));
    all
}

#[test]
fn series_are_shown_in_the_order_of_creation() {
    let family = Family::new(Counter::default);
    for name in ["b", "a", "c", "a"] {
        family.clone().with(&key(name), Counter::inc);
    }
    let shown = [(r#"key="b""#, 1), (r#"key="a""#, 2), (r#"key="c""#, 1)].map(|(k, n)| (k.to_owned(), n));
    assert_eq!(exposed(&family), shown);
    assert!(family.remove(&key("b")));
    assert!(!family.remove(&key("b")));
    assert_eq!(exposed(&family), shown[1..]);
    assert!(family.remove(&key("c")));
    family.with(&key("b"), |_| {});
    assert_eq!(exposed(&family), [shown[1].clone(), (r#"key="b""#.to_owned(), 0)]);
    assert_eq!(format!("{family:?}"), "Family { len: 2, .. }");
    assert!(!family.is_empty());
}

#[test]
fn holes_do_not_pile_up_between_scrapes() {
    let family = Family::new(Counter::default);
    family.with(&key("stays"), Counter::inc);
    for n in 0_u32..5_000 {
        family.with(&key(n.to_string()), Counter::inc);
        assert!(family.remove(&key(n.to_string())));
        assert!(family.slots() < 300, "{n}");
    }
    assert_eq!(exposed(&family)[0], (r#"key="stays""#.to_owned(), 1));
}

#[test]
fn the_bound_keeps_totals_true() {
    let family = Family::new(Counter::default).max_series(10);
    assert!(Encode::is_empty(&family));
    for n in 0_u32..1_000 {
        family.with(&key(n.to_string()), Counter::inc);
        family.with(&key((n % 10).to_string()), Counter::inc);
    }
    assert_eq!(family.len(), 10);
    let shown = exposed(&family);
    assert_eq!(shown.iter().map(|(_, n)| n).sum::<u64>(), 2_000);
    assert_eq!(shown[10], (r#"key="__other__""#.to_owned(), 990));
    // Room that a removal makes is used.
    assert!(family.remove(&key("0")));
    family.with(&key("new"), Counter::inc);
    assert_eq!(exposed(&family)[9], (r#"key="new""#.to_owned(), 1));
}

#[test]
fn a_bound_of_zero_leaves_one_series() {
    let family = Family::new(Counter::default).max_series(0);
    family.with(&key("a"), Counter::inc);
    assert_eq!(
        (family.len(), family.is_empty(), Encode::is_empty(&family)),
        (0, true, false)
    );
    assert_eq!(exposed(&family), [(r#"key="__other__""#.to_owned(), 1)]);
    assert!(!family.remove(&key("a")));
}

#[test]
fn keys_that_read_the_same_share_a_series() {
    let family = Family::new(Counter::default).max_series(3);
    let long = "x".repeat(300);
    family.with(&key(format!("{long}1")), Counter::inc);
    family.with(&key(format!("{long}2")), Counter::inc);
    family.with(&key("__other__"), Counter::inc);
    assert_eq!(family.len(), 1);
    assert_eq!(
        exposed(&family).iter().map(|(_, n)| *n).collect::<Vec<_>>(),
        [2, 1]
    );
    // Together they take one place of the bound.
    family.with(&key("b"), Counter::inc);
    family.with(&key("c"), Counter::inc);
    family.with(&key("d"), Counter::inc);
    assert_eq!(
        exposed(&family).iter().map(|(_, n)| *n).collect::<Vec<_>>(),
        [2, 1, 1, 2]
    );
    // One removal removes the series for all its keys.
    assert!(family.remove(&key(format!("{long}2"))));
    assert!(!family.remove(&key(format!("{long}1"))));
    family.with(&key(format!("{long}1")), Counter::inc);
    assert_eq!(
        exposed(&family).iter().map(|(_, n)| *n).collect::<Vec<_>>(),
        [1, 1, 1, 2]
    );
}

#[test]
fn concurrent_creation_makes_each_series_once() {
    const THREADS: usize = 8;
    let family = Family::new(Counter::default).max_series(100);
    let barrier = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                barrier.wait();
                for n in 0_u32..400 {
                    family.with(&key((n % 200).to_string()), Counter::inc);
                }
            });
        }
    });
    let shown = exposed(&family);
    assert_eq!(family.len(), 100);
    assert_eq!(shown.iter().map(|(_, n)| n).sum::<u64>(), 8 * 400);
    let mut names: Vec<_> = shown.iter().map(|(labels, _)| labels).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 101);
}

#[test]
fn creations_removals_and_scrapes_race_without_a_trace() {
    let family = Family::new(Counter::default);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for n in 0_u32..2_000 {
                    family.with(&key((n % 7).to_string()), Counter::inc);
                }
            });
            scope.spawn(|| (0_u32..2_000).for_each(|n| _ = family.remove(&key((n % 7).to_string()))));
            scope.spawn(|| (0..200).for_each(|_| assert!(exposed(&family).len() <= 8)));
        }
    });
    for n in 0_u32..7 {
        family.remove(&key(n.to_string()));
    }
    assert!(family.is_empty());
    family.with(&key("new"), |_| {}); // this thread remembers none of the others any more
    exposed(&family);
    assert_eq!((family.len(), family.retired()), (1, 0));
}

#[test]
fn the_closure_may_use_the_family() {
    let family = Family::new(Counter::default);
    family.with(&key("a"), |outer| {
        family.with(&key("a"), Counter::inc);
        family.with(&key("b"), Counter::inc);
        assert!(family.remove(&key("a")));
        outer.inc();
        assert_eq!(outer.get(), 2);
    });
    assert_eq!(family.len(), 1);
    let handle = family.handle(&key("b"));
    handle.inc();
    assert_eq!(family.handle(&key("b")).get(), 2);
}

/// What the series show, and the sum of them all.
fn total(family: &Family<Key, Counter>) -> u64 {
    exposed(family).iter().map(|(_, count)| count).sum()
}

#[test]
fn what_was_not_shown_moves_to_the_series_of_all_others() {
    let family = Family::new(Counter::default);
    family.with(&key("a"), |count| count.add(5));
    family.with(&key("b"), |count| count.add(100));
    assert_eq!(total(&family), 105);
    family.with(&key("a"), |count| count.add(2));
    assert!(family.remove(&key("a")));
    // 5 were shown and end with their series; 2 were not.
    let shown = [(r#"key="b""#, 100), (r#"key="__other__""#, 2)].map(|(k, n)| (k.to_owned(), n));
    assert_eq!(exposed(&family), shown);
    assert_eq!(exposed(&family), shown);
    assert_eq!(family.retired(), 0);
    family.with(&key("c"), Counter::inc);
    assert_eq!(total(&family), 103);
}

#[test]
fn a_handle_counts_on_after_its_series_is_gone() {
    let family = Family::new(Counter::default);
    let handle = family.handle(&key("a"));
    handle.add(3);
    assert!(family.remove(&key("a")));
    handle.add(4);
    assert_eq!(exposed(&family), [(r#"key="__other__""#.to_owned(), 7)]);
    // A new series with the same labels is another.
    family.with(&key("a"), Counter::inc);
    handle.add(1);
    let shown = [(r#"key="a""#, 1), (r#"key="__other__""#, 8)].map(|(k, n)| (k.to_owned(), n));
    assert_eq!(exposed(&family), shown);
    assert_eq!(family.retired(), 1);
    drop(handle);
    assert_eq!((total(&family), family.retired()), (9, 0));
}

#[test]
fn histograms_and_levels_move_too_but_gauges_do_not() {
    fn shown<M: Instrument>(make: fn() -> M, used: fn(&M)) -> String {
        let registry = Registry::default();
        let family = Family::<Key, M>::new(make);
        registry.register("m", "", family.clone()).unwrap();
        family.with(&key("a"), used);
        registry.to_text();
        family.with(&key("a"), used);
        assert!(family.remove(&key("a")));
        registry.to_text()
    }
    let make = || Histogram::classic(&Buckets::new([1.0]).unwrap());
    let histogram = shown(make, |histogram| histogram.observe(0.5));
    assert!(
        histogram.contains("m_bucket{key=\"__other__\",le=\"1.0\"} 1\n"),
        "{histogram}"
    );
    assert!(
        histogram.contains("m_sum{key=\"__other__\"} 0.5\n"),
        "{histogram}"
    );
    // A level that is not shown any more is missed in the total, whether it was seen or not.
    let level = shown(LevelGauge::default, LevelGauge::inc);
    assert!(level.ends_with("m{key=\"__other__\"} 2\n"), "{level}");
    assert_eq!(shown(Gauge::default, Gauge::inc), "");
}

#[test]
fn retain_asks_for_every_series() {
    let family = Family::new(Counter::default);
    for name in ["a", "b", "c"] {
        family.with(&key(name), Counter::inc);
    }
    family.retain(|labels, count| {
        family.with(&key("asked"), Counter::inc); // no lock is held
        labels.key != "b" && count.get() == 1
    });
    let names: Vec<_> = exposed(&family).into_iter().map(|(labels, _)| labels).collect();
    assert_eq!(
        names,
        [r#"key="a""#, r#"key="c""#, r#"key="asked""#, r#"key="__other__""#]
    );
}

#[test]
fn series_expire_when_nobody_uses_them() {
    let clock = std::sync::Arc::new(ManualClock::new());
    let family =
        Family::new(Counter::default).expire_after(Duration::from_mins(1), std::sync::Arc::clone(&clock));
    let handle = family.handle(&key("held"));
    family.with(&key("used"), Counter::inc);
    family.with(&key("idle"), Counter::inc);
    assert_eq!(total(&family), 2);
    for _ in 0..2 {
        clock.advance(Duration::from_secs(40));
        family.with(&key("used"), Counter::inc);
        exposed(&family);
    }
    let names = |family: &Family<Key, Counter>| {
        exposed(family)
            .into_iter()
            .map(|(labels, _)| labels)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&family), [r#"key="held""#, r#"key="used""#]);
    // It comes back when it is used.
    family.with(&key("idle"), Counter::inc);
    drop(handle);
    clock.advance(Duration::from_secs(61));
    family.with(&key("idle"), Counter::inc);
    assert_eq!(names(&family), [r#"key="idle""#]);
    assert_eq!(exposed(&family), [(r#"key="idle""#.to_owned(), 2)]);
}

/// Threads that use series of their own, one after the other, and then nothing any more until told to end.
struct Parked {
    threads: Vec<std::thread::JoinHandle<()>>,
    end: std::sync::Arc<Barrier>,
}

impl Parked {
    fn new(threads: usize) -> Self {
        let (threads, end) = (Vec::with_capacity(threads), Barrier::new(threads + 1).into());
        Self { threads, end }
    }

    fn park(&mut self, uses: impl FnOnce() + Send + 'static) {
        let (done, wait) = std::sync::mpsc::channel();
        let end = std::sync::Arc::clone(&self.end);
        self.threads.push(std::thread::spawn(move || {
            uses();
            done.send(()).expect("it is waited for");
            end.wait();
        }));
        wait.recv().expect("it does not panic");
    }

    /// Waits for their thread-locals, too.
    fn end(self) {
        self.end.wait();
        for thread in self.threads {
            thread.join().expect("it does not panic");
        }
    }
}

#[test]
fn threads_that_never_come_back_do_not_stop_expiry() {
    let clock = std::sync::Arc::new(ManualClock::new());
    let family = Family::new(Counter::default)
        .max_series(4)
        .expire_after(Duration::from_mins(1), std::sync::Arc::clone(&clock));
    let mut parked = Parked::new(3);
    for round in 0..3 {
        let used = family.clone();
        parked.park(move || (0..4).for_each(|n| used.with(&key(format!("{round}-{n}")), Counter::inc)));
        exposed(&family);
        clock.advance(Duration::from_secs(61));
        exposed(&family);
        assert_eq!(family.len(), 0, "{round}");
    }
    assert_eq!((family.overflow_hits(), family.retired()), (0, 12));
    parked.end();
    exposed(&family);
    assert_eq!(family.retired(), 0);
}

#[test]
fn a_thread_forgets_what_is_gone_whatever_it_does_next() {
    let next: [fn(&Family<Key, Counter>); 5] = [
        |family| _ = family.remove(&key("missing")),
        |family| family.retain(|_, _| true),
        |family| _ = exposed(family),
        |family| family.with(&key("a"), |_| {}),
        |family| family.with(&key("beyond the bound"), |_| {}),
    ];
    for (number, next) in next.into_iter().enumerate() {
        let family = Family::new(Counter::default).max_series(2);
        family.with(&key("a"), Counter::inc);
        let other = family.clone();
        // Another thread removes it, which so does not forget for this one.
        let thread = std::thread::spawn(move || {
            assert!(other.remove(&key("a")));
            other.with(&key("b"), Counter::inc);
            other.with(&key("c"), Counter::inc);
            exposed(&other);
            assert_eq!(other.retired(), 1);
        });
        thread.join().unwrap();
        next(&family);
        std::thread::scope(|scope| _ = scope.spawn(|| exposed(&family)));
        assert_eq!(family.retired(), 0, "{number}");
    }
}

#[test]
fn a_gauge_that_is_set_to_what_it_was_is_used() {
    let clock = std::sync::Arc::new(ManualClock::new());
    let family =
        Family::new(Gauge::default).expire_after(Duration::from_mins(1), std::sync::Arc::clone(&clock));
    for _ in 0..3 {
        family.with(&key("a"), |gauge| gauge.set(7));
        family.each(|_, _, _| {});
        clock.advance(Duration::from_secs(70));
    }
    assert_eq!(family.len(), 1);
    family.each(|_, _, _| {});
    assert_eq!(family.len(), 0);
}

#[test]
fn using_a_family_while_using_it_finds_the_same_series() {
    let family = Family::new(Counter::default);
    for _ in 0..3 {
        family.with(&key("a"), |outer| {
            family.with(&key("a"), Counter::inc);
            family.with(&key("b"), Counter::inc);
            outer.inc();
        });
    }
    let shown = [(r#"key="a""#, 6), (r#"key="b""#, 3)].map(|(k, n)| (k.to_owned(), n));
    assert_eq!(exposed(&family), shown);
    // A panic inside leaves the family usable.
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        family.with(&key("a"), |_| std::panic::resume_unwind(Box::new(())));
    }));
    assert!(caught.is_err());
    family.with(&key("a"), Counter::inc);
    assert_eq!(total(&family), 10);
}

#[test]
fn a_thread_remembers_many_families_and_series() {
    let families: Vec<_> = (0..20)
        .map(|_| Family::new(Counter::default).max_series(5_000))
        .collect();
    for family in &families {
        for n in 0..1_500_u32 {
            family.with(&key((n % 1_200).to_string()), Counter::inc);
        }
    }
    drop(families.iter().take(10).cloned().collect::<Vec<_>>());
    let later = Family::new(Gauge::default); // takes a place over
    later.with(&key("a"), Gauge::inc);
    assert!(
        families
            .iter()
            .all(|family| total(family) == 1_500 && family.len() == 1_200)
    );
    assert_eq!(later.handle(&key("a")).get(), 1);
}

#[test]
fn values_of_a_megabyte_are_kept_short() {
    let family = Family::new(Counter::default).max_series(4);
    let long = |tail: &str| key("x".repeat(1 << 20) + tail);
    for tail in ["a", "b", "c"] {
        family.with(&long(tail), Counter::inc);
        family.with(&long(tail), Counter::inc);
    }
    assert_eq!((family.len(), total(&family)), (1, 6));
    // It is found again when the bound is reached.
    for name in ["b", "c", "d", "e"] {
        family.with(&key(name), Counter::inc);
    }
    let hits = family.overflow_hits();
    family.with(&long("a"), Counter::inc);
    assert_eq!((hits, family.overflow_hits(), exposed(&family)[0].1), (1, 1, 7));
    family.retain(|_, _| false);
    assert!(family.remove(&long("d")));
    assert!(family.is_empty());
    for n in 0..10_u32 {
        let labels = n.to_string() + &"y".repeat(1 << 20);
        family.with(&key(labels), Counter::inc);
    }
    assert_eq!((family.len(), family.overflow_hits() >= 6), (4, true));
}

#[test]
fn a_family_without_labels_is_one_series() {
    let family = Family::<(), _>::new(Counter::default);
    (0..3).for_each(|_| family.with(&(), Counter::inc));
    assert_eq!(
        (family.len(), family.overflow_hits(), family.handle(&()).get()),
        (1, 0, 3)
    );
}

#[test]
fn names_may_come_at_run_time() {
    let family = DynamicFamily::new(["a", "b"], Counter::default).max_series(2);
    let registry = Registry::default();
    registry.register("m", "", family.clone()).unwrap();
    for values in [["1", "2"], ["1", "2"], ["\"", "\n"], ["over", "it"]] {
        family.with(values, Counter::inc);
    }
    let expected = "\
# TYPE m_total counter
m_total{a=\"1\",b=\"2\"} 2
m_total{a=\"\\\"\",b=\"\\n\"} 1
m_total{a=\"__other__\",b=\"__other__\"} 1
";
    assert_eq!(registry.to_text(), expected);
    let long = "x".repeat(300);
    assert!(family.remove(["1", "2"]));
    family.with([&long, "z"], Counter::inc);
    assert_eq!(family.handle([&long[..256], "z"]).get(), 1);
    family.retain(|[a, _], _| a.starts_with('x'));
    assert_eq!(
        (family.len(), family.is_empty(), family.overflow_hits()),
        (1, false, 1)
    );
    assert!(format!("{family:?}").contains("names: [\"a\", \"b\"]"));
    let bad = DynamicFamily::new(["a b"], Counter::default);
    assert!(registry.register("bad", "", bad).is_err());
}

const THREADS: u64 = 4;
const EACH: u64 = 20_000;

/// Counts on four threads while this one removes and scrapes; at the end, what a scraper saw of series that ended, and
/// what is shown, must be everything.
///
/// `value` tells a series' count from what it shows, and `remove` tells the labels of what it removed.
fn nothing_is_lost<M: Instrument>(
    family: &Family<Key, M>,
    add: fn(&M),
    value: fn(&M::Seen) -> u64,
    mut remove: impl FnMut(u32) -> Option<Key>,
) {
    let barrier = Barrier::new(5);
    let (mut last, mut ended) = (HashMap::new(), 0);
    let mut scrape = |removed: Option<Key>| {
        let removed = removed.map(|labels| format!("key=\"{}\"", labels.key));
        ended += removed.and_then(|labels| last.remove(&labels)).unwrap_or(0);
        let mut shown = HashMap::new();
        family.each(|labels, _, seen| _ = shown.insert(labels.to_owned(), value(seen)));
        for (labels, before) in last.drain() {
            match shown.get(&labels) {
                Some(now) => assert!(*now >= before, "{labels} goes backwards"),
                None => ended += before, // it expired
            }
        }
        last = shown;
        ended + last.values().sum::<u64>()
    };
    std::thread::scope(|scope| {
        let count = || {
            barrier.wait();
            for n in 0..EACH {
                family.with(&key((n % 7).to_string()), add);
            }
        };
        let writers: Vec<_> = (0..THREADS).map(|_| scope.spawn(count)).collect();
        barrier.wait();
        for n in (0..7).cycle() {
            scrape(remove(n));
            if writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                break;
            }
        }
    });
    assert_eq!(scrape(None), THREADS * EACH);
}

#[test]
fn removals_lose_nothing_while_others_count() {
    let family = Family::new(Counter::default);
    nothing_is_lost(
        &family,
        Counter::inc,
        |seen| *seen,
        |n| Some(key(n.to_string())).filter(|key| family.remove(key)),
    );
    let family = Family::new(Counter::default);
    nothing_is_lost(
        &family,
        Counter::inc,
        |seen| *seen,
        |n| {
            let mut removed = None;
            family.retain(|labels, _| {
                let stays = labels.key != n.to_string();
                if !stays {
                    removed = Some(labels.clone());
                }
                stays
            });
            removed
        },
    );
}

#[test]
fn removals_lose_no_bucket_and_no_sum_while_others_observe() {
    let make = || Histogram::classic(&Buckets::new([1.0]).unwrap());
    let add = |histogram: &Histogram| histogram.observe(2.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "small and whole"
    )]
    let sum = |seen: &HistogramSnapshot| seen.sum() as u64 / 2;
    for value in [|seen: &HistogramSnapshot| seen.counts()[1], sum] {
        let family = Family::new(make);
        nothing_is_lost(&family, add, value, |n| {
            Some(key(n.to_string())).filter(|key| family.remove(key))
        });
    }
}

#[test]
fn expiry_loses_nothing_while_others_count() {
    let clock = std::sync::Arc::new(ManualClock::new());
    let family = Family::new(Counter::default).expire_after(Duration::ZERO, std::sync::Arc::clone(&clock));
    nothing_is_lost(
        &family,
        Counter::inc,
        |seen| *seen,
        |_| {
            clock.advance(Duration::from_secs(1));
            None
        },
    );
}

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

/// Runs what may wait for itself for ever, and says so instead.
fn within_a_minute(f: impl FnOnce() + Send + 'static) {
    let (done, wait) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        f();
        let _ = done.send(());
    });
    let ended = wait.recv_timeout(Duration::from_mins(1));
    assert_ne!(
        ended,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout),
        "it waits for itself"
    );
    thread.join().unwrap();
}

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

mod keys_that_use_the_family {
    use std::cell::Cell;
    use std::sync::{Arc, LazyLock};

    use super::*;
    use crate::{LabelValues, Labels};

    static CLOCK: LazyLock<Arc<ManualClock>> = LazyLock::new(Arc::default);
    static FAMILY: LazyLock<Family<Tenant, Counter>> = LazyLock::new(|| {
        Family::new(Counter::default).expire_after(Duration::from_mins(1), Arc::clone(&*CLOCK))
    });

    thread_local! {
        static COUNTS: Cell<bool> = const { Cell::new(false) };
    }

    /// Counts in the family, removes from it and reads it, whenever it is cloned, shown or dropped.
    #[derive(PartialEq, Eq, Hash)]
    struct Tenant(&'static str);

    fn count(what: &'static str) {
        if COUNTS.replace(true) {
            return; // the key of this one
        }
        FAMILY.with(&Tenant(what), Counter::inc);
        FAMILY.remove(&Tenant("never there"));
        FAMILY.retain(|_, _| true);
        FAMILY.each(|_, _, _| {});
        COUNTS.set(false);
    }

    impl Clone for Tenant {
        fn clone(&self) -> Self {
            count("cloned");
            Self(self.0)
        }
    }

    impl Drop for Tenant {
        fn drop(&mut self) {
            count("dropped");
        }
    }

    impl Labels for Tenant {
        const NAMES: &'static [&'static str] = &["tenant"];

        fn values(&self, out: &mut LabelValues<'_>) {
            count("shown");
            out.push(self.0);
        }
    }

    #[test]
    fn do_not_wait_for_themselves() {
        within_a_minute(|| {
            for name in ["a", "b", "c"] {
                FAMILY.with(&Tenant(name), Counter::inc);
            }
            assert!(!FAMILY.remove(&Tenant("missing")));
            assert!(FAMILY.remove(&Tenant("a")));
            FAMILY.retain(|labels, _| labels.0 != "b");
            FAMILY.each(|_, _, _| {});
            CLOCK.advance(Duration::from_mins(2));
            FAMILY.each(|_, _, _| {}); // "c" and the others expire
            let mut shown = Vec::new();
            FAMILY.each(|labels, _, _| shown.push(labels.to_owned()));
            assert!(!shown.contains(&"tenant=\"c\"".to_owned()), "{shown:?}");
            assert!(shown.contains(&"tenant=\"dropped\"".to_owned()), "{shown:?}");
        });
    }
}
