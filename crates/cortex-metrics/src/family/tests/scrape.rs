//! Scrapes of families that have more series than are read at a time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use cortex_core::{Context, Flags, SpanId, TraceId};
use cortex_testkit::ManualClock;

use super::super::Family;
use super::super::map::BATCH;
use crate::{Counter, Gauge, Registry, labels};

labels! {
    struct Key { n: usize }
}

fn count_all<'a>(family: &Family<Key, Counter>, all: impl IntoIterator<Item = &'a usize>) {
    for n in all {
        family.with(&Key { n: *n }, Counter::inc);
    }
}

/// What is shown, in its order.
fn shown(family: &Family<Key, Counter>) -> Vec<String> {
    let mut all = Vec::new();
    family.each(|labels, _, _| all.push(labels.to_owned()));
    all
}

fn labels_of<'a>(all: impl IntoIterator<Item = &'a usize>) -> Vec<String> {
    all.into_iter().map(|n| format!("n=\"{n}\"")).collect()
}

#[test]
fn holes_and_borders_of_batches_hide_nothing() {
    for len in 0..=3 * BATCH + 1 {
        let all: Vec<usize> = (0..len).collect();
        for (from, to) in [
            (0, 0),
            (0, 1),
            (1, BATCH),
            (BATCH - 1, BATCH + 1),
            (BATCH, 2 * BATCH),
            (2, 3 * BATCH),
        ] {
            let family = Family::new(Counter::default).max_series(len);
            count_all(&family, &all);
            let (gone, left): (Vec<usize>, Vec<usize>) = all.iter().partition(|n| (from..to).contains(n));
            for n in &gone {
                assert!(family.remove(&Key { n: *n }));
            }
            let mut expected = labels_of(&left);
            if !gone.is_empty() {
                expected.push("n=\"__other__\"".to_owned());
            }
            assert_eq!(shown(&family), expected, "{len} {from}..{to}");
        }
    }
}

#[test]
fn series_expire_in_any_batch() {
    let all: Vec<usize> = (0..3 * BATCH).collect();
    let (first, last) = (BATCH, 2 * BATCH - 1);
    for idle in [
        vec![first],
        vec![last],
        vec![first, last],
        (first..=last).collect(),
        all.clone(),
    ] {
        let clock = Arc::new(ManualClock::new());
        let family = Family::new(Counter::default).expire_after(Duration::from_mins(1), Arc::clone(&clock));
        count_all(&family, &all);
        assert_eq!(shown(&family), labels_of(&all));
        clock.advance(Duration::from_secs(61));
        let used: Vec<usize> = all.iter().copied().filter(|n| !idle.contains(n)).collect();
        count_all(&family, &used);
        for _ in 0..2 {
            assert_eq!(shown(&family), labels_of(&used), "{idle:?}");
        }
        assert_eq!(family.len(), used.len());
        // They come back behind all others.
        count_all(&family, &idle);
        assert_eq!(shown(&family), labels_of(used.iter().chain(&idle)));
    }
}

#[test]
fn what_another_thread_does_between_batches_tears_nothing() {
    const EACH: usize = 4 * BATCH;
    let (even, odd) = (|n: usize| 2 * n, |n: usize| 2 * n + 1);
    let stay = labels_of(&(0..EACH).map(even).collect::<Vec<_>>());
    let family = Family::new(Counter::default);
    for n in 0..EACH {
        count_all(&family, [&even(n), &odd(n)]);
    }
    let (wake, woken) = mpsc::channel::<usize>();
    std::thread::scope(|scope| {
        let family = &family;
        scope.spawn(move || {
            // Woken in the middle of a batch, it waits for the end of it, and goes on beside the scrape. It removes so
            // many that the holes are worth closing.
            while let Ok(at) = woken.recv() {
                for n in (0..EACH).filter(|n| (n + at) % 3 > 0) {
                    family.remove(&Key { n: odd(n) });
                }
                for n in (0..EACH).filter(|n| (n + at) % 2 > 0) {
                    count_all(family, [&odd(n)]);
                }
            }
        });
        for round in 0..200 {
            let mut seen = BTreeSet::new();
            let mut stayed = Vec::new();
            family.each(|labels, _, _| {
                if seen.len() % BATCH == 1 {
                    wake.send(round + seen.len()).expect("it does not panic");
                }
                assert!(seen.insert(labels.to_owned()), "{labels} is there twice");
                if stay.iter().any(|stays| stays == labels) {
                    stayed.push(labels.to_owned());
                }
            });
            assert_eq!(stayed, stay);
        }
        drop(wake);
    });
}

/// Series of which the first batch has exemplars and the second has none, or the other way round.
fn with_exemplars_in(batch: usize) -> (Registry, Family<Key, Counter>) {
    let made = AtomicUsize::new(0);
    let family = Family::new(move || {
        let at = made.fetch_add(1, Ordering::Relaxed) / BATCH;
        if at == batch {
            Counter::with_exemplars()
        } else {
            Counter::default()
        }
    });
    let registry = Registry::default();
    registry.register("m", "", family.clone()).unwrap();
    (registry, family)
}

#[test]
fn a_batch_with_exemplars_may_be_beside_one_without() {
    let all: Vec<usize> = (0..2 * BATCH).collect();
    for batch in 0..2 {
        for with_created in [false, true] {
            let (registry, family) = with_exemplars_in(batch);
            if with_created {
                registry.expose_created();
            }
            count_all(&family, &all);
            let (trace, span) = (TraceId::new(7).unwrap(), SpanId::new(1).unwrap());
            let guard = Context::new().with_span(trace, span, Flags::SAMPLED).attach();
            count_all(&family, [&0, &(BATCH + 1)]);
            drop(guard);
            let text = registry.to_open_metrics();
            let mut lines = text.lines().filter(|line| !line.starts_with('#'));
            for n in &all {
                let count = if [0, BATCH + 1].contains(n) { 2 } else { 1 };
                let line = lines.next().unwrap();
                let start = format!("m_total{{n=\"{n}\"}} {count}");
                let rest = line.strip_prefix(&start).unwrap_or_else(|| panic!("{line}"));
                let has_exemplar = count == 2 && n / BATCH == batch;
                assert_eq!(rest.starts_with(" # {trace_id=\"0000"), has_exemplar, "{line}");
                assert_eq!(rest.is_empty(), !has_exemplar, "{line}");
                if with_created {
                    let line = lines.next().unwrap();
                    assert!(line.starts_with(&format!("m_created{{n=\"{n}\"}} 1")), "{line}");
                }
            }
            assert_eq!(lines.next(), None);
        }
    }
}

#[test]
fn the_series_of_all_others_is_the_last_in_every_way_to_write() {
    let family = Family::new(Gauge::default).max_series(2 * BATCH);
    let registry = Registry::default();
    registry.register("m", "", family.clone()).unwrap();
    for n in 0..3 * BATCH {
        family.with(&Key { n }, |gauge| gauge.add(1));
    }
    for text in [registry.to_text(), registry.to_open_metrics()] {
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines.len(), 2 * BATCH + 1);
        assert_eq!(lines[2 * BATCH], format!("m{{n=\"__other__\"}} {BATCH}"));
    }
}
