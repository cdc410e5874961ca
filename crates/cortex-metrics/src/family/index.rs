use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::HashTable;

use super::hasher::Hasher;
use super::settle::is_had;
use crate::cells::walk;
use crate::metric::{Piece, Shown, Single};

/// So many holes are nothing to close in a family of few series.
const HOLES: usize = if cfg!(test) { 8 } else { 256 };

/// So many removals are worth a look at what was removed.
const UNSETTLED: usize = 64;

/// A series.
#[derive(Debug)]
pub(super) struct Entry<M> {
    pub(super) metric: M,
    labels_hash: u64,
}

/// Every series once, in the order of creation, which is the order of exposition.
///
/// Keys that differ can read the same, when a value was cut or shows less than `Eq` compares. They share a series,
/// because an exposition with one series twice is refused as a whole.
///
/// What a scrape needs of each series lies side by side, so that the processor fetches it in advance.
#[derive(Debug)]
pub(super) struct Index<M: Single> {
    /// With holes where series were removed, until they are closed by `compact`.
    pub(super) slots: Vec<Slot<M>>,
    /// Of each slot, what a scrape does not need.
    pub(super) keys: Vec<Keys>,
    /// The labels of all slots, one after the other.
    texts: String,
    by_labels: HashTable<usize>,
    /// Removed, but maybe still written to by who has a handle or remembers it. What was not looked at for the longest
    /// time is in front.
    retired: VecDeque<Retired<M>>,
    /// How many were removed since some of `retired` were looked at.
    unsettled: usize,
    /// How many of their values the series of all others could not take.
    lost: u64,
}

#[derive(Debug)]
pub(super) struct Slot<M: Single> {
    /// Nothing if the series was removed.
    pub(super) entry: Option<Arc<Entry<M>>>,
    pub(super) near: M::Near,
    /// What a scrape saw last.
    pub(super) seen: M::Seen,
    /// Where its labels end; they begin where those of the slot before end.
    end: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    /// When a scrape last found the series used, if series expire.
    pub(super) used: Option<Instant>,
    /// How many keys lead to it, or 1 if it takes the place of a key.
    pub(super) count: usize,
    /// The hash of the key, if there is one only.
    pub(super) hash: Option<u64>,
}

/// Where the keys of a series are.
#[derive(Clone, Copy, Debug)]
pub(super) enum KeyPlace {
    /// The one there is has this hash.
    At(u64),
    /// There are several, or one beside labels that were cut.
    Anywhere,
    /// There is none: the labels were cut.
    Nowhere,
}

impl Keys {
    pub(super) fn place(&self) -> KeyPlace {
        match self.hash {
            Some(hash) => KeyPlace::At(hash),
            None if self.count > 1 => KeyPlace::Anywhere,
            None => KeyPlace::Nowhere,
        }
    }
}

#[derive(Debug)]
struct Retired<M: Single> {
    entry: Arc<Entry<M>>,
    seen: M::Seen,
}

/// Some series, one after the other.
#[derive(Debug)]
pub(super) struct Batch<'a, M: Single> {
    slots: &'a [Slot<M>],
    texts: &'a str,
    /// Where the labels of the first one begin.
    start: usize,
}

impl<M> Entry<M> {
    pub(super) fn new(metric: M, labels: &str, hasher: &Hasher) -> Self {
        Self {
            metric,
            labels_hash: hasher.hash_one(labels),
        }
    }
}

