//! How many traces started, per route: the one thing that every decision writes.

use std::cell::Cell;
use std::sync::atomic::AtomicUsize;

use super::sync::{AtomicU64, Ordering};

/// Counters in so many parts: threads that have different ones never wait for each other's cache lines.
const PARTS: usize = if cfg!(cortex_loom) { 1 } else { 8 };
const LINE: usize = 8;

/// A counter per route.
pub(super) struct Arrivals {
    parts: [Box<[Line]>; PARTS],
}

/// A cache line of counters.
#[derive(Default)]
#[repr(align(64))]
struct Line([AtomicU64; LINE]);

/// The part that the next thread gets.
static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static PART: Cell<Option<usize>> = const { Cell::new(None) };
}

impl Arrivals {
    /// Makes counters for this many routes.
    pub(super) fn new(routes: usize) -> Self {
        let lines = routes.div_ceil(LINE);
        Self {
            parts: std::array::from_fn(|_| (0..lines).map(|_| Line::default()).collect()),
        }
    }

    /// Counts a trace of a route; returns how many there were in this part.
    #[inline]
    pub(super) fn add(&self, route: usize) -> u64 {
        let part = PART.get().unwrap_or_else(choose);
        self.parts[part % PARTS][route / LINE].0[route % LINE].fetch_add(1, Ordering::Relaxed)
    }

    /// Returns what was counted for a route, and begins anew.
    pub(super) fn take(&self, route: usize) -> u64 {
        let counters = self
            .parts
            .iter()
            .map(|lines| &lines[route / LINE].0[route % LINE]);
        counters.map(|counter| counter.swap(0, Ordering::Relaxed)).sum()
    }
}

#[cold]
fn choose() -> usize {
    let part = NEXT.fetch_add(1, Ordering::Relaxed) % PARTS;
    PART.set(Some(part));
    part
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_thread_counts_and_no_route_counts_for_another() {
        let arrivals = Arrivals::new(20);
        let taken = std::thread::scope(|scope| {
            for thread in 0..PARTS + 3 {
                let arrivals = &arrivals;
                scope.spawn(move || {
                    for n in 0..10_000 {
                        arrivals.add((n + thread) % 20);
                    }
                });
            }
            (0..500).map(|n| arrivals.take(n % 20)).sum::<u64>()
        });
        let rest: u64 = (0..20).map(|route| arrivals.take(route)).sum();
        assert_eq!(taken + rest, 10_000 * (PARTS as u64 + 3));
        arrivals.add(19);
        assert_eq!(arrivals.add(19), 1);
        assert!((0..19).all(|route| arrivals.take(route) == 0));
        assert_eq!((arrivals.take(19), arrivals.take(19)), (2, 0));
    }
}
