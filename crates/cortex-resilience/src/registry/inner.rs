use super::entry::Entry;
use crate::event::Event;
use crate::observer::Observer;
use crate::rejected::{Reason, Rejected};
use crate::time;
use cortex_core::Clock;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub(super) type Make<K, P> = Box<dyn Fn(&K) -> P + Send + Sync>;
pub(super) type Asks<P> = Box<dyn Fn(&P) -> bool + Send + Sync>;
pub(super) type Tells<P> = Box<dyn Fn(&P) + Send + Sync>;

pub(super) struct Inner<K, P, O, C> {
    shards: [Shard<K, P>; SHARDS],
    hasher: RandomState,
    /// How many places are taken, in all of the shards.
    pub(super) len: AtomicUsize,
    pub(super) capacity: usize,
    idle: u64,
    make: Make<K, P>,
    keep: Asks<P>,
    settle: Tells<P>,
    pub(super) shared: Option<P>,
    clock: C,
    origin: Instant,
    observer: O,
    name: Box<str>,
}

const SHARDS: usize = 16;

/// A part of the keys, on cache lines of its own.
#[repr(align(128))]
struct Shard<K, P> {
    map: Mutex<Map<K, P>>,
    /// Before then nothing has expired here, or it was looked at a moment ago. Written under the lock.
    next: AtomicU64,
}

type Map<K, P> = HashMap<K, Entry<P>, RandomState>;

/// What a registry is made of, beside its observer and clock.
pub(super) struct Parts<K, P> {
    pub(super) name: Box<str>,
    pub(super) capacity: usize,
    pub(super) idle: Duration,
    pub(super) make: Make<K, P>,
    pub(super) keep: Asks<P>,
    pub(super) settle: Tells<P>,
    pub(super) shared: Option<P>,
}

impl<K: Eq + Hash, P, O: Observer, C: Clock> Inner<K, P, O, C> {
    pub(super) fn new(parts: Parts<K, P>, observer: O, clock: C) -> Self {
        let hasher = RandomState::new();
        Self {
            shards: std::array::from_fn(|_| Shard {
                map: Mutex::new(HashMap::with_hasher(hasher.clone())),
                next: AtomicU64::new(u64::MAX),
            }),
            hasher,
            len: AtomicUsize::new(0),
            capacity: parts.capacity,
            idle: time::nanos(parts.idle),
            make: parts.make,
            keep: parts.keep,
            settle: parts.settle,
            shared: parts.shared,
            origin: clock.now(),
            clock,
            observer,
            name: parts.name,
        }
    }

    pub(super) fn now(&self) -> u64 {
        time::since(self.origin, &self.clock)
    }