impl<M: Single> Index<M> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            keys: Vec::new(),
            texts: String::new(),
            by_labels: HashTable::new(),
            retired: VecDeque::new(),
            unsettled: 0,
            lost: 0,
        }
    }

    /// Returns the number of series.
    pub(super) fn len(&self) -> usize {
        self.by_labels.len()
    }

    pub(super) fn retired(&self) -> usize {
        self.retired.len()
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns where the series with these labels is.
    pub(super) fn find(&self, labels: &str, hasher: &Hasher) -> Option<usize> {
        let same = |&at: &usize| self.labels(at) == labels;
        self.by_labels.find(hasher.hash_one(labels), same).copied()
    }

    /// Returns the series at a place that is no hole.
    pub(super) fn entry(&self, at: usize) -> &Arc<Entry<M>> {
        let entry = self.slots[at].entry.as_ref();
        entry.expect("invariant: no holes are indexed")
    }

    /// Adds a series whose labels are new.
    pub(super) fn insert(&mut self, entry: Entry<M>, labels: &str, hash: Option<u64>) -> Arc<Entry<M>> {
        let entry = Arc::new(entry);
        // By a quarter: doubling would leave megabytes unused.
        if self.texts.capacity() - self.texts.len() < labels.len() {
            self.texts.reserve_exact(labels.len().max(self.texts.len() / 4));
        }
        self.texts.push_str(labels);
        self.slots.push(Slot::new(&entry, self.texts.len()));
        self.keys.push(Keys {
            used: None,
            count: 1,
            hash,
        });
        let slots = &self.slots;
        let labels_hash = |&at: &usize| {
            let entry = slots[at].entry.as_ref();
            entry.expect("invariant: no holes are indexed").labels_hash
        };
        self.by_labels
            .insert_unique(entry.labels_hash, slots.len() - 1, labels_hash);
        entry
    }

    /// Returns so many of the series.
    pub(super) fn batch(&self, range: Range<usize>) -> Batch<'_, M> {
        Batch {
            start: self.start(range.start),
            slots: &self.slots[range],
            texts: &self.texts,
        }
    }

    /// Removes a series from the exposition; what is added to it from now on is found by [`settle`](Self::settle).
    pub(super) fn retire(&mut self, entry: &Arc<Entry<M>>) -> Option<Keys> {
        let slots = &self.slots;
        let same = |&at: &usize| {
            let there = slots[at].entry.as_ref();
            there.is_some_and(|there| Arc::ptr_eq(there, entry))
        };
        let found = self.by_labels.find_entry(entry.labels_hash, same).ok()?;
        let (at, _) = found.remove();
        let slot = &mut self.slots[at];
        self.unsettled += 1;
        self.retired.push_back(Retired {
            entry: slot.entry.take()?,
            seen: M::carry(std::mem::take(&mut slot.seen)),
        });
        Some(self.keys[at])
    }

    /// Says whether so many were removed that it is worth closing the holes.
    pub(super) fn is_hollow(&self) -> bool {
        self.slots.len() > 2 * self.len() + HOLES
    }

    /// Closes the holes. Nobody may be iterating.
    pub(super) fn compact(&mut self) {
        if self.slots.len() == self.len() {
            return;
        }
        let mut texts = String::with_capacity(self.texts.len());
        let mut to = 0;
        let mut start = 0;
        let mut moved = Vec::with_capacity(self.slots.len());
        for (at, slot) in self.slots.iter_mut().enumerate() {
            let labels = start..slot.end;
            start = slot.end;
            moved.push(to);
            if slot.entry.is_some() {
                texts.push_str(&self.texts[labels]);
                slot.end = texts.len();
                self.keys[to] = self.keys[at];
                to += 1;
            }
        }
        self.slots.retain(|slot| slot.entry.is_some());
        self.keys.truncate(to);
        self.texts = texts;
        for at in &mut self.by_labels {
            *at = moved[*at];
        }
    }

    /// Settles some of the removed series if so many were removed since the last time that it is worth it: twice as
    /// many as were, so that in the end all are looked at.
    pub(super) fn settle_if_due<'a>(&mut self, overflow: impl Fn() -> &'a M) {
        if self.unsettled >= UNSETTLED {
            self.settle(2 * self.unsettled, overflow);
        }
    }

    /// Adds to `overflow` what was added to removed series since they were seen, and forgets those that nobody has;
    /// looks at so many, those first that were not looked at for the longest time.
    pub(super) fn settle<'a>(&mut self, count: usize, overflow: impl Fn() -> &'a M) {
        self.unsettled = 0;
        let count = count.min(self.retired.len());
        let some = || self.retired.range(..count);
        let are_had: Vec<bool> = some()
            .map(|Retired { entry, .. }| is_had(|| Arc::strong_count(entry) > 1, || entry.metric.is_shared()))
            .collect();
        // Begun after that, because it knows only of threads that have counted something by now.
        let walk = walk();
        let seen: Vec<_> = some().map(|retired| retired.entry.metric.see(&walk)).collect();
        drop(walk); // `overflow` may run code of the user
        for (retired, now) in self.retired.range_mut(..count).zip(seen) {
            if let Some(absorb) = M::ABSORB
                && retired.entry.metric.is_used(&retired.seen, &now)
            {
                let overflow = overflow(); // may panic: nothing is taken as seen before
                let lost = absorb(overflow, &retired.entry.metric, &retired.seen, &now);
                self.lost = self.lost.wrapping_add(lost);
                retired.seen = now;
            }
        }
        for is_had in are_had {
            let retired = self.retired.pop_front();
            self.retired.extend(retired.filter(|_| is_had));
        }
    }

    fn labels(&self, at: usize) -> &str {
        &self.texts[self.start(at)..self.slots[at].end]
    }

    /// Returns where the labels of a slot begin.
    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).map_or(0, |before| self.slots[before].end)
    }
}

