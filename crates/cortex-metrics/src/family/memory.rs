#![expect(
    unsafe_code,
    reason = "a metric is copied next to its key, to save a walk through memory"
)]

use std::mem::ManuallyDrop;
use std::ptr;

use super::bitwise::Bitwise;
use super::keyed::Keyed;
use super::lookup::Probe;

/// How many series of one family a thread remembers; then it starts anew.
const CAPACITY: usize = 1024;

/// The series of one family that a thread remembers, found by their hashes.
///
/// The series lie side by side, and a table of small places with open addressing, at most half of it taken, says where:
/// what a thread uses often stays in the processor's nearest cache.
#[derive(Debug)]
pub(super) struct Memory<K, M> {
    /// A power of two of them, or none.
    places: Box<[Place]>,
    series: Vec<Remembered<K, M>>,
}

#[derive(Debug)]
struct Remembered<K, M> {
    keyed: Keyed<K, M>,
    /// A copy of the metric in `keyed.entry`, which is what a thread would have to wait for otherwise.
    metric: ManuallyDrop<M>,
}

impl<K, M: Bitwise> Remembered<K, M> {
    fn new(keyed: Keyed<K, M>) -> Self {
        // SAFETY: by the contract of `Bitwise`, the copy is as good as the original to who only has a reference, and
        // `find` gives no more. It is never dropped, and the original stays where it is, shared by the `Arc` in
        // `keyed`, for as long as that is beside it.
        let metric = ManuallyDrop::new(unsafe { ptr::read(&raw const keyed.entry.metric) });
        Self { keyed, metric }
    }
}

#[derive(Clone, Copy, Debug)]
struct Place {
    /// The upper half of the hash.
    tag: u32,
    at: u32,
}

impl Place {
    /// Leads to no series.
    const EMPTY: Self = Self { tag: 0, at: u32::MAX };
}

impl<K, M: Bitwise> Memory<K, M> {
    pub(super) fn new() -> Self {
        Self {
            places: Box::default(),
            series: Vec::new(),
        }
    }

    #[inline]
    pub(super) fn find<Q: Probe<K>>(&self, lookup: &Q) -> Option<&M> {
        let hash = lookup.hash();
        let mask = self.places.len().wrapping_sub(1);
        let mut at = low(hash) & mask;
        loop {
            // No places at all are no place, and an empty one leads to no series.
            let place = self.places.get(at)?;
            let series = self.series.get(place.at as usize)?;
            if place.tag == tag(hash) && lookup.is(&series.keyed.key) {
                return Some(&series.metric);
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds a series that is not there.
    pub(super) fn insert(&mut self, found: Keyed<K, M>) {
        if self.series.len() >= CAPACITY {
            *self = Self::new();
        }
        self.series.push(Remembered::new(found));
        if 2 * self.series.len() > self.places.len() {
            let more = (2 * self.places.len()).max(16);
            self.places = vec![Place::EMPTY; more].into();
            (0..self.series.len()).for_each(|series| self.put(series));
        } else {
            self.put(self.series.len() - 1);
        }
    }

    fn put(&mut self, series: usize) {
        let hash = self.series[series].keyed.hash;
        let mask = self.places.len() - 1;
        let mut at = low(hash) & mask;
        while self.places[at].at != Place::EMPTY.at {
            at = (at + 1) & mask;
        }
        self.places[at] = Place {
            tag: tag(hash),
            at: u32::try_from(series).expect("invariant: less than the capacity"),
        };
    }
}

#[inline]
const fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the low bits are as random as the others"
)]
#[inline]
const fn low(hash: u64) -> usize {
    hash as usize
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::family::hasher::Hasher;
    use crate::family::index::Entry;

    struct Number(u64, u64);

    impl Probe<u64> for Number {
        fn hash(&self) -> u64 {
            self.0
        }

        fn is(&self, key: &u64) -> bool {
            self.1 == *key
        }
    }

    fn keyed(hash: u64, key: u64) -> Keyed<u64, u64> {
        let entry = Entry::new(key, "", &Hasher::new());
        Keyed {
            hash,
            key,
            entry: Arc::new(entry),
        }
    }

    #[test]
    fn finds_what_was_put_and_nothing_else() {
        for spread in [0, 1, 7, 0x9E37_79B9_7F4A_7C15] {
            let hash = |key: u64| key.wrapping_mul(spread);
            let mut memory = Memory::new();
            for key in 0..200 {
                assert!(memory.find(&Number(hash(key), key)).is_none(), "{spread} {key}");
                memory.insert(keyed(hash(key), key));
                for known in 0..=key {
                    let found = memory.find(&Number(hash(known), known)).unwrap();
                    assert_eq!(*found, known, "{spread}");
                }
            }
        }
    }

    #[test]
    fn starts_anew_when_it_is_full() {
        let mut memory = Memory::new();
        for key in 0..=CAPACITY as u64 {
            memory.insert(keyed(key, key));
        }
        assert_eq!(memory.series.len(), 1);
        assert!(memory.find(&Number(0, 0)).is_none());
        assert!(memory.find(&Number(CAPACITY as u64, CAPACITY as u64)).is_some());
    }
}
