//! What the threads that start spans share: per route a counter of arrivals and one threshold, without a lock.
//!
//! All orderings are relaxed: a slot is whole from the start, no counter tells anything about another one, and a
//! threshold is right whichever of two threads has set it last. Checked by the models below.

use super::arrivals::Arrivals;
use super::sync::{AtomicU64, AtomicUsize, Ordering};
use crate::sampler::Threshold;

/// Routes with a slot of their own; those that come later share one.
pub(super) const ROUTES: usize = if cfg!(cortex_loom) { 2 } else { 256 };
/// At most half of the table is used, so that probes are short.
const TABLE: usize = ROUTES * 2;

/// The slots: a hash table of those with a key, and the one for everything else.
pub(super) struct Routes {
    /// `None` if all spans are one route.
    table: Option<Box<[Route]>>,
    other: Route,
    arrivals: Arrivals,
    used: AtomicUsize,
}

/// What is counted and decided for one route. Two cores that serve two routes share no cache line.
#[repr(align(64))]
pub(super) struct Route {
    /// The hash of the key; 0 if nobody has the slot.
    key: AtomicU64,
    /// Traces that were kept since the last tick.
    kept: AtomicU64,
    /// Spans below kept ones since the last tick.
    children: AtomicU64,
    /// The 56 bits of the threshold, or one more if nothing is kept.
    threshold: AtomicU64,
    /// How many traces may be kept until the threshold rises.
    budget: AtomicU64,
}

/// What was counted since the last tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) arrivals: u64,
    pub(super) kept: u64,
    pub(super) children: u64,
}

impl Routes {
    /// Makes empty slots that begin with this threshold.
    pub(super) fn new(per_route: bool, threshold: u64, budget: u64) -> Self {
        let table = per_route.then(|| (0..TABLE).map(|_| Route::new(threshold, budget)).collect());
        Self {
            table,
            other: Route::new(threshold, budget),
            arrivals: Arrivals::new(if per_route { Self::len() } else { 1 }),
            used: AtomicUsize::new(0),
        }
    }

    /// Says whether there is more than one slot.
    pub(super) const fn are_told_apart(&self) -> bool {
        self.table.is_some()
    }

    /// Returns the slot of a key, taking a free one if it has none; the shared one if there is none free.
    ///
    /// A slot that is taken gets `budget(n)` for the n-th route.
    pub(super) fn of(&self, key: u64, budget: impl FnOnce(usize) -> u64) -> (usize, &Route) {
        let Some(table) = &self.table else {
            return (TABLE, &self.other);
        };
        let key = key.max(1);
        let mut at = start_of(key);
        let mut reserved = None;
        // Ends: at most half of the slots are taken.
        loop {
            let route = &table[at];
            match route.key.load(Ordering::Relaxed) {
                found if found == key => {
                    if reserved.is_some() {
                        self.used.fetch_sub(1, Ordering::Relaxed); // another thread has just taken one for this key
                    }
                    return (at, route);
                }
                0 => {
                    let Some(number) = reserved.or_else(|| self.reserve()) else {
                        return (TABLE, &self.other);
                    };
                    reserved = Some(number);
                    let took = route
                        .key
                        .compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed);
                    if took.is_ok() {
                        route.budget.store(budget(number), Ordering::Relaxed);
                        return (at, route);
                    }
                    // Somebody was faster: look at this slot again.
                }
                _ => at = (at + 1) % TABLE,
            }
        }
    }

    /// Returns the slot that a key has already.
    pub(super) fn find(&self, key: u64) -> &Route {
        let key = key.max(1);
        let Some(table) = &self.table else {
            return &self.other;
        };
        let mut at = start_of(key);
        loop {
            match table[at].key.load(Ordering::Relaxed) {
                0 => return &self.other,
                found if found == key => return &table[at],
                _ => at = (at + 1) % TABLE,
            }
        }
    }

    /// Returns the slot at an index that [`of`](Self::of) returned.
    pub(super) fn at(&self, index: usize) -> Option<&Route> {
        match &self.table {
            Some(table) if index < TABLE => Some(&table[index]),
            _ => (index == TABLE).then_some(&self.other),
        }
    }

    /// Counts a trace that starts, by the index that [`of`](Self::of) returned. Returns about how many there were in
    /// this tick: those of some other threads are missing.
    #[inline]
    pub(super) fn arrive(&self, index: usize) -> u64 {
        self.arrivals.add(self.counter(index))
    }

    /// Begins a new tick for a slot, and returns what was counted in the last one.
    pub(super) fn turn(&self, index: usize, route: &Route) -> Counts {
        Counts {
            arrivals: self.arrivals.take(self.counter(index)),
            kept: route.kept.swap(0, Ordering::Relaxed),
            children: route.children.swap(0, Ordering::Relaxed),
        }
    }

    /// Without a table there is one counter.
    const fn counter(&self, index: usize) -> usize {
        if self.table.is_some() { index } else { 0 }
    }

    /// Returns the slots that somebody has, and the one for everything else.
    pub(super) fn taken(&self) -> impl Iterator<Item = (usize, &Route)> {
        let table = self.table.iter().flat_map(|table| table.iter().enumerate());
        table
            .filter(|(_, route)| route.key.load(Ordering::Relaxed) != 0)
            .chain([(TABLE, &self.other)])
    }

    /// The number of indexes.
    pub(super) const fn len() -> usize {
        TABLE + 1
    }

    /// Takes one of the places in the table, and says which by number.
    fn reserve(&self) -> Option<usize> {
        let more = |used| (used < ROUTES).then_some(used + 1);
        let before = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        before.ok().map(|before| before + 1)
    }
}

