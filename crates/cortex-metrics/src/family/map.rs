use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cortex_core::Clock;
use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};

use super::cache::Place;
use super::epoch::Epoch;
use super::hasher::Hasher;
use super::index::{Batch, Entry, Index, KeyPlace, Keys, Slot};
use super::keyed::Keyed;
use super::lookup::{Lookup, Probe};
use crate::cells::walk;
use crate::encode::Series;
use crate::metric::{Growth, Single};

/// A power of two.
const SHARDS: usize = 32;

/// How many series a scrape reads and writes at a time, or looks at that were removed: for so long, new series wait.
pub(super) const BATCH: usize = if cfg!(test) { 4 } else { 256 };

/// How many removed series there may be, for each that the bound allows, before none expire any more.
const RETIRED: usize = 8;

/// As many as one thread may remember, and so keep, of a family with a low bound.
const FEW_RETIRED: usize = if cfg!(test) { 8 } else { 1024 };

/// The series of a family, by their keys.
///
/// Locks are taken in this order: `scrape`, `index`, one shard, cells.
pub(super) struct Map<K, M: Single> {
    make: Box<dyn Fn() -> M + Send + Sync>,
    hasher: Hasher,
    place: Place<K, M>,
    /// Goes up when a series was removed: what threads remember is void then.
    epoch: Alone<Epoch>,
    /// Where lookups go. A creation or a removal locks the index first, then one shard.
    shards: Box<[Shard<K, M>]>,
    index: Mutex<Index<M>>,
    /// How much of the bound is used up: keys, and series that have none.
    taken: AtomicUsize,
    max_series: AtomicUsize,
    overflow_labels: Box<str>,
    overflow: OnceLock<Overflow<M>>,
    idle: OnceLock<Idle>,
    /// Held during a scrape of this family: another one would show some series twice.
    scrape: Mutex<()>,
}

/// Alone on its cache lines, and those that processors fetch with them.
#[repr(align(128))]
struct Alone<T>(T);

type Shard<K, M> = Alone<RwLock<Table<K, M>>>;

/// A key is shared, because its clone and its drop are code of the user, which must not run under a lock.
type Table<K, M> = HashTable<Arc<Keyed<K, M>>>;

/// What was taken out of tables, to be dropped when no lock is held any more.
type Leftovers<K, M> = Vec<Arc<Keyed<K, M>>>;

struct Overflow<M: Single> {
    entry: Arc<Entry<M>>,
    hits: AtomicU64,
}

struct Idle {
    after: Duration,
    clock: Box<dyn Clock>,
}

