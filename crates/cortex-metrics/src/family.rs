use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parking_lot::RwLock;

use crate::encode::Series;
use crate::labels::{render, render_overflow};
use crate::metric::{Encode, Kind};
use crate::{Instrument, Labels, Metric};

/// One metric per combination of label values, made when it is first used, up to a bound.
///
/// What exceeds the bound is counted in a series whose label values all are `__other__`, so that totals stay true and
/// a label that somebody else controls cannot fill the memory. Clones share the series.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Counter, Family};
///
/// cortex_metrics::labels! {
///     pub struct Tenant { tenant: &'static str }
/// }
///
/// let requests = Family::new(Counter::default).max_series(1);
/// requests.with(&Tenant { tenant: "a" }, |count| count.inc());
/// requests.with(&Tenant { tenant: "b" }, |count| count.inc());
/// requests.with(&Tenant { tenant: "c" }, |count| count.inc());
/// assert_eq!(requests.len(), 1);
/// assert_eq!(requests.handle(&Tenant { tenant: "d" }).get(), 2); // the series of all others
/// ```
pub struct Family<L, M> {
    inner: Arc<Inner<L, M>>,
}

/// A power of two.
const SHARDS: usize = 32;

struct Inner<L, M> {
    make: Box<dyn Fn() -> M + Send + Sync>,
    hasher: RandomState,
    /// Where lookups go. A creation or a removal locks the index first, then one shard.
    shards: Box<[Shard<L, M>]>,
    index: RwLock<Index<M>>,
    /// How many keys the shards hold; written under the lock of the index.
    keys: AtomicUsize,
    max_series: AtomicUsize,
    overflow_labels: Box<str>,
    overflow: OnceLock<Arc<Entry<M>>>,
}

/// Alone on its cache lines: two locks on one line would contend although their keys differ.
#[repr(align(128))]
struct Shard<L, M> {
    table: RwLock<Table<L, M>>,
}

type Table<L, M> = HashTable<(L, Arc<Entry<M>>)>;

/// Every series once, in the order of creation, which is the order of exposition.
///
/// Keys that differ can read the same, when a value was cut or shows less than `Eq` compares. They share a series,
/// because an exposition with one series twice is refused as a whole.
struct Index<M> {
    entries: Vec<Arc<Entry<M>>>,
    by_labels: HashTable<usize>,
}

struct Entry<M> {
    labels: Box<str>,
    metric: M,
}

impl<L: Labels, M> Family<L, M> {
    /// Makes an empty family, bounded at 2,000 series, that makes its metrics with `make`.
    ///
    /// `make` must not use the family itself.
    pub fn new(make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        let shard = || Shard {
            table: RwLock::default(),
        };
        Self {
            inner: Arc::new(Inner {
                make: Box::new(make),
                hasher: RandomState::default(),
                shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
                index: RwLock::new(Index {
                    entries: Vec::new(),
                    by_labels: HashTable::new(),
                }),
                keys: AtomicUsize::new(0),
                max_series: AtomicUsize::new(2_000),
                overflow_labels: render_overflow::<L>(),
                overflow: OnceLock::new(),
            }),
        }
    }

    /// Sets the bound; series that exist already stay.
    #[must_use]
    pub fn max_series(self, max: usize) -> Self {
        self.inner.max_series.store(max, Ordering::Relaxed);
        self
    }

    /// Runs `f` on the metric with these labels, which is made if need be.
    ///
    /// No lock is held while `f` runs: it may use the family again.
    pub fn with<R>(&self, labels: &L, f: impl FnOnce(&M) -> R) -> R {
        f(&self.inner.get(labels).metric)
    }

    /// Returns the metric with these labels, which is made if need be, to be used without looking it up again.
    ///
    /// A handle outlives the removal of its series, but then what it counts is no longer exposed.
    pub fn handle(&self, labels: &L) -> M
    where
        M: Clone,
    {
        self.with(labels, M::clone)
    }

    /// Removes the series with these labels from the exposition and says whether there was one.
    pub fn remove(&self, labels: &L) -> bool {
        self.inner.remove(labels)
    }

    /// Returns the number of series, without that of all others.
    pub fn len(&self) -> usize {
        self.inner.index.read().entries.len()
    }

    /// Says whether there is no series.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs `f` on the rendered labels and the metric of every series.
    pub(crate) fn each(&self, mut f: impl FnMut(&str, &M)) {
        let index = self.inner.index.read();
        for entry in index.entries.iter().chain(self.inner.overflow.get()) {
            f(&entry.labels, &entry.metric);
        }
    }

    pub(crate) fn has_no_series(&self) -> bool {
        self.is_empty() && self.inner.overflow.get().is_none()
    }
}

impl<L, M> Clone for Family<L, M> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<L, M> fmt::Debug for Family<L, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Family")
            .field("len", &self.inner.index.read().entries.len())
            .finish_non_exhaustive()
    }
}

impl<L: Labels, M: Instrument> Metric for Family<L, M> {}

impl<L: Labels, M: Instrument> Encode for Family<L, M> {
    fn kind(&self) -> Kind {
        M::KIND
    }

