//! What happens to what a series counted, when it is removed or expires.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use cortex_testkit::ManualClock;

use super::super::Family;
use super::super::map::BATCH;
use super::keys::{Key, exposed, key, total};
use crate::{
    Buckets, Counter, Gauge, Histogram, HistogramSnapshot, Instrument, LabelValues, Labels, LevelGauge,
    Registry,
};

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
    let clock = Arc::new(ManualClock::new());
    let family = Family::new(Counter::default).expire_after(Duration::from_mins(1), Arc::clone(&clock));
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
    end: Arc<Barrier>,
}

impl Parked {
    fn new(threads: usize) -> Self {
        let (threads, end) = (Vec::with_capacity(threads), Barrier::new(threads + 1).into());
        Self { threads, end }
    }

    fn park(&mut self, uses: impl FnOnce() + Send + 'static) {
        let (done, wait) = channel();
        let end = Arc::clone(&self.end);
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
    let clock = Arc::new(ManualClock::new());
    let family = Family::new(Counter::default)
        .max_series(4)
        .expire_after(Duration::from_mins(1), Arc::clone(&clock));
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
fn expiry_waits_when_too_much_of_what_expired_is_still_in_memory() {
    let clock = Arc::new(ManualClock::new());
    let family = Family::new(Counter::default)
        .max_series(4)
        .expire_after(Duration::from_mins(1), Arc::clone(&clock));
    let mut parked = Parked::new(10);
    for round in 0..10 {
        let used = family.clone();
        parked.park(move || (0..4).for_each(|n| used.with(&key(format!("{round}-{n}")), Counter::inc)));
        exposed(&family);
        clock.advance(Duration::from_secs(61));
        exposed(&family);
        // Eight times the bound, and not one more.
        assert_eq!(family.retired(), (4 * (round + 1)).min(32));
        assert_eq!(family.len(), if round < 8 { 0 } else { 4 }, "{round}");
    }
    // The series that stay take up the bound.
    assert_eq!(family.overflow_hits(), 4);
    parked.end();
    clock.advance(Duration::from_secs(61));
    exposed(&family); // what was let go makes room for those that waited
    assert_eq!((family.len(), family.retired()), (0, 4));
    exposed(&family);
    assert_eq!(family.retired(), 0);
}

#[test]
fn removed_series_are_looked_at_some_at_a_time() {
    const ALL: usize = 10 * BATCH + 1;
    let family = Family::new(Counter::default);
    let handles: Vec<_> = (0..ALL).map(|n| family.handle(&key(n.to_string()))).collect();
    family.retain(|_, _| false);
    assert_eq!(family.retired(), ALL);
    handles.iter().for_each(Counter::inc);
    assert!(!family.remove(&key("missing"))); // this thread remembers none of them any more
    // Every other one is let go.
    let handles: Vec<_> = handles.into_iter().skip(1).step_by(2).collect();
    let (mut left, mut batches) = (family.retired(), 0);
    while left > 0 {
        let before = family.retired();
        left = family.settle_some(left);
        assert!(before - family.retired() <= BATCH);
        batches += 1;
        // No lock is held in between: another thread makes a series, and removes one.
        std::thread::scope(|scope| {
            let other = scope.spawn(|| {
                family.with(&key("new"), Counter::inc);
                assert!(family.remove(&key("new")));
            });
            other.join().unwrap();
        });
    }
    assert_eq!(batches, ALL.div_ceil(BATCH));
    assert_eq!(family.retired(), handles.len() + batches);
    assert_eq!(total(&family), ALL as u64 + batches as u64);
    assert_eq!(family.retired(), handles.len());
    handles.iter().for_each(Counter::inc);
    drop(handles);
    assert_eq!(total(&family), (ALL + ALL / 2 + batches) as u64);
    assert_eq!(family.retired(), 0);
}

#[test]
fn many_removals_without_a_scrape_look_at_what_was_removed() {
    let family = Family::new(Counter::default);
    let handle = family.handle(&key("held"));
    assert!(family.remove(&key("held")));
    for n in 0..10_000_u32 {
        family.with(&key(n.to_string()), Counter::inc);
        assert!(family.remove(&key(n.to_string())));
        assert!(family.retired() < 200, "{n}");
    }
    handle.inc();
    assert_eq!(total(&family), 10_001);
    assert_eq!(family.retired(), 1);
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
    let clock = Arc::new(ManualClock::new());
    let family = Family::new(Gauge::default).expire_after(Duration::from_mins(1), Arc::clone(&clock));
    for _ in 0..3 {
        family.with(&key("a"), |gauge| gauge.set(7));
        family.each(|_, _, _| {});
        clock.advance(Duration::from_secs(70));
    }
    assert_eq!(family.len(), 1);
    family.each(|_, _, _| {});
    assert_eq!(family.len(), 0);
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
    let clock = Arc::new(ManualClock::new());
    let family = Family::new(Counter::default).expire_after(Duration::ZERO, Arc::clone(&clock));
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

/// A key that can be made to wait where it is compared, which is under the lock of its shard.
#[derive(Clone, Debug, Eq)]
struct Slow {
    value: String,
}

type Rendezvous = (Sender<()>, Receiver<()>);

thread_local! {
    static WAITS: Cell<Option<Rendezvous>> = const { Cell::new(None) };
}

impl Hash for Slow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value.hash(state);
    }
}

impl PartialEq for Slow {
    fn eq(&self, other: &Self) -> bool {
        if let Some((reached, goes_on)) = WAITS.take() {
            let _ = reached.send(()); // nobody to tell: the other thread has panicked
            goes_on
                .recv_timeout(Duration::from_mins(1))
                .expect("a series without a key is removed without a look at the shards");
        }
        self.value == other.value
    }
}

impl Labels for Slow {
    const NAMES: &'static [&'static str] = &["value"];

    fn values(&self, out: &mut LabelValues<'_>) {
        out.push(&self.value);
    }
}

#[test]
fn series_of_values_that_were_cut_expire_without_a_search_for_keys() {
    let clock = Arc::new(ManualClock::new());
    let family =
        Family::<Slow, _>::new(Counter::default).expire_after(Duration::from_mins(1), Arc::clone(&clock));
    let long = |n: usize| Slow {
        value: format!("{n}{}", "x".repeat(300)),
    };
    let short = Slow {
        value: "short".into(),
    };
    let kept = family.handle(&short); // and so does not expire
    for n in 0..2 * BATCH {
        family.with(&long(n), Counter::inc);
    }
    family.each(|_, _, _| {});
    let (reached, has_reached) = channel();
    let (go_on, goes_on) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            WAITS.set(Some((reached, goes_on)));
            family.with(&short, Counter::inc);
        });
        has_reached.recv().unwrap();
        clock.advance(Duration::from_secs(61));
        family.each(|_, _, _| {});
        go_on.send(()).unwrap();
    });
    assert_eq!((family.len(), kept.get()), (1, 1));
    // Of a key beside it, which reads the same, nothing is left either.
    let same = Slow {
        value: long(0).value[..256].to_owned(),
    };
    family.with(&long(0), Counter::inc);
    family.with(&same, Counter::inc);
    assert!(family.remove(&same));
    assert_eq!(family.len(), 1);
    family.with(&same, Counter::inc);
    let mut shown = Vec::new();
    family.each(|labels, _, count| shown.push((labels.len(), *count)));
    assert_eq!(shown[1].1, 1, "a series of its own: {shown:?}");
}