fn start_of(key: u64) -> usize {
    usize::try_from(key % TABLE as u64).expect("invariant: less than the length of a table")
}

impl Route {
    fn new(threshold: u64, budget: u64) -> Self {
        Self {
            key: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            children: AtomicU64::new(0),
            threshold: AtomicU64::new(threshold),
            budget: AtomicU64::new(budget),
        }
    }

    /// Returns the threshold of now, which depends on traces before this one only.
    pub(super) fn threshold(&self) -> u64 {
        self.threshold.load(Ordering::Relaxed)
    }

    /// Counts a trace that is kept; where a budget is used up the share is halved, but for no more than `highest`.
    pub(super) fn keep(&self, highest: u64) {
        let kept = self.kept.fetch_add(1, Ordering::Relaxed) + 1;
        if kept.is_multiple_of(self.budget.load(Ordering::Relaxed).max(1)) {
            let halved = |bits| {
                let halved = Threshold::from_bits(bits)?.halved().bits().min(highest);
                (halved > bits).then_some(halved)
            };
            let _ = self
                .threshold
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, halved);
        }
    }

    /// Counts a span below a kept one.
    pub(super) fn keep_child(&self) {
        self.children.fetch_add(1, Ordering::Relaxed);
    }

    /// Sets the threshold, unless it has changed since it was `seen`: then a burst has raised it.
    pub(super) fn set(&self, seen: u64, threshold: u64, budget: u64) {
        self.budget.store(budget, Ordering::Relaxed);
        let _ = self
            .threshold
            .compare_exchange(seen, threshold, Ordering::Relaxed, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;
    use crate::sampler::END;
    use std::collections::HashSet;

    /// What came and was kept since the last call.
    fn turn(routes: &Routes) -> (u64, u64) {
        let counts = routes.taken().map(|(index, route)| routes.turn(index, route));
        counts.fold((0, 0), |sum, counts| add(sum, (counts.arrivals, counts.kept)))
    }

    fn add(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
        (a.0 + b.0, a.1 + b.1)
    }

    fn routes() -> Routes {
        Routes::new(true, 0, 1)
    }

    #[test]
    fn so_many_routes_have_a_slot_and_the_rest_share_one() {
        let routes = routes();
        // Keys that all begin their probe at the same slot.
        let key = |n: usize| (n * TABLE + 7) as u64;
        let slots: Vec<_> = (1..=ROUTES + 50).map(|n| routes.of(key(n), |_| 1).0).collect();
        assert_eq!(slots[..ROUTES].iter().collect::<HashSet<_>>().len(), ROUTES);
        assert!(slots[ROUTES..].iter().all(|slot| *slot == TABLE));
        assert_eq!(routes.of(key(1), |_| 1).0, slots[0]);
        assert_eq!(routes.taken().count(), ROUTES + 1);
        assert!(std::ptr::eq(routes.find(key(1)), routes.of(key(1), |_| 1).1));
        assert!(std::ptr::eq(
            routes.find(key(9999)),
            routes.of(key(9999), |_| 1).1
        ));
        assert!(routes.at(TABLE).is_some() && routes.at(Routes::len()).is_none());
    }

    #[test]
    fn without_routes_everything_is_one() {
        let routes = Routes::new(false, 5, 1);
        assert_eq!((routes.of(1, |_| 1).0, routes.of(2, |_| 1).0), (TABLE, TABLE));
        assert_eq!(routes.find(3).threshold(), 5);
        assert_eq!(routes.taken().count(), 1);
        assert!(routes.at(0).is_none() && !routes.are_told_apart());
    }

    #[test]
    fn each_budget_that_is_used_halves_the_share() {
        let routes = Routes::new(false, 0, 3);
        let (_, route) = routes.of(1, |_| 3);
        let mut seen = vec![];
        for _ in 0..12 {
            route.keep(END - 4);
            seen.push(END - route.threshold());
        }
        let (all, half, quarter) = (END, END / 2, END / 4);
        let expected = [
            all,
            all,
            half,
            half,
            half,
            quarter,
            quarter,
            quarter,
            END / 8,
            END / 8,
            END / 8,
            END / 16,
        ];
        assert_eq!(seen, expected);
        for _ in 0..1000 {
            route.keep(END - 4);
        }
        assert_eq!(route.threshold(), END - 4); // no lower than that
        let nothing = Routes::new(false, END, 1);
        nothing.of(1, |_| 1).1.keep(0);
        assert_eq!(nothing.find(1).threshold(), END);
    }

    #[test]
    fn a_tick_does_not_undo_a_burst() {
        let routes = Routes::new(false, 0, 1);
        let (_, route) = routes.of(1, |_| 1);
        let seen = route.threshold();
        route.keep(END);
        route.set(seen, 1, 9);
        assert_eq!(route.threshold(), END / 2);
        route.set(END / 2, 1, 9);
        assert_eq!(route.threshold(), 1);
    }

    #[test]
    fn nothing_is_lost_between_ticks_and_threads() {
        let routes = routes();
        let total = std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let routes = &routes;
                scope.spawn(move || {
                    for n in 0..20_000_u64 {
                        let (index, route) = routes.of((n + thread) % 400 + 1, |_| 1_000_000);
                        routes.arrive(index);
                        route.keep(END);
                    }
                });
            }
            let mut total = (0, 0);
            for _ in 0..1000 {
                total = add(total, turn(&routes));
            }
            total
        });
        assert_eq!(add(total, turn(&routes)), (80_000, 80_000));
        assert_eq!(routes.used.load(Ordering::Relaxed), ROUTES);
    }
}

