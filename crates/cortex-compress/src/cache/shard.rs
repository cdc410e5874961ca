use super::flight::Flight;
use bytes::Bytes;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, Weak};

/// What an entry holds beside its key and its body: its places in the table and in the queue, and the counts of
/// references.
pub(super) const OVERHEAD: usize = 320;

/// How many entries that were asked for are spared for one that comes: others wait for the lock meanwhile.
const MOST_SPARED: usize = 64;

/// What is looked up, and its hash, which was made with a seed that nobody knows.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) hash: u64,
    pub(super) bytes: Arc<[u8]>,
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Passes the hash of a [`Key`] through.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pass(u64);

impl Hasher for Pass {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("invariant: keys have hashes of their own");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

type Table<V> = HashMap<Key, V, BuildHasherDefault<Pass>>;

/// What became of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Encoded {
        data: Bytes,
        /// The encoder makes the same bytes of the same body each time, as a strong entity tag promises.
        constant: bool,
    },
    /// Encoding does not make it smaller.
    NotSmaller,
}

impl Kept {
    fn len(&self) -> usize {
        match self {
            Self::Encoded { data, .. } => data.len(),
            Self::NotSmaller => 0,
        }
    }

    /// Encoded is better than not, and what a strong tag may stand for better than what it may not.
    const fn worth(&self) -> u8 {
        match self {
            Self::NotSmaller => 0,
            Self::Encoded { constant: false, .. } => 1,
            Self::Encoded { constant: true, .. } => 2,
        }
    }
}

#[derive(Debug)]
struct Held {
    kept: Kept,
    weight: usize,
    /// It was asked for since it came, or since it was spared the last time.
    asked_for: bool,
}

/// A part of the cache, behind a lock of its own.
///
/// What has to go is found by the clock algorithm, which is near to least recently used: the entries are in a queue,
/// and one that was asked for since it was at the front goes to the back instead, unless many before it did. So a flood of keys that are asked for
/// once displaces itself, and a hit moves nothing.
#[derive(Debug, Default)]
pub(super) struct Shard {
    table: Table<Held>,
    /// The keys of the table, each once.
    queue: VecDeque<Key>,
    /// What is being encoded by several responses together.
    flights: Table<Weak<Flight>>,
    pub(super) bytes: usize,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) evictions: u64,
}

impl Shard {
    pub(super) fn get(&mut self, key: &Key, last: bool) -> Option<Kept> {
        let Some(held) = self.table.get_mut(key) else {
            self.misses += u64::from(last);
            return None;
        };
        self.hits += 1;
        held.asked_for = true;
        Some(held.kept.clone())
    }

    pub(super) fn peek(&self, key: &Key) -> Option<Kept> {
        self.table.get(key).map(|held| held.kept.clone())
    }

    /// Keeps a body, unless there is one already that is as good, and returns what had to go: to be dropped outside the
    /// lock.
    pub(super) fn insert(&mut self, key: Key, kept: Kept, limit: usize) -> Vec<Kept> {
        let weight = OVERHEAD + key.bytes.len() + kept.len();
        let mut gone = Vec::new();
        if weight > limit {
            return gone;
        }
        if let Some(held) = self.table.get_mut(&key) {
            // Two were at it at the same time.
            if kept.worth() > held.kept.worth() && self.bytes - held.weight + weight <= limit {
                self.bytes = self.bytes - held.weight + weight;
                held.weight = weight;
                gone.push(std::mem::replace(&mut held.kept, kept));
            }
            return gone;
        }
        let mut spared = 0;
        while self.bytes + weight > limit {
            let Some(front) = self.queue.pop_front() else {
                break;
            };
            let Entry::Occupied(mut held) = self.table.entry(front) else {
                continue;
            };
            if spared < MOST_SPARED && std::mem::take(&mut held.get_mut().asked_for) {
                spared += 1;
                self.queue.push_back(held.key().clone());
                continue;
            }
            let held = held.remove();
            self.bytes -= held.weight;
            self.evictions += 1;
            gone.push(held.kept);
        }
        self.bytes += weight;
        self.queue.push_back(key.clone());
        let held = Held {
            kept,
            weight,
            asked_for: false,
        };
        self.table.insert(key, held);
        gone
    }