impl<M: Single> Slot<M> {
    fn new(entry: &Arc<Entry<M>>, end: usize) -> Self {
        Self {
            near: entry.metric.near(),
            entry: Some(Arc::clone(entry)),
            seen: M::Seen::default(),
            end,
        }
    }

    /// Makes one for a series that is not in the index.
    pub(super) fn alone(entry: &Arc<Entry<M>>, labels: &str) -> Self {
        Self::new(entry, labels.len())
    }

    /// Returns it as all there is, with the labels it was made with.
    pub(super) fn batch<'a>(&'a self, labels: &'a str) -> Batch<'a, M> {
        Batch {
            slots: std::slice::from_ref(self),
            texts: labels,
            start: 0,
        }
    }
}

impl<M: Single> Clone for Batch<'_, M> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<'a, M: Single> Iterator for Batch<'a, M> {
    type Item = Shown<'a, M>;

    #[inline]
    fn next(&mut self) -> Option<Shown<'a, M>> {
        loop {
            let slot = self.slots.split_off_first()?;
            let labels = Piece {
                text: self.texts,
                start: self.start,
                end: slot.end,
            };
            self.start = slot.end;
            if let Some(entry) = &slot.entry {
                return Some(Shown {
                    metric: &entry.metric,
                    near: slot.near,
                    labels,
                    seen: &slot.seen,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Counter;

    #[test]
    fn holes_are_closed() {
        let hasher = Hasher::new();
        let mut index = Index::<Counter>::new();
        let labels = |n: usize| format!("n=\"{}-{n}\"", "9".repeat(n % 7));
        let entries: Vec<_> = (0..700)
            .map(|n| {
                let entry = Entry::new(Counter::default(), &labels(n), &hasher);
                index.insert(entry, &labels(n), Some(n as u64))
            })
            .collect();
        for (n, entry) in entries.iter().enumerate() {
            assert!(!index.is_hollow(), "{n}");
            if n % 5 > 0 && n < 600 {
                entry.metric.add(n as u64);
                assert_eq!(index.retire(entry).unwrap().hash, Some(n as u64));
                assert!(index.retire(entry).is_none());
            }
            if index.is_hollow() {
                index.compact();
                assert_eq!(index.slots.len(), index.len());
            }
        }
        index.compact();
        let left: Vec<_> = (0..700).filter(|n| n % 5 == 0 || *n >= 600).collect();
        assert_eq!(index.len(), left.len());
        let half = left.len() / 2;
        let batches = [index.batch(0..half), index.batch(half..left.len())];
        for (shown, n) in batches.into_iter().flatten().zip(&left) {
            assert_eq!(shown.labels.as_str(), labels(*n));
            let at = index.find(&labels(*n), &hasher).unwrap();
            assert!(Arc::ptr_eq(index.entry(at), &entries[*n]));
            assert_eq!(index.keys[at].hash, Some(*n as u64));
        }
        assert_eq!(index.find(&labels(1), &hasher), None);
    }
}