impl<K: Clone + Send + Sync + 'static, M: Single> Map<K, M> {
    pub(super) fn new(make: impl Fn() -> M + Send + Sync + 'static, overflow_labels: Box<str>) -> Self {
        let shard = || Alone(RwLock::default());
        Self {
            make: Box::new(make),
            hasher: Hasher::new(),
            place: Place::new(),
            epoch: Alone(Epoch::new()),
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            index: Mutex::new(Index::new()),
            taken: AtomicUsize::new(0),
            max_series: AtomicUsize::new(2_000),
            overflow_labels,
            overflow: OnceLock::new(),
            idle: OnceLock::new(),
            scrape: Mutex::new(()),
        }
    }

    pub(super) fn set_max_series(&self, max: usize) {
        self.max_series.store(max, Ordering::Relaxed);
    }

    pub(super) fn set_idle(&self, after: Duration, clock: impl Clock + 'static) {
        let clock = Box::new(clock);
        // Told twice, the first time counts.
        let _ = self.idle.set(Idle { after, clock });
    }

    /// Returns who hashes what is looked up.
    #[inline]
    pub(super) fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// Runs `f` on a series, which is made if need be.
    ///
    /// On the way that is cold, what is looked up is made then: handed on, it would be put into memory on the other
    /// way, too.
    #[inline]
    pub(super) fn with<Q: Lookup<K>, R>(
        &self,
        probe: &impl Probe<K>,
        lookup: impl Fn() -> Q,
        f: impl FnOnce(&M) -> R,
    ) -> R {
        self.epoch.0.look_up(
            |epoch| self.place.find(epoch, probe, f),
            |epoch, f| f(&self.find(epoch, &lookup).metric),
        )
    }

    /// Finds or makes the series.
    #[cold]
    #[inline(never)]
    fn find<Q: Lookup<K>>(&self, epoch: u64, lookup: &impl Fn() -> Q) -> Arc<Entry<M>> {
        self.place.refresh(epoch);
        let lookup = &lookup();
        let Some(entry) = self.known(lookup).or_else(|| self.create(lookup)) else {
            // Not remembered: labels that somebody makes up must not drive out what a thread uses.
            let overflow = self.overflow();
            overflow.hits.fetch_add(1, Ordering::Relaxed);
            return Arc::clone(&overflow.entry);
        };
        if self.known(lookup).is_some() {
            let keyed = Keyed {
                hash: lookup.hash(),
                key: lookup.key(),
                entry: Arc::clone(&entry),
            };
            self.place.remember(epoch, keyed);
        }
        entry
    }

    /// Returns the series if it has this key.
    fn known<Q: Lookup<K>>(&self, lookup: &Q) -> Option<Arc<Entry<M>>> {
        let hash = lookup.hash();
        let shard = self.shard(hash).read();
        let found = shard.find(hash, |keyed| keyed.is(lookup));
        found.map(|keyed| Arc::clone(&keyed.entry))
    }

    /// Whether there are no labels: then the one series is that of all others, too, which stays for ever. If both were
    /// there, an exposition would have one series twice.
    fn has_one_series(&self) -> bool {
        self.overflow_labels.is_empty()
    }

    /// Makes the series; nothing if it has to be that of all others.
    fn create<Q: Lookup<K>>(&self, lookup: &Q) -> Option<Arc<Entry<M>>> {
        // Rendered before any lock is taken: it runs code of the user.
        let rendered = lookup.render();
        let is_only = self.has_one_series();
        if !is_only && rendered.text == self.overflow_labels {
            return None;
        }
        // A series whose labels were cut has no key to find it by, and one without labels has one key only, however
        // many there are.
        if rendered.is_cut || is_only {
            let index = self.index.lock();
            if let Some(at) = index.find(&rendered.text, &self.hasher) {
                return Some(Arc::clone(index.entry(at)));
            }
        }
        // Asked without the lock first: a flood of new labels must not queue up for it.
        if !is_only && self.is_full() {
            return None;
        }
        // Made and cloned before any lock is taken, because both run code of the user. The key of a series whose
        // labels were cut is not kept: it may be as long as it likes.
        let key = (!rendered.is_cut).then(|| lookup.key());
        let labels = &*rendered.text;
        let made = Entry::new((self.make)(), labels, &self.hasher);
        let hash = lookup.hash();
        let mut index = self.index.lock();
        let mut shard = self.shard(hash).write();
        if let Some(keyed) = shard.find(hash, |keyed| keyed.is(lookup)) {
            return Some(Arc::clone(&keyed.entry));
        }
        let there = index.find(labels, &self.hasher);
        if (key.is_none() || is_only)
            && let Some(at) = there
        {
            return Some(Arc::clone(index.entry(at)));
        }
        if !is_only && self.is_full() {
            return None;
        }
        let entry = match there {
            Some(at) => {
                index.keys[at].count += 1;
                index.keys[at].hash = None;
                Arc::clone(index.entry(at))
            }
            None => index.insert(made, labels, key.is_some().then_some(hash)),
        };
        if let Some(key) = key {
            let entry = Arc::clone(&entry);
            let keyed = Arc::new(Keyed { hash, key, entry });
            shard.insert_unique(hash, keyed, |keyed| keyed.hash);
        }
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(entry)
    }

    pub(super) fn remove<Q: Lookup<K>>(&self, lookup: &Q) -> bool {
        if self.has_one_series() {
            return false;
        }
        self.refresh();
        let known = self.known(lookup);
        // Rendered before any lock is taken, see `create`.
        let rendered = known.is_none().then(|| lookup.render());
        let mut left = Vec::new();
        let mut index = self.index.lock();
        let entry = known.or_else(|| {
            let at = index.find(&rendered?.text, &self.hasher)?;
            let has_no_key = index.keys[at].hash.is_none();
            has_no_key.then(|| Arc::clone(index.entry(at)))
        });
        entry.is_some_and(|entry| self.retire(&mut index, &[entry], &mut left))
    }

    /// Removes the series that `keep` does not want to keep.
    pub(super) fn retain(&self, mut keep: impl FnMut(&K, &M) -> bool) {
        if self.has_one_series() {
            return;
        }
        self.refresh();
        let mut all: Leftovers<K, M> = Vec::new();
        for shard in &self.shards {
            all.extend(shard.0.read().iter().cloned());
        }
        // No lock is held here: it is the user's code.
        all.retain(|keyed| !keep(&keyed.key, &keyed.entry.metric));
        let entries: Vec<_> = all.iter().map(|keyed| Arc::clone(&keyed.entry)).collect();
        for some in entries.chunks(BATCH) {
            self.retire(&mut self.index.lock(), some, &mut all);
        }
    }

    /// Lets this thread forget what it remembers of removed series.
    fn refresh(&self) {
        self.place.refresh(self.epoch.0.now());
    }

    /// Removes series and says whether there was one of them.
    ///
    /// Their keys are added to `left`, which the caller drops when it has let go of the index.
    fn retire(&self, index: &mut Index<M>, entries: &[Arc<Entry<M>>], left: &mut Leftovers<K, M>) -> bool {
        let any = self.epoch.0.remove(|| {
            let mut any = false;
            let mut unfound = HashSet::new();
            for entry in entries {
                let Some(keys) = index.retire(entry) else {
                    continue;
                };
                any = true;
                self.taken.fetch_sub(keys.count, Ordering::Relaxed);
                match keys.place() {
                    KeyPlace::At(hash) => self.forget_key(entry, hash, left),
                    KeyPlace::Anywhere => drop(unfound.insert(Arc::as_ptr(entry))),
                    KeyPlace::Nowhere => {}
                }
            }
            self.forget_keys(&unfound, left);
            any
        });
        if any {
            index.settle_if_due(|| &self.overflow().entry.metric);
            // Tried, because a scrape goes through the index with pauses, and would miss some series: it closes the
            // holes itself when it begins.
            if index.is_hollow()
                && let Some(_scrape) = self.scrape.try_lock()
            {
                index.compact();
            }
        }
        any
    }

    /// Takes the one key out that leads to a series.
    fn forget_key(&self, entry: &Arc<Entry<M>>, hash: u64, left: &mut Leftovers<K, M>) {
        let mut shard = self.shard(hash).write();
        if let Ok(found) = shard.find_entry(hash, |keyed| Arc::ptr_eq(&keyed.entry, entry)) {
            left.push(found.remove().0);
        }
    }

    /// Takes all keys out that lead to these series, wherever they are.
    fn forget_keys(&self, entries: &HashSet<*const Entry<M>>, left: &mut Leftovers<K, M>) {
        if entries.is_empty() {
            return;
        }
        let is_theirs = |keyed: &mut Arc<Keyed<K, M>>| entries.contains(&Arc::as_ptr(&keyed.entry));
        for shard in &self.shards {
            left.extend(shard.0.write().extract_if(is_theirs));
        }
    }

    /// Returns the number of series, without that of all others.
    pub(super) fn len(&self) -> usize {
        self.index.lock().len()
    }

    /// Returns how often the series of all others was found instead of one's own.
    pub(super) fn overflow_hits(&self) -> u64 {
        self.overflow
            .get()
            .map_or(0, |overflow| overflow.hits.load(Ordering::Relaxed))
    }

    #[cfg(test)]
    /// Returns the number of series and holes.
    pub(super) fn slots(&self) -> usize {
        self.index.lock().slots.len()
    }

    pub(super) fn retired(&self) -> usize {
        self.index.lock().retired()
    }

    pub(super) fn lost(&self) -> u64 {
        self.index.lock().lost()
    }

    pub(super) fn growth(&self) -> Growth {
        let index = self.index.lock();
        Growth {
            series: index.len(),
            overflow_hits: self.overflow_hits(),
            retired: index.retired(),
            lost: index.lost(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0 && self.overflow.get().is_none()
    }

    /// Writes all series, and removes those that nobody used for too long.
    pub(super) fn write(&self, series: &mut Series<'_>) {
        self.each(|batch| M::show_all(batch, series));
    }

    /// Runs `f` on all series, some at a time; `f` must not use the family.
    pub(super) fn each(&self, mut f: impl FnMut(Batch<'_, M>)) {
        self.refresh();
        let mut left = Vec::new();
        let _scrape = self.scrape.lock();
        let idle = self.idle.get().filter(|_| !self.has_one_series());
        let idle = idle.map(|idle| (idle.clock.now(), idle.after));
        let mut unsettled = self.retired();
        while unsettled > 0 {
            unsettled = self.settle_some(unsettled);
        }
        let len = {
            let mut index = self.index.lock();
            index.compact();
            index.slots.len()
        };
        // Series that come now are shown the next time: one that was shown, removed and made again may be among them.
        for start in (0..len).step_by(BATCH) {
            let mut index = self.index.lock();
            let batch = start..len.min(start + BATCH);
            let mut expired = Vec::new();
            let room = self.max_retired().saturating_sub(index.retired());
            {
                let walk = walk();
                let Index { slots, keys, .. } = &mut *index;
                for (slot, keys) in slots[batch.clone()].iter_mut().zip(&mut keys[batch.clone()]) {
                    let Some(entry) = &slot.entry else {
                        continue;
                    };
                    let now = entry.metric.see_near(slot.near, &walk);
                    if let Some((at, after)) = idle
                        && keys.expires(&entry.metric, (&slot.seen, &now), at, after)
                        && expired.len() < room
                    {
                        expired.push(Arc::clone(entry));
                    }
                    slot.seen = now;
                }
            }
            if !expired.is_empty() {
                self.retire(&mut index, &expired, &mut left);
            }
            f(index.batch(batch));
        }
        if let Some(overflow) = self.overflow.get() {
            let mut slot = Slot::alone(&overflow.entry, &self.overflow_labels);
            slot.seen = overflow.entry.metric.see(&walk());
            f(slot.batch(&self.overflow_labels));
        }
    }

    /// Settles some removed series, of so many that are left, and returns how many are left then.
    ///
    /// Whoever settles in between looks at those in front, too: when none are left, all were looked at.
    pub(super) fn settle_some(&self, left: usize) -> usize {
        let count = left.min(BATCH);
        self.index.lock().settle(count, || &self.overflow().entry.metric);
        left - count
    }

    /// Returns how many removed series may be in memory before expiry has to wait.
    fn max_retired(&self) -> usize {
        let max_series = self.max_series.load(Ordering::Relaxed);
        max_series.saturating_mul(RETIRED).max(FEW_RETIRED)
    }

    fn overflow(&self) -> &Overflow<M> {
        self.overflow.get_or_init(|| Overflow {
            entry: Arc::new(Entry::new((self.make)(), &self.overflow_labels, &self.hasher)),
            hits: AtomicU64::new(0),
        })
    }

    fn is_full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.max_series.load(Ordering::Relaxed)
    }

    fn shard(&self, hash: u64) -> &RwLock<Table<K, M>> {
        // The table uses the lowest and the highest bits.
        let shard = (hash >> 40) as usize & (SHARDS - 1);
        &self.shards[shard].0
    }
}

impl Keys {
    /// Says whether nobody used the series for so long, nor could do so by a handle, given what it showed before and
    /// what it shows now.
    fn expires<M: Single>(
        &mut self,
        metric: &M,
        (before, now): (&M::Seen, &M::Seen),
        at: Instant,
        after: Duration,
    ) -> bool {
        let since = *self.used.get_or_insert(at);
        if metric.is_used(before, now) || metric.is_shared() {
            self.used = Some(at);
            return false;
        }
        at.saturating_duration_since(since) >= after
    }
}