    /// Returns the policy of a key, or the overflow.
    pub(super) fn get<Q>(&self, key: &Q) -> Result<P, Rejected>
    where
        P: Clone,
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let home = self.home(key);
        let now = self.now();
        let cell = loop {
            let mut map = self.shards[home].lock();
            if let Some(entry) = map.get_mut(key) {
                let expired = entry.has_expired(now, self.idle, &self.keep);
                match entry.cell.get() {
                    Some(policy) if !expired => {
                        entry.last = entry.last.max(now);
                        return Ok(policy.clone());
                    }
                    Some(_) => {
                        let old = std::mem::replace(entry, Entry::new(now));
                        let cell = Arc::clone(&entry.cell);
                        drop(map);
                        drop(old); // it may be anything: not under the lock
                        break cell;
                    }
                    None => {
                        entry.last = entry.last.max(now);
                        break Arc::clone(&entry.cell);
                    }
                }
            }
            if self.reserve() {
                let entry = Entry::new(now);
                let cell = Arc::clone(&entry.cell);
                map.insert(key.to_owned(), entry);
                self.shards[home].look_at(now.saturating_add(self.idle));
                break cell;
            }
            drop(map);
            if !self.make_room(home, now) {
                return self.overflow();
            }
        };
        Ok(self.made(&cell, home, key).clone())
    }

    #[cold]
    fn made<'a, Q>(&self, cell: &'a OnceLock<P>, home: usize, key: &Q) -> &'a P
    where
        Q: ToOwned<Owned = K> + ?Sized,
    {
        let unmade = Unmade(&self.shards[home]);
        let policy = cell.get_or_init(|| (self.make)(&key.to_owned()));
        unmade.disarm();
        policy
    }

    #[cold]
    fn overflow(&self) -> Result<P, Rejected>
    where
        P: Clone,
    {
        if let Some(shared) = &self.shared {
            self.tell(&Event::KeyOverflow);
            return Ok(shared.clone());
        }
        let rejected = Rejected::new(Reason::TooManyKeys, None);
        self.tell(&Event::Rejected(rejected));
        Err(rejected)
    }

    pub(super) fn peek<Q>(&self, key: &Q) -> Option<P>
    where
        P: Clone,
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let now = self.now();
        let map = self.shards[self.home(key)].lock();
        let entry = map.get(key)?;
        let is_there = !entry.has_expired(now, self.idle, &self.keep);
        entry.cell.get().filter(|_| is_there).cloned()
    }

    pub(super) fn remove<Q>(&self, key: &Q) -> Option<P>
    where
        P: Clone,
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let gone = self.shards[self.home(key)].lock().remove_entry(key);
        let (_key, entry) = gone?;
        self.len.fetch_sub(1, Ordering::Relaxed);
        entry.cell.get().cloned()
    }

    pub(super) fn list(&self) -> Vec<(K, P)>
    where
        K: Clone,
        P: Clone,
    {
        let now = self.now();
        let mut all = Vec::new();
        for shard in &self.shards {
            let map = shard.lock();
            all.extend(map.iter().filter_map(|(key, entry)| {
                let is_there = !entry.has_expired(now, self.idle, &self.keep);
                let policy = entry.cell.get().filter(|_| is_there)?;
                Some((key.clone(), policy.clone()))
            }));
        }
        all
    }

    /// Lets all go that may, and returns how many.
    pub(super) fn sweep(&self) -> usize {
        let now = self.now();
        self.shards.iter().map(|shard| self.sweep_shard(shard, now)).sum()
    }

    /// Lets some go where the time for it has come, beginning at home.
    #[cold]
    fn make_room(&self, home: usize, now: u64) -> bool {
        (0..SHARDS).any(|step| {
            let shard = &self.shards[(home + step) % SHARDS];
            shard.next.load(Ordering::Relaxed) <= now && self.sweep_shard(shard, now) > 0
        })
    }

    fn sweep_shard(&self, shard: &Shard<K, P>, now: u64) -> usize {
        // What is kept though it is idle is asked again after a while, so that many of them cost a full registry little.
        let again = now.saturating_add((self.idle / 16).max(1));
        let mut next = u64::MAX;
        let mut kept = Vec::new();
        let mut map = shard.lock();
        let gone: Vec<_> = map
            .extract_if(|_, entry| {
                let expired = entry.has_expired(now, self.idle, &self.keep);
                if !expired {
                    let due = entry.last.saturating_add(self.idle);
                    next = next.min(if due > now { due } else { again });
                    if due <= now {
                        kept.push(Arc::clone(&entry.cell));
                    }
                }
                expired
            })
            .collect();
        shard.next.store(next, Ordering::Relaxed);
        drop(map);
        self.len.fetch_sub(gone.len(), Ordering::Relaxed);
        for policy in kept.iter().filter_map(|cell| cell.get()) {
            (self.settle)(policy);
        }
        gone.len() // they are dropped here, not under the lock
    }

    /// Takes a place, if there is one.
    fn reserve(&self) -> bool {
        let more = |len: usize| (len < self.capacity).then_some(len + 1);
        self.len
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    fn home<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // The low bits choose the bucket of the map, and the high ones are its tags.
        (self.hasher.hash_one(key) >> 32) as usize % SHARDS
    }

    fn tell(&self, event: &Event) {
        self.observer.on_event(&self.name, event);
    }
}

impl<K, P, O, C> Inner<K, P, O, C> {
    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl<K, P> Shard<K, P> {
    /// What is under it is whole wherever somebody else's code could panic.
    fn lock(&self) -> MutexGuard<'_, Map<K, P>> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has it looked at then, if not before; the caller holds the lock.
    fn look_at(&self, then: u64) {
        let next = self.next.load(Ordering::Relaxed).min(then);
        self.next.store(next, Ordering::Relaxed);
    }
}

/// Has a part of the keys looked at if making a policy for one of them panics: its place is free.
struct Unmade<'a, K, P>(&'a Shard<K, P>);

impl<K, P> Unmade<'_, K, P> {
    #[expect(clippy::mem_forget, reason = "it owns nothing")]
    const fn disarm(self) {
        std::mem::forget(self);
    }
}

impl<K, P> Drop for Unmade<'_, K, P> {
    fn drop(&mut self) {
        let _map = self.0.lock();
        self.0.next.store(0, Ordering::Relaxed);
    }
}
