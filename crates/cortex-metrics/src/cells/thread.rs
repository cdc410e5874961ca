#![expect(
    unsafe_code,
    reason = "the slab of the thread is found by pointer, without a destructor in the way"
)]

use std::cell::{Cell, RefCell};

use super::arena::At;
use super::pool::{Lease, Pool, add_float};
use super::slab::Slab;
use super::sync::{AtomicU64, Ordering};

/// The one pool of the process.
#[cfg(not(cortex_loom))]
pub(super) static POOL: Pool = Pool::new();
#[cfg(cortex_loom)]
pub(super) static POOL: std::sync::LazyLock<Pool> = std::sync::LazyLock::new(Pool::new);

/// After so many writes to the slab of all, a thread asks again for one of its own.
pub(super) const PATIENCE: u32 = 1024;

/// The slab of a thread that has none: there are no chunks in it, so whoever looks for a cell there finds none, which
/// is asked anyway.
#[cfg(not(cortex_loom))]
static NONE: Slab = Slab::new();

#[cfg(not(cortex_loom))]
const NO_SLAB: *const Slab = &raw const NONE;
#[cfg(cortex_loom)]
const NO_SLAB: *const Slab = std::ptr::null();

thread_local! {
    /// The slab that this thread leases, or `NO_SLAB`. It has no destructor, so it can be read at any time and costs
    /// one load.
    static SLAB: Cell<*const Slab> = const { Cell::new(NO_SLAB) };
    /// Owns the lease; its destructor returns it.
    static TENANT: RefCell<Tenant> = const { RefCell::new(Tenant { lease: None, patience: 0 }) };
}

struct Tenant {
    lease: Option<Lease<'static>>,
    patience: u32,
}

impl Drop for Tenant {
    fn drop(&mut self) {
        // First of all: destructors of other thread-locals that run later must not write to a slab that somebody else
        // may lease by then.
        SLAB.set(NO_SLAB);
    }
}

/// Something to add to: cells, or one of them.
#[derive(Clone, Copy)]
pub(super) enum Whose<T> {
    /// No other thread writes to it.
    Own(T),
    /// Others may.
    Shared(T),
}

pub(super) type Cells<'a> = Whose<&'a [AtomicU64]>;

impl<'a> Cells<'a> {
    #[inline]
    pub(super) fn one(self, index: usize) -> Whose<&'a AtomicU64> {
        match self {
            Self::Own(cells) => Whose::Own(&cells[index]),
            Self::Shared(cells) => Whose::Shared(&cells[index]),
        }
    }

    #[inline]
    pub(super) fn add(self, index: usize, n: u64) {
        self.one(index).add(n);
    }

    #[inline]
    pub(super) fn add_float(self, index: usize, n: f64) {
        self.one(index).add_float(n);
    }

    /// See [`Block::record`](super::block::Block::record).
    #[inline]
    pub(super) fn record(self, count: usize, value: f64) {
        let (Self::Own(cells) | Self::Shared(cells)) = self;
        self.one(count).add(1);
        self.one(cells.len() - 1).add_float(value);
    }
}

impl Whose<&AtomicU64> {
    #[inline]
    pub(super) fn add(self, n: u64) {
        match self {
            // Not lost between load and store, because nobody else stores.
            Self::Own(cell) => {
                cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
            }
            Self::Shared(cell) => {
                cell.fetch_add(n, Ordering::Relaxed);
            }
        }
    }

    /// Adds to a float; whoever reads the sum then also reads what was added before, see `Block::record`.
    #[inline]
    pub(super) fn add_float(self, n: f64) {
        match self {
            Self::Own(cell) => {
                let sum = f64::from_bits(cell.load(Ordering::Relaxed)) + n;
                cell.store(sum.to_bits(), Ordering::Release);
            }
            Self::Shared(cell) => add_float(cell, n),
        }
    }
}

/// Gives `write` the slab of this thread, if it has one in which there are such cells; else returns no.
///
/// The slab is lent for so long only: when the thread ends, somebody else may get it.
#[inline]
pub(super) fn with_own<T>(find: impl FnOnce(&Slab) -> Option<&T>, write: impl FnOnce(Whose<&T>)) -> bool
where
    T: ?Sized,
{
    // SAFETY: `find` and `write` are functions of this module's siblings, which neither end the thread nor keep what
    // they are lent beyond it.
    let slab = unsafe { own() };
    match slab.and_then(find) {
        Some(cells) => {
            write(Whose::Own(cells));
            true
        }
        None => false,
    }
}

/// Returns the slab that this thread leases, or one without chunks.
///
/// # Safety
///
/// The slab, and cells in it, may be used by this thread only, and only until its `TENANT` is dropped: then the memory
/// of the cells is somebody else's, or freed by `Pool::reclaim`.
#[cfg(not(cortex_loom))]
#[expect(clippy::unnecessary_wraps, reason = "the model has none without chunks")]
#[inline]
unsafe fn own<'a>() -> Option<&'a Slab> {
    // SAFETY: it is `NONE` or the slab that this thread leases; slabs of the static pool, unlike their cells, are never
    // freed.
    Some(unsafe { &*SLAB.get() })
}

/// Returns the slab that this thread leases.
///
/// # Safety
///
/// As above.
#[cfg(cortex_loom)]
unsafe fn own<'a>() -> Option<&'a Slab> {
    // SAFETY: not null means that this thread leases the slab; those of the static pool are never freed.
    unsafe { SLAB.get().as_ref() }
}

/// Gives `write` cells that this thread may write to, and makes them if need be.
///
/// They are lent for so long only, see [`with_own`].
pub(super) fn with_any(at: At, write: impl FnOnce(Cells<'_>)) {
    let leases = TENANT.try_with(|tenant| tenant.try_borrow_mut().is_ok_and(|mut tenant| tenant.leases()));
    if leases == Ok(true) {
        // SAFETY: as in `with_own`; the lease is there, because the thread's destructors have not come to it yet.
        let slab = unsafe { own() };
        if let Some(slab) = slab {
            return write(Cells::Own(slab.get_or_make(at)));
        }
    }
    // No slab is free, or the thread is ending.
    write(Cells::Shared(POOL.shared().get_or_make(at)));
}

#[cfg(all(test, not(cortex_loom)))]
/// Whether this thread has a slab of its own.
pub(super) fn has_own() -> bool {
    SLAB.get() != NO_SLAB
}

impl Tenant {
    /// Says whether `SLAB` is a slab that this thread leases, from now on if need be.
    fn leases(&mut self) -> bool {
        if self.lease.is_none() {
            self.patience = self.patience.checked_sub(1).unwrap_or(PATIENCE);
            if self.patience < PATIENCE {
                return false;
            }
            self.lease = POOL.lease();
        }
        if let Some(lease) = &self.lease {
            SLAB.set(lease.slab());
        }
        self.lease.is_some()
    }
}
