#![expect(
    unsafe_code,
    reason = "slabs are shared by pointer and never freed while the pool lives"
)]

use std::collections::BTreeSet;
use std::{fmt, ptr};

use super::arena::{Arena, At, Shape};
use super::slab::Slab;
use super::sync::{AtomicPtr, AtomicU64, AtomicUsize, Mutex, MutexGuard, Ordering, lock};

/// How many threads may have a slab of their own at the same time. Those beyond share one, with locked additions.
pub(super) const SLOTS: usize = if cfg!(cortex_loom) { 2 } else { 1024 };

/// The slabs, who has them, and which places in them are taken.
///
/// Locks are taken in this order: `readers`, `slots`, `arena`.
pub(super) struct Pool {
    /// Null, or a slab that lives as long as the pool.
    slabs: [AtomicPtr<Slab>; SLOTS],
    /// How many slabs there are: `slabs[..made]` are not null.
    made: AtomicUsize,
    /// Those of `made` that nobody leases.
    slots: Mutex<BTreeSet<usize>>,
    /// Where threads write that have no slab: never leased, so no cell has both plain stores and locked additions.
    shared: Slab,
    /// Held by whoever sums cells. It orders scrapes, so that a counter never goes backwards from one to the next, and
    /// keeps cells from being moved meanwhile. It has the slabs that are in use, to be visited for each number.
    readers: Mutex<Vec<usize>>,
    arena: Mutex<Option<Arena>>,
}

/// A slab that one thread has to itself, until this is dropped.
///
/// What was counted stays in the slab; the next tenant adds to it.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    slot: usize,
}

impl Pool {
    #[cfg(not(cortex_loom))]
    pub(super) const fn new() -> Self {
        Self {
            slabs: [const { AtomicPtr::new(ptr::null_mut()) }; SLOTS],
            made: AtomicUsize::new(0),
            slots: Mutex::new(BTreeSet::new()),
            shared: Slab::new(),
            readers: Mutex::new(Vec::new()),
            arena: Mutex::new(None),
        }
    }

    #[cfg(cortex_loom)]
    pub(super) fn new() -> Self {
        Self {
            slabs: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            made: AtomicUsize::new(0),
            slots: Mutex::new(BTreeSet::new()),
            shared: Slab::new(),
            readers: Mutex::new(Vec::new()),
            arena: Mutex::new(None),
        }
    }

    /// Leases the slab with the lowest number that is free; nothing if all are taken.
    pub(super) fn lease(&self) -> Option<Lease<'_>> {
        // The lock hands over the last stores of the tenant before.
        let mut slots = lock(&self.slots);
        let slot = if let Some(slot) = slots.pop_first() {
            slot
        } else {
            let slot = self.made.load(Ordering::Relaxed);
            let place = self.slabs.get(slot)?;
            place.store(Box::into_raw(Box::new(Slab::new())), Ordering::Release);
            self.made.store(slot + 1, Ordering::Release);
            slot
        };
        Some(Lease { pool: self, slot })
    }

    /// Returns the slab of those that have none.
    pub(super) fn shared(&self) -> &Slab {
        &self.shared
    }

    /// Returns a place whose cells are zero in every slab.
    pub(super) fn take(&self, shape: Shape) -> At {
        let returned = self.with_arena(|arena| std::mem::take(&mut arena.returned));
        if !returned.is_empty() {
            // Whoever returned these was the last to have them: nobody writes there.
            let readers = self.read();
            for (_, at) in &returned {
                for slab in readers.slabs() {
                    for cell in slab.get(at).unwrap_or_default() {
                        cell.store(0, Ordering::Relaxed);
                    }
                }
            }
        }
        self.with_arena(|arena| {
            for (shape, at) in returned {
                arena.give(shape, at);
            }
            arena.take(shape)
        })
    }

    /// Takes back a place that nobody will write to any more.
    pub(super) fn give_back(&self, shape: Shape, at: At) {
        // It is cleared by the next who takes one: this may run while the readers' lock is held.
        self.with_arena(|arena| arena.returned.push((shape, at)));
    }

    /// Keeps everything where it is, to sum cells.
    pub(super) fn read(&self) -> Readers<'_> {
        let mut used = lock(&self.readers);
        used.clear();
        let made = self.made.load(Ordering::Acquire);
        used.extend((0..made).filter(|slot| self.slab(*slot).has_chunks()));
        Readers { pool: self, used }
    }

    /// Moves what threads have counted that are gone to the slab of all, and frees their memory, so that the price of
    /// a scrape follows the threads that live.
    pub(super) fn reclaim(&self) {
        let idle: Vec<usize> = lock(&self.slots).iter().copied().collect();
        for slot in idle {
            if !self.slab(slot).has_chunks() || !lock(&self.slots).remove(&slot) {
                continue;
            }
            let lease = Lease { pool: self, slot };
            let _readers = self.read();
            self.with_arena(|arena| {
                let absorb = |chunk, offset, value| self.absorb(arena, chunk, offset, value);
                // SAFETY: the slab is leased by us, and readers wait.
                unsafe { lease.slab().clear(absorb) };
            });
        }
    }

    fn absorb(&self, arena: &Arena, chunk: usize, offset: usize, value: u64) {
        let cell = &self.shared.get_or_make(At::one(chunk, offset))[0];
        if arena.is_float(chunk, offset) {
            add_float(cell, f64::from_bits(value));
        } else {
            cell.fetch_add(value, Ordering::Relaxed);
        }
    }

    fn with_arena<R>(&self, f: impl FnOnce(&mut Arena) -> R) -> R {
        f(lock(&self.arena).get_or_insert_default())
    }

    fn slab(&self, slot: usize) -> &Slab {
        let slab = self.slabs[slot].load(Ordering::Acquire);
        // SAFETY: `slot` is below `made`, so it is not null, and slabs are freed only by `drop`.
        unsafe { &*slab }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for slab in &self.slabs {
            let slab = slab.load(Ordering::Acquire);
            if !slab.is_null() {
                // SAFETY: it came from `Box::into_raw`, and leases, which borrow the pool, are gone.
                drop(unsafe { Box::from_raw(slab) });
            }
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("made", &self.made.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

impl Lease<'_> {
    /// Returns the slab; what is borrowed from it ends with the lease.
    pub(super) fn slab(&self) -> &Slab {
        self.pool.slab(self.slot)
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        lock(&self.pool.slots).insert(self.slot);
    }
}

/// The right to sum cells.
#[derive(Debug)]
pub(super) struct Readers<'a> {
    pool: &'a Pool,
    used: MutexGuard<'a, Vec<usize>>,
}

impl Readers<'_> {
    /// Returns the slabs that were in use when this began, always in the same order: a float's sum depends on it.
    pub(super) fn slabs(&self) -> impl Iterator<Item = &Slab> {
        let used = self.used.iter().map(|slot| self.pool.slab(*slot));
        used.chain([&self.pool.shared])
    }
}

/// Adds to a float that others may add to as well.
pub(super) fn add_float(cell: &AtomicU64, n: f64) {
    let mut old = cell.load(Ordering::Relaxed);
    loop {
        let new = (f64::from_bits(old) + n).to_bits();
        // Release: see `Block::record`.
        match cell.compare_exchange_weak(old, new, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(seen) => old = seen,
        }
    }
}
