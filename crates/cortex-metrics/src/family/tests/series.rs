//! Which series there are, and how they are found.

use std::sync::Barrier;

use super::super::{DynamicFamily, Family};
use super::keys::{exposed, key, total};
use crate::metric::Encode;
use crate::{Counter, Gauge, Registry};

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
        let mut threads = Vec::new();
        for _ in 0..2 {
            threads.push(scope.spawn(|| {
                for n in 0_u32..2_000 {
                    family.with(&key((n % 7).to_string()), Counter::inc);
                }
            }));
            threads.push(
                scope.spawn(|| (0_u32..2_000).for_each(|n| _ = family.remove(&key((n % 7).to_string())))),
            );
            threads.push(scope.spawn(|| (0..200).for_each(|_| assert!(exposed(&family).len() <= 8))));
        }
        // Unlike the end of a scope, it waits for what they remember to be gone.
        for thread in threads {
            thread.join().unwrap();
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
