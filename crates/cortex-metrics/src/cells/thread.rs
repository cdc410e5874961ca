#![expect(
    unsafe_code,
    reason = "the slab of the thread is found by pointer, without a destructor in the way"
)]

use std::cell::{Cell, RefCell};
use std::ptr;

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
const PATIENCE: u32 = 1024;

thread_local! {
    /// The slab that this thread leases, or null. It has no destructor, so it can be read at any time and costs one
    /// load.
    static SLAB: Cell<*const Slab> = const { Cell::new(ptr::null()) };
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
        SLAB.set(ptr::null());
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
    fn one(self, index: usize) -> Whose<&'a AtomicU64> {
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

/// Runs `write` on the cells of this thread.
///
/// The cells are lent for so long only: when the thread ends, somebody else may get them.
#[inline]
pub(super) fn with(at: At, write: impl FnOnce(Cells<'_>)) {
    let slab = SLAB.get();
    // SAFETY: not null means that this thread leases the slab; slabs of the static pool are never freed.
    if let Some(cells) = unsafe { slab.as_ref() }.and_then(|slab| slab.get(at)) {
        write(Cells::Own(cells));
    } else {
        // By value: if `write` were handed over, what it adds would have to go through memory on the way above, too.
        write(prepare(at));
    }
}

/// Runs `write` on the first of the cells of this thread, as [`with`] does on all of them.
#[inline]
pub(super) fn with_first(at: At, write: impl FnOnce(Whose<&AtomicU64>)) {
    let slab = SLAB.get();
    // SAFETY: as in `with`.
    if let Some(cell) = unsafe { slab.as_ref() }.and_then(|slab| slab.first(at)) {
        write(Whose::Own(cell));
    } else {
        write(prepare(at).one(0));
    }
}

#[cold]
#[inline(never)]
fn prepare(at: At) -> Cells<'static> {
    let leased = TENANT.try_with(|tenant| tenant.try_borrow_mut().ok().and_then(|mut tenant| tenant.slab()));
    if let Ok(Some(slab)) = leased {
        SLAB.set(slab);
        return Cells::Own(slab.get_or_make(at));
    }
    // No slab is free, or the thread is ending.
    Cells::Shared(POOL.shared().get_or_make(at))
}

impl Tenant {
    fn slab(&mut self) -> Option<&'static Slab> {
        if self.lease.is_none() {
            self.patience = self.patience.checked_sub(1).unwrap_or(PATIENCE);
            if self.patience < PATIENCE {
                return None;
            }
            self.lease = POOL.lease();
        }
        self.lease.as_ref().map(Lease::slab)
    }
}