    /// Empties the shard, but for the counts, and lets nobody join what is being encoded; the entries are to be dropped
    /// outside the lock.
    pub(super) fn clear(&mut self) -> impl Sized + use<> {
        self.bytes = 0;
        let flights = std::mem::take(&mut self.flights);
        (
            std::mem::take(&mut self.table),
            std::mem::take(&mut self.queue),
            flights,
        )
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Finds the encoding of this key that is under way, or remembers a new one.
    pub(super) fn join(
        &mut self,
        key: &Key,
        begin: impl FnOnce() -> Option<Arc<Flight>>,
    ) -> Option<Arc<Flight>> {
        if let Some(flight) = self.flights.get(key).and_then(Weak::upgrade) {
            return Some(flight);
        }
        let flight = begin()?;
        self.flights.insert(key.clone(), Arc::downgrade(&flight));
        Some(flight)
    }

    /// Forgets an encoding, unless another one has taken its place.
    pub(super) fn leave(&mut self, key: &Key, flight: *const Flight) {
        if self
            .flights
            .get(key)
            .is_some_and(|known| std::ptr::eq(known.as_ptr(), flight))
        {
            self.flights.remove(key);
        }
    }

    #[cfg(test)]
    pub(super) fn flights(&self) -> usize {
        self.flights.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BODY: usize = 100;
    const WEIGHT: usize = OVERHEAD + 8 + BODY;

    fn key(number: u64) -> Key {
        Key {
            hash: number,
            bytes: Arc::from(number.to_be_bytes()),
        }
    }

    fn body(length: usize) -> Kept {
        Kept::Encoded {
            data: vec![7; length].into(),
            constant: true,
        }
    }

    #[test]
    fn what_nobody_asks_for_goes_first_and_what_is_asked_for_survives_a_flood() {
        let mut shard = Shard::default();
        let limit = 4 * WEIGHT;
        for number in 0..4 {
            assert!(shard.insert(key(number), body(BODY), limit).is_empty());
        }
        for number in 4..1000 {
            assert_eq!(shard.get(&key(2), true), Some(body(BODY)), "{number}");
            assert_eq!(shard.insert(key(number), body(BODY), limit).len(), 1);
            assert_eq!((shard.bytes, shard.len(), shard.queue.len()), (limit, 4, 4));
        }
        assert_eq!(shard.get(&key(0), true), None);
        assert_eq!((shard.hits, shard.misses, shard.evictions), (996, 1, 996));
    }

    #[test]
    fn one_that_is_too_large_displaces_nothing_and_one_that_is_there_stays() {
        let mut shard = Shard::default();
        shard.insert(key(1), body(BODY), 2 * WEIGHT);
        assert!(shard.insert(key(2), body(2 * WEIGHT), 2 * WEIGHT).is_empty());
        assert!(shard.insert(key(1), Kept::NotSmaller, 2 * WEIGHT).is_empty());
        assert_eq!(shard.get(&key(1), true), Some(body(BODY)));
        assert_eq!((shard.bytes, shard.len()), (WEIGHT, 1));
        // A large one displaces as many as it has to, even if all were asked for.
        shard.insert(key(2), body(BODY), 2 * WEIGHT);
        shard.get(&key(2), true);
        assert_eq!(shard.insert(key(3), body(BODY + WEIGHT), 2 * WEIGHT).len(), 2);
        assert_eq!(shard.len(), 1);
    }

    #[test]
    fn of_two_at_the_same_time_the_better_one_stays() {
        let streamed = |length: usize| Kept::Encoded {
            data: vec![8; length].into(),
            constant: false,
        };
        let limit = WEIGHT + 10;
        for first in [Kept::NotSmaller, streamed(BODY), streamed(BODY + 10)] {
            let mut shard = Shard::default();
            shard.insert(key(1), first.clone(), limit);
            let replaced = shard.insert(key(1), streamed(BODY - 1), limit);
            assert_eq!(replaced.is_empty(), first != Kept::NotSmaller);
            assert!(shard.insert(key(1), body(BODY + 11), limit).is_empty(), "no room");
            assert_eq!(shard.insert(key(1), body(BODY), limit).len(), 1);
            assert_eq!((shard.bytes, shard.len(), shard.queue.len()), (WEIGHT, 1, 1));
            for other in [body(1), streamed(1), Kept::NotSmaller] {
                assert!(shard.insert(key(1), other, limit).is_empty());
            }
            assert_eq!(shard.get(&key(1), true), Some(body(BODY)));
            assert_eq!(shard.evictions, 0);
        }
    }

    #[test]
    fn one_that_comes_does_not_turn_all_that_were_asked_for() {
        let mut shard = Shard::default();
        let entries = 10_000;
        let limit = entries * WEIGHT;
        for number in 0..10_000 {
            shard.insert(key(number), body(BODY), limit);
            shard.get(&key(number), true);
        }
        assert_eq!(shard.insert(key(10_000), body(BODY), limit).len(), 1);
        let turned = shard.table.values().filter(|held| !held.asked_for).count() - 1;
        assert_eq!(turned, MOST_SPARED);
        assert_eq!(
            (shard.len(), shard.queue.len(), shard.bytes),
            (entries, entries, limit)
        );
    }

    #[test]
    fn keys_with_the_same_hash_are_told_apart() {
        let mut shard = Shard::default();
        let same = |number: u64| Key {
            hash: 1,
            ..key(number)
        };
        shard.insert(same(1), body(1), usize::MAX);
        shard.insert(same(2), body(2), usize::MAX);
        assert_eq!(shard.get(&same(1), true), Some(body(1)));
        assert_eq!(shard.get(&same(2), true), Some(body(2)));
        assert_eq!(shard.get(&same(3), true), None);
    }

    proptest! {
        /// Against a model that keeps everything: what is found is what was put in first since it last went, and the
        /// books balance.
        #[test]
        fn the_limit_holds_and_nothing_is_mixed_up(
            steps in prop::collection::vec((0_u64..30, 0_usize..600, any::<bool>()), 0..300),
        ) {
            let limit = 5 * WEIGHT;
            let mut shard = Shard::default();
            let mut model = HashMap::new();
            for (number, length, insert) in steps {
                let before = shard.len();
                let there = shard.table.contains_key(&key(number));
                if insert {
                    let gone = shard.insert(key(number), body(length), limit).len();
                    let fits = OVERHEAD + 8 + length <= limit;
                    prop_assert_eq!(shard.len(), before - gone + usize::from(fits && !there));
                    if !there {
                        model.insert(number, length);
                    }
                } else if let Some(found) = shard.get(&key(number), true) {
                    prop_assert_eq!(found, body(model[&number]));
                }
                prop_assert!(shard.bytes <= limit);
                prop_assert_eq!(shard.queue.len(), shard.len());
                prop_assert_eq!(shard.table.values().map(|held| held.weight).sum::<usize>(), shard.bytes);
            }
            drop(shard.clear());
            prop_assert_eq!((shard.bytes, shard.len(), shard.queue.len()), (0, 0, 0));
        }
    }
}
