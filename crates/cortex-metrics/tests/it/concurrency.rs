use std::sync::atomic::{AtomicUsize, Ordering};

use cortex_metrics::{Buckets, Counter, Family, Format, Histogram, Registry, labels};

use crate::{encode, parser};

labels! {
    struct Key { key: usize }
}

const THREADS: usize = 6;
const ROUNDS: usize = 3_000;

fn total(text: &str, name: &str) -> f64 {
    let families = parser::parse(Format::Text004, text);
    let samples = families.iter().flat_map(|family| &family.samples);
    samples
        .filter(|sample| sample.name == name)
        .map(|sample| sample.value)
        .sum()
}

/// Threads write, also over the bound, while scrapes run: each scrape is valid, totals never fall, and none is lost.
#[test]
fn scrapes_during_writes_are_valid_and_lose_nothing() {
    let registry = Registry::default();
    let hits = Family::<Key, _>::new(Counter::default).max_series(50);
    registry.register("hits", "", hits.clone()).unwrap();
    let buckets = Buckets::new([1.0, 2.0]).unwrap();
    let sizes = Family::<Key, _>::new(move || Histogram::classic(&buckets)).max_series(5);
    registry.register("sizes", "", sizes.clone()).unwrap();
    let running = AtomicUsize::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (hits, sizes, running) = (&hits, &sizes, &running);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let key = (round * (thread + 1)) % 100;
                    hits.with(&Key { key }, Counter::inc);
                    sizes.with(&Key { key: key % 10 }, |sizes| sizes.observe(1.5));
                }
                running.fetch_sub(1, Ordering::Release);
            });
        }
        scope.spawn(|| {
            let mut seen = 0.0;
            let mut last_look = false;
            while !last_look {
                last_look = running.load(Ordering::Acquire) == 0;
                let now = total(&encode(&registry, Format::Text004), "hits_total");
                assert!(now >= seen, "{now} after {seen}");
                seen = now;
            }
        });
    });
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let expected = (THREADS * ROUNDS) as f64;
    let text = encode(&registry, Format::Text004);
    for name in ["hits_total", "sizes_count"] {
        assert_eq!(total(&text, name).to_bits(), expected.to_bits(), "{name}");
    }
    assert_eq!(total(&text, "sizes_sum").to_bits(), (expected * 1.5).to_bits());
    assert_eq!((hits.len(), sizes.len()), (50, 5));
}

/// Of threads that register the same names at once, exactly one succeeds for each.
#[test]
fn a_name_is_registered_once() {
    let registry = Registry::default();
    let registered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for n in 0..100 {
                    let result = registry.register(&format!("m{n}"), "", Counter::default());
                    registered.fetch_add(usize::from(result.is_ok()), Ordering::Relaxed);
                    parser::parse(Format::OpenMetrics1, &encode(&registry, Format::OpenMetrics1));
                }
            });
        }
    });
    assert_eq!(registered.into_inner(), 100);
}