/// `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-trace --lib --release model`
#[cfg(all(test, cortex_loom))]
mod model {
    use super::*;
    use crate::sampler::END;
    use loom::sync::Arc;
    use loom::thread;

    /// With two switches of threads against their will: enough for every race between two.
    fn check(run: impl Fn() + Send + Sync + 'static) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(2);
        model.check(run);
    }

    #[test]
    fn model_two_threads_agree_on_the_slot_of_a_key() {
        check(|| {
            let routes = Arc::new(Routes::new(true, 0, 1));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let routes = Arc::clone(&routes);
                    // Both keys begin at the same slot.
                    thread::spawn(move || [4, 8].map(|key| routes.of(key, |_| 1).0))
                })
                .collect();
            let seen: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            let settled = [4, 8].map(|key| routes.of(key, |_| 1).0);
            assert!(settled[0] != settled[1] && !settled.contains(&TABLE));
            // With the last places all but taken, a thread that sees an old slot, or comes while another one has a
            // place to give back, goes to the shared slot: once, and never to a wrong one.
            for (slots, key) in seen.iter().flat_map(|slots| [(slots, 0), (slots, 1)]) {
                assert!(slots[key] == settled[key] || slots[key] == TABLE);
            }
            assert_eq!(routes.used.load(Ordering::Relaxed), 2);
        });
    }

    #[test]
    fn model_a_tick_loses_no_count_and_no_halving() {
        check(|| {
            let routes = Arc::new(Routes::new(false, 0, 1));
            let writers: Vec<_> = (0..2)
                .map(|_| {
                    let routes = Arc::clone(&routes);
                    thread::spawn(move || {
                        let (index, route) = routes.of(1, |_| 1);
                        routes.arrive(index);
                        route.keep(END);
                    })
                })
                .collect();
            let (index, route) = routes.of(1, |_| 1);
            let seen = route.threshold();
            let first = routes.turn(index, route);
            route.set(seen, seen, 1);
            for writer in writers {
                writer.join().unwrap();
            }
            let second = routes.turn(index, route);
            assert_eq!(
                (first.arrivals + second.arrivals, first.kept + second.kept),
                (2, 2)
            );
            assert_eq!(route.threshold(), END - END / 4);
        });
    }
}
