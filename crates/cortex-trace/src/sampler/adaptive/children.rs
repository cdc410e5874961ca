//! Which route the spans below a kept local root belong to.

use cortex_core::TraceId;

use super::sync::{AtomicU64, Ordering};

/// Remembers the route of the traces that were kept last, without a lock: a newer trace takes the place of an older
/// one, whose spans are then not counted any more.
pub(super) struct Children {
    /// The upper 48 bits of a trace's hash, and its route below.
    places: Box<[AtomicU64]>,
    seed: u64,
}

const ROUTE: u64 = 0xffff;

impl Children {
    /// Makes room for about so many traces at a time.
    pub(super) fn new(traces: usize, seed: u64) -> Self {
        let places = traces.clamp(64, 1 << 16).next_power_of_two();
        Self {
            places: (0..places).map(|_| AtomicU64::new(0)).collect(),
            seed,
        }
    }

    /// Notes the route of a trace.
    pub(super) fn note(&self, trace_id: TraceId, route: usize) {
        let (hash, place) = self.place(trace_id);
        let route = u64::try_from(route + 1).unwrap_or(0) & ROUTE;
        place.store(hash & !ROUTE | route, Ordering::Relaxed);
    }

    /// Returns the route of a trace, if it is remembered.
    pub(super) fn route(&self, trace_id: TraceId) -> Option<usize> {
        let (hash, place) = self.place(trace_id);
        let noted = place.load(Ordering::Relaxed);
        if (noted ^ hash) & !ROUTE != 0 {
            return None;
        }
        usize::try_from(noted & ROUTE).ok()?.checked_sub(1)
    }

    fn place(&self, trace_id: TraceId) -> (u64, &AtomicU64) {
        let [a, b, ..] = words(trace_id);
        let hash = super::sampler::fold(a ^ self.seed, b ^ self.seed.rotate_left(32));
        let places = self.places.len() as u64;
        let index = usize::try_from(hash % places).expect("invariant: less than the length of a slice");
        (hash.rotate_left(20), &self.places[index])
    }
}

fn words(trace_id: TraceId) -> [u64; 2] {
    let id = trace_id.get();
    let low = u64::try_from(id & u128::from(u64::MAX)).expect("invariant: 64 bits");
    let high = u64::try_from(id >> 64).expect("invariant: 64 bits");
    [low, high]
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_last_traces_are_remembered() {
        let children = Children::new(1000, 7);
        let id = |n: u128| TraceId::new(n << 64 | n << 3 | 1).unwrap();
        for n in 0..100 {
            children.note(id(n), usize::try_from(n).unwrap());
        }
        let known = (0..100).filter(|n| children.route(id(*n)) == usize::try_from(*n).ok());
        // 100 in 1024 places: about five meet another one.
        assert!(known.count() > 80);
        assert!((100..10_000).all(|n| children.route(id(n)).is_none()));
        children.note(id(3), 512);
        assert_eq!(children.route(id(3)), Some(512));
    }
}
