//! What each thread remembers of the families it used, so that finding a series takes no lock.

#![expect(
    unsafe_code,
    reason = "asking a cache for its type takes as long as finding a series in it"
)]

use std::any::Any;
use std::cell::RefCell;
use std::marker::PhantomData;

use parking_lot::Mutex;

use super::bitwise::Bitwise;
use super::keyed::Keyed;
use super::lookup::Probe;
use super::memory::Memory;

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
    memory: Memory<K, M>,
}

/// Where threads keep what they remember of a family of these keys and metrics.
pub(super) struct Place<K, M> {
    /// Reused when the family is gone.
    at: usize,
    /// Never reused: tells what a family before left behind.
    owner: u64,
    family: PhantomData<Exactly<(K, M)>>,
}

/// Invariant: a place is never that of another type, not even of one with other lifetimes.
type Exactly<T> = fn(T) -> T;

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

impl<K: 'static, M: Bitwise + Send + Sync + 'static> Place<K, M> {
    pub(super) fn new() -> Self {
        let mut places = PLACES.lock();
        let at = places.free.pop().unwrap_or_else(|| {
            places.owners.push(0);
            places.owners.len() - 1
        });
        places.last += 1;
        let owner = places.last;
        places.owners[at] = owner;
        let family = PhantomData;
        Self { at, owner, family }
    }

    /// Runs `f` on a series that this thread remembers and that none was removed since.
    ///
    /// Gives `f` back if there is none.
    #[inline]
    pub(super) fn find<Q: Probe<K>, R, F: FnOnce(&M) -> R>(
        &self,
        epoch: u64,
        lookup: &Q,
        f: F,
    ) -> Result<R, F> {
        let mut f = Some(f);
        let found = CACHES.try_with(|caches| {
            let mut caches = caches.try_borrow_mut().ok()?;
            let cache = self.cache(&mut caches)?;
            if cache.epoch != epoch {
                return None;
            }
            let metric = cache.memory.find(lookup)?;
            f.take().map(|f| f(metric))
        });
        match (found, f) {
            (Ok(Some(result)), _) => Ok(result),
            (_, Some(f)) => Err(f),
            (_, None) => unreachable!("`f` is only taken to give a result"),
        }
    }

    /// Forgets what this thread remembers from before this epoch: it is of no use, and keeps in memory what was
    /// removed.
    pub(super) fn refresh(&self, epoch: u64) {
        let old = CACHES.try_with(|caches| {
            let mut caches = caches.try_borrow_mut().ok()?;
            let cache = self.cache(&mut caches)?;
            (cache.epoch < epoch).then(|| {
                cache.epoch = epoch;
                std::mem::replace(&mut cache.memory, Memory::new())
            })
        });
        drop(old); // the user's code, while nothing is borrowed
    }

    /// Remembers a series that was found when the family was in this epoch.
    pub(super) fn remember(&self, epoch: u64, found: Keyed<K, M>) {
        // Where a thread ends, or the user's code runs on another series, nothing is remembered.
        let _ = CACHES.try_with(|caches| {
            let Ok(mut caches) = caches.try_borrow_mut() else {
                return;
            };
            if self.cache(&mut caches).is_none() {
                self.make(&mut caches, epoch);
            }
            let Some(cache) = self.cache(&mut caches) else {
                return;
            };
            if cache.epoch < epoch {
                // What a removal before this epoch left must go, even if it is only one of many.
                cache.memory = Memory::new();
                cache.epoch = epoch;
            }
            if cache.epoch == epoch {
                cache.memory.insert(found);
            }
        });
    }

    #[inline]
    fn cache<'a>(&self, caches: &'a mut [Option<Slot>]) -> Option<&'a mut Cache<K, M>> {
        let slot = caches.get_mut(self.at)?.as_mut()?;
        if slot.owner != self.owner {
            return None;
        }
        debug_assert!(slot.cache.is::<Cache<K, M>>(), "one family, one type");
        let cache: *mut dyn Any = &raw mut *slot.cache;
        #[expect(
            clippy::cast_ptr_alignment,
            reason = "the pointer came from a box of that type"
        )]
        let cache = cache.cast::<Cache<K, M>>();
        // SAFETY: an owner's number is given once, to a place, whose type says of which type its caches are: `make` put
        // one of that type here. It lives as long as it is borrowed, and alone, because `caches` is.
        Some(unsafe { &mut *cache })
    }

    #[cold]
    fn make(&self, caches: &mut Vec<Option<Slot>>, epoch: u64) {
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
            memory: Memory::new(),
        };
        caches[self.at] = Some(Slot {
            owner: self.owner,
            cache: Box::new(cache),
        });
    }
}

impl<K, M> Drop for Place<K, M> {
    fn drop(&mut self) {
        let mut places = PLACES.lock();
        places.owners[self.at] = 0;
        places.free.push(self.at);
    }
}
