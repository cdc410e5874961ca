use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Instant;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::cells::walk;
use crate::metric::Single;

/// A series.
#[derive(Debug)]
pub(super) struct Entry<M> {
    pub(super) labels: Box<str>,
    pub(super) metric: M,
}

/// Every series once, in the order of creation, which is the order of exposition.
///
/// Keys that differ can read the same, when a value was cut or shows less than `Eq` compares. They share a series,
/// because an exposition with one series twice is refused as a whole.
#[derive(Debug)]
pub(super) struct Index<M: Single> {
    /// With holes where series were removed, until the next scrape.
    pub(super) slots: Vec<Option<Slot<M>>>,
    by_labels: HashTable<usize>,
    /// Removed, but maybe still written to by who has a handle or remembers it.
    retired: Vec<Retired<M>>,
    /// How many were left of `retired` when it was last looked through.
    kept: usize,
}

#[derive(Debug)]
pub(super) struct Slot<M: Single> {
    pub(super) entry: Arc<Entry<M>>,
    /// What a scrape saw last.
    pub(super) seen: M::Seen,
    /// When a scrape last found it used, if series expire.
    pub(super) used: Option<Instant>,
    /// How many keys lead to it, or 1 if it takes the place of a key.
    pub(super) keys: usize,
    /// The hash of the key, if there is one only.
    pub(super) hash: Option<u64>,
}

#[derive(Debug)]
struct Retired<M: Single> {
    entry: Arc<Entry<M>>,
    seen: M::Seen,
}

impl<M: Single> Index<M> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            by_labels: HashTable::new(),
            retired: Vec::new(),
            kept: 0,
        }
    }

    /// Returns the number of series.
    pub(super) fn len(&self) -> usize {
        self.by_labels.len()
    }

    pub(super) fn retired(&self) -> usize {
        self.retired.len()
    }

    pub(super) fn find(&mut self, labels: &str, hasher: &RandomState) -> Option<&mut Slot<M>> {
        let same = |&at: &usize| {
            self.slots[at]
                .as_ref()
                .is_some_and(|slot| *slot.entry.labels == *labels)
        };
        let at = *self.by_labels.find(hasher.hash_one(labels), same)?;
        self.slots[at].as_mut()
    }

    /// Adds a series whose labels are new.
    pub(super) fn insert(
        &mut self,
        made: Entry<M>,
        hash: Option<u64>,
        hasher: &RandomState,
    ) -> Arc<Entry<M>> {
        let entry = Arc::new(made);
        let labels_hash = hasher.hash_one(&*entry.labels);
        self.slots.push(Some(Slot {
            entry: Arc::clone(&entry),
            seen: M::Seen::default(),
            used: None,
            keys: 1,
            hash,
        }));
        self.by_labels
            .insert_unique(labels_hash, self.slots.len() - 1, |&at| {
                let slot = self.slots[at].as_ref().expect("invariant: no holes are indexed");
                hasher.hash_one(&*slot.entry.labels)
            });
        entry
    }

    /// Removes a series from the exposition; what is added to it from now on is found by [`settle`](Self::settle).
    pub(super) fn retire(&mut self, entry: &Arc<Entry<M>>, hasher: &RandomState) -> Option<Slot<M>> {
        let same = |&at: &usize| {
            self.slots[at]
                .as_ref()
                .is_some_and(|slot| Arc::ptr_eq(&slot.entry, entry))
        };
        let found = self
            .by_labels
            .find_entry(hasher.hash_one(&*entry.labels), same)
            .ok()?;
        let (at, _) = found.remove();
        let slot = self.slots[at].take()?;
        self.retired.push(Retired {
            entry: Arc::clone(&slot.entry),
            seen: M::carry(slot.seen.clone()),
        });
        Some(slot)
    }

    /// Closes the holes. Nobody may be iterating.
    pub(super) fn compact(&mut self) {
        if self.slots.len() == self.by_labels.len() {
            return;
        }
        let mut to = 0;
        let moved: Vec<Option<usize>> = self
            .slots
            .iter()
            .map(|slot| {
                let at = to;
                to += usize::from(slot.is_some());
                slot.is_some().then_some(at)
            })
            .collect();
        self.slots.retain(Option::is_some);
        for at in &mut self.by_labels {
            *at = moved[*at].expect("invariant: no holes are indexed");
        }
    }

    /// Says whether so many were removed since the last time that it is worth looking through them.
    pub(super) fn is_unsettled(&self) -> bool {
        self.retired.len() > 2 * self.kept + 64
    }

    /// Adds to `overflow` what was added to removed series since they were seen, and forgets those that nobody has.
    pub(super) fn settle<'a>(&mut self, overflow: impl Fn() -> &'a M) {
        self.retired.retain_mut(|retired| {
            // First: once nobody else has it, it does not change any more.
            let is_known = Arc::strong_count(&retired.entry) > 1;
            // Who cloned the metric had the entry: its clone is seen by who sees it let go of the entry.
            fence(Ordering::Acquire);
            let is_had = is_known || retired.entry.metric.is_shared();
            fence(Ordering::Acquire);
            let now = retired.entry.metric.see(&walk());
            if let Some(absorb) = M::ABSORB
                && retired.entry.metric.is_used(&retired.seen, &now)
            {
                let overflow = overflow(); // may panic: nothing is taken as seen before
                absorb(overflow, &retired.seen, &now);
                retired.seen = now;
            }
            is_had
        });
        self.kept = self.retired.len();
    }
}