    fn label_names(&self) -> Vec<&str> {
        L::NAMES.to_vec()
    }

    fn is_empty(&self) -> bool {
        self.has_no_series()
    }

    fn write(&self, series: &mut Series<'_>) {
        self.each(|labels, metric| metric.write_single(&mut series.labelled(labels)));
    }
}

impl<L: Labels, M> Inner<L, M> {
    fn get(&self, labels: &L) -> Arc<Entry<M>> {
        let hash = self.hasher.hash_one(labels);
        let found = self
            .shard(hash)
            .read()
            .find(hash, |(key, _)| key == labels)
            .map(|(_, entry)| Arc::clone(entry));
        found.unwrap_or_else(|| self.create(hash, labels))
    }

    #[cold]
    fn create(&self, hash: u64, labels: &L) -> Arc<Entry<M>> {
        // Asked without the lock first: a flood of new labels must not queue up for it.
        if self.is_full() {
            return self.overflow();
        }
        let rendered = render(labels);
        if rendered == self.overflow_labels {
            return self.overflow();
        }
        // Made and rendered before any lock is taken, because both run code of the user.
        let (key, made) = (
            labels.clone(),
            Entry {
                labels: rendered,
                metric: (self.make)(),
            },
        );
        let mut index = self.index.write();
        let mut shard = self.shard(hash).write();
        if let Some((_, entry)) = shard.find(hash, |(key, _)| key == labels) {
            return Arc::clone(entry);
        }
        if self.is_full() {
            drop((index, shard));
            return self.overflow();
        }
        let entry = index.find_or_insert(made, &self.hasher);
        shard.insert_unique(hash, (key, Arc::clone(&entry)), |(key, _)| {
            self.hasher.hash_one(key)
        });
        self.keys.fetch_add(1, Ordering::Relaxed);
        entry
    }

    fn remove(&self, labels: &L) -> bool {
        let hash = self.hasher.hash_one(labels);
        let mut index = self.index.write();
        let (_key, entry) = {
            let mut shard = self.shard(hash).write();
            let Ok(found) = shard.find_entry(hash, |(key, _)| key == labels) else {
                return false;
            };
            found.remove().0
        };
        let mut removed = 1;
        if self.keys.load(Ordering::Relaxed) != index.entries.len() {
            // Some series has several keys: the others must not lead to it any more either.
            for shard in &self.shards {
                shard.table.write().retain(|(_, other)| {
                    let stays = !Arc::ptr_eq(other, &entry);
                    removed += usize::from(!stays);
                    stays
                });
            }
        }
        self.keys.fetch_sub(removed, Ordering::Relaxed);
        index.remove(&entry, &self.hasher);
        true
    }

    fn overflow(&self) -> Arc<Entry<M>> {
        let entry = self.overflow.get_or_init(|| {
            Arc::new(Entry {
                labels: self.overflow_labels.clone(),
                metric: (self.make)(),
            })
        });
        Arc::clone(entry)
    }

    fn is_full(&self) -> bool {
        self.keys.load(Ordering::Relaxed) >= self.max_series.load(Ordering::Relaxed)
    }

    fn shard(&self, hash: u64) -> &RwLock<Table<L, M>> {
        // The table uses the lowest and the highest bits.
        let shard = (hash >> 40) as usize & (SHARDS - 1);
        &self.shards[shard].table
    }
}

impl<M> Index<M> {
    fn find_or_insert(&mut self, made: Entry<M>, hasher: &RandomState) -> Arc<Entry<M>> {
        let hash = hasher.hash_one(&*made.labels);
        let same = |&at: &usize| self.entries[at].labels == made.labels;
        if let Some(&at) = self.by_labels.find(hash, same) {
            return Arc::clone(&self.entries[at]);
        }
        let entry = Arc::new(made);
        self.entries.push(Arc::clone(&entry));
        self.by_labels.insert_unique(hash, self.entries.len() - 1, |&at| {
            hasher.hash_one(&*self.entries[at].labels)
        });
        entry
    }

