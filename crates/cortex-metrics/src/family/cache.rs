//! What each thread remembers of the families it used, so that finding a series takes no lock.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::Mutex;

use super::index::Entry;

/// How many series of one family a thread remembers; then it starts anew.
const CAPACITY: usize = 1024;

thread_local! {
    /// At the place of each family. Borrowed while the user's code runs on what was found, so that this code, when it
    /// uses a family again, takes the long way instead.
    static CACHES: RefCell<Vec<Option<Slot>>> = const { RefCell::new(Vec::new()) };
}

struct Slot {
    owner: u64,
    cache: Box<dyn Any>,
}

struct Cache<K, M> {
    epoch: u64,
    table: HashTable<(K, Arc<Entry<M>>)>,
}

/// Where threads keep what they remember of a family.
#[derive(Debug)]
pub(super) struct Place {
    /// Reused when the family is gone.
    at: usize,
    /// Never reused: tells what a family before left behind.
    owner: u64,
}

#[derive(Debug)]
struct Places {
    free: Vec<usize>,
    /// Who has each place; 0 if nobody does.
    owners: Vec<u64>,
    last: u64,
}

static PLACES: Mutex<Places> = Mutex::new(Places {
    free: Vec::new(),
    owners: Vec::new(),
    last: 0,
});

impl Place {
    pub(super) fn new() -> Self {
        let mut places = PLACES.lock();
        let at = places.free.pop().unwrap_or_else(|| {
            places.owners.push(0);
            places.owners.len() - 1
        });
        places.last += 1;
        let owner = places.last;
        places.owners[at] = owner;
        Self { at, owner }
    }

    /// Runs `f` on a series that this thread remembers and that none was removed since.
    ///
    /// Gives `f` back if there is none.
    #[inline]
    pub(super) fn find<K: 'static, M: 'static, R, F: FnOnce(&M) -> R>(
        &self,
        epoch: u64,
        hash: u64,
        is: impl Fn(&K) -> bool,
        f: F,
    ) -> Result<R, F> {
        let mut f = Some(f);
        let found = CACHES.try_with(|caches| {
            let mut caches = caches.try_borrow_mut().ok()?;
            let cache = self.cache::<K, M>(&mut caches)?;
            if cache.epoch != epoch {
                return None;
            }
            let (_, entry) = cache.table.find(hash, |(key, _)| is(key))?;
            f.take().map(|f| f(&entry.metric))
        });
        match (found, f) {
            (Ok(Some(result)), _) => Ok(result),
            (_, Some(f)) => Err(f),
            (_, None) => unreachable!("`f` is only taken to give a result"),
        }
    }

    /// Remembers a series that was found when the family was in this epoch.
    pub(super) fn remember<K: 'static, M: Send + Sync + 'static>(
        &self,
        epoch: u64,
        hash: u64,
        key: K,
        entry: &Arc<Entry<M>>,
        rehash: impl Fn(&K) -> u64,
    ) {
        // Where a thread ends, or the user's code runs on another series, nothing is remembered.
        let _ = CACHES.try_with(|caches| {
            let Ok(mut caches) = caches.try_borrow_mut() else {
                return;
            };
            if self.cache::<K, M>(&mut caches).is_none() {
                self.make::<K, M>(&mut caches, epoch);
            }
            let Some(cache) = self.cache::<K, M>(&mut caches) else {
                return;
            };
            if cache.epoch < epoch || cache.table.len() >= CAPACITY {
                // What a removal before this epoch left must go, even if it is only one of many.
                cache.table.clear();
                cache.epoch = epoch;
            }
            if cache.epoch == epoch {
                let entry = Arc::clone(entry);
                cache
                    .table
                    .insert_unique(hash, (key, entry), |(key, _)| rehash(key));
            }
        });
    }

    #[inline]
    fn cache<'a, K: 'static, M: 'static>(
        &self,
        caches: &'a mut [Option<Slot>],
    ) -> Option<&'a mut Cache<K, M>> {
        let slot = caches.get_mut(self.at)?.as_mut()?;
        if slot.owner != self.owner {
            return None;
        }
        slot.cache.downcast_mut()
    }

    #[cold]
    fn make<K: 'static, M: Send + Sync + 'static>(&self, caches: &mut Vec<Option<Slot>>, epoch: u64) {
        if caches.len() <= self.at {
            caches.resize_with(self.at + 1, || None);
        }
        // What is remembered of families that are gone is only in the way, and this is done rarely enough to look.
        let mut left = Vec::new();
        {
            let places = PLACES.lock();
            for (slot, owner) in caches.iter_mut().zip(&places.owners) {
                left.extend(slot.take_if(|slot| slot.owner != *owner));
            }
        }
        drop(left); // the user's code, and not under the lock
        let cache: Cache<K, M> = Cache {
            epoch,
            table: HashTable::new(),
        };
        caches[self.at] = Some(Slot {
            owner: self.owner,
            cache: Box::new(cache),
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut places = PLACES.lock();
        places.owners[self.at] = 0;
        places.free.push(self.at);
    }
}