    fn remove(&mut self, entry: &Arc<Entry<M>>, hasher: &RandomState) {
        let hash = hasher.hash_one(&*entry.labels);
        let same = |&at: &usize| Arc::ptr_eq(&self.entries[at], entry);
        if let Ok(found) = self.by_labels.find_entry(hash, same) {
            let (at, _) = found.remove();
            self.entries.remove(at);
            for later in self.by_labels.iter_mut().filter(|other| **other > at) {
                *later -= 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::{Counter, labels};

    labels! {
        struct Key { key: String }
    }

    fn key(key: impl Into<String>) -> Key {
        Key { key: key.into() }
    }

    fn exposed(family: &Family<Key, Counter>) -> Vec<(String, u64)> {
        let mut all = Vec::new();
        family.each(|labels, count| all.push((labels.to_owned(), count.get())));
        all
    }

    #[test]
    fn series_are_shown_in_the_order_of_creation() {
        let family = Family::new(Counter::default);
        for name in ["b", "a", "c", "a"] {
            family.clone().with(&key(name), Counter::inc);
        }
        let shown = [(r#"key="b""#, 1), (r#"key="a""#, 2), (r#"key="c""#, 1)].map(|(k, n)| (k.to_owned(), n));
        assert_eq!(exposed(&family), shown);
        assert!(family.remove(&key("b")));
        assert!(!family.remove(&key("b")));
        assert_eq!(exposed(&family), shown[1..]);
        assert!(family.remove(&key("c")));
        family.with(&key("b"), |_| {});
        assert_eq!(exposed(&family), [shown[1].clone(), (r#"key="b""#.to_owned(), 0)]);
        assert_eq!(format!("{family:?}"), "Family { len: 2, .. }");
        assert!(!family.is_empty());
    }

    #[test]
    fn the_bound_keeps_totals_true() {
        let family = Family::new(Counter::default).max_series(10);
        assert!(family.has_no_series());
        for n in 0_u32..1_000 {
            family.with(&key(n.to_string()), Counter::inc);
            family.with(&key((n % 10).to_string()), Counter::inc);
        }
        assert_eq!(family.len(), 10);
        let shown = exposed(&family);
        assert_eq!(shown.iter().map(|(_, n)| n).sum::<u64>(), 2_000);
        assert_eq!(shown[10], (r#"key="__other__""#.to_owned(), 990));
        // Room that a removal makes is used.
        assert!(family.remove(&key("0")));
        family.with(&key("new"), Counter::inc);
        assert_eq!(exposed(&family)[9], (r#"key="new""#.to_owned(), 1));
    }

    #[test]
    fn a_bound_of_zero_leaves_one_series() {
        let family = Family::new(Counter::default).max_series(0);
        family.with(&key("a"), Counter::inc);
        assert_eq!(
            (family.len(), family.is_empty(), family.has_no_series()),
            (0, true, false)
        );
        assert_eq!(exposed(&family), [(r#"key="__other__""#.to_owned(), 1)]);
        assert!(!family.remove(&key("a")));
    }

    #[test]
    fn keys_that_read_the_same_share_a_series() {
        let family = Family::new(Counter::default).max_series(3);
        let long = "x".repeat(300);
        family.with(&key(format!("{long}1")), Counter::inc);
        family.with(&key(format!("{long}2")), Counter::inc);
        family.with(&key("__other__"), Counter::inc);
        assert_eq!(family.len(), 1);
        assert_eq!(
            exposed(&family).iter().map(|(_, n)| *n).collect::<Vec<_>>(),
            [2, 1]
        );
        // They fill the bound all the same: their keys take memory.
        family.with(&key("b"), Counter::inc);
        family.with(&key("c"), Counter::inc);
        assert_eq!(
            exposed(&family).iter().map(|(_, n)| *n).collect::<Vec<_>>(),
            [2, 1, 2]
        );
        // One removal removes the series for all its keys.
        assert!(family.remove(&key(format!("{long}2"))));
        assert!(!family.remove(&key(format!("{long}1"))));
        family.with(&key(format!("{long}1")), Counter::inc);
        assert_eq!(
            exposed(&family).iter().map(|(_, n)| *n).collect::<Vec<_>>(),
            [1, 1, 2]
        );
    }

    #[test]
    fn concurrent_creation_makes_each_series_once() {
        const THREADS: usize = 8;
        let family = Family::new(Counter::default).max_series(100);
        let barrier = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    barrier.wait();
                    for n in 0_u32..400 {
                        family.with(&key((n % 200).to_string()), Counter::inc);
                    }
                });
            }
        });
        let shown = exposed(&family);
        assert_eq!(family.len(), 100);
        assert_eq!(shown.iter().map(|(_, n)| n).sum::<u64>(), 8 * 400);
        let mut names: Vec<_> = shown.iter().map(|(labels, _)| labels).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 101);
    }

    #[test]
    fn creation_and_removal_race_without_a_trace() {
        let family = Family::new(Counter::default);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for n in 0_u32..2_000 {
                        family.with(&key((n % 7).to_string()), Counter::inc);
                    }
                });
                scope.spawn(|| (0_u32..2_000).for_each(|n| _ = family.remove(&key((n % 7).to_string()))));
                scope.spawn(|| (0..200).for_each(|_| assert!(exposed(&family).len() <= 7)));
            }
        });
        for n in 0_u32..7 {
            family.remove(&key(n.to_string()));
        }
        assert!(family.has_no_series());
        assert_eq!(family.inner.keys.load(Ordering::Relaxed), 0);
        assert_eq!(family.inner.index.read().by_labels.len(), 0);
    }

    #[test]
    fn the_closure_may_use_the_family() {
        let family = Family::new(Counter::default);
        family.with(&key("a"), |outer| {
            family.with(&key("a"), Counter::inc);
            family.with(&key("b"), Counter::inc);
            assert!(family.remove(&key("a")));
            outer.inc();
            assert_eq!(outer.get(), 2);
        });
        assert_eq!(family.len(), 1);
        let handle = family.handle(&key("b"));
        handle.inc();
        assert_eq!(family.handle(&key("b")).get(), 2);
    }
}
