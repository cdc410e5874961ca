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

/// Cells to add to.
#[derive(Clone, Copy)]
pub(super) enum Cells<'a> {
    /// No other thread writes to these.
    Own(&'a [AtomicU64]),
    /// Others may.
    Shared(&'a [AtomicU64]),
}

impl Cells<'_> {
    #[inline]
    pub(super) fn add(self, index: usize, n: u64) {
        match self {
            // Not lost between load and store, because nobody else stores.
            Self::Own(cells) => {
                let cell = &cells[index];
                cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
            }
            Self::Shared(cells) => {
                cells[index].fetch_add(n, Ordering::Relaxed);
            }
        }
    }

    /// Adds to a float; whoever reads the sum then also reads what was added before, see `Block::record`.
    #[inline]
    pub(super) fn add_float(self, index: usize, n: f64) {
        match self {
            Self::Own(cells) => {
                let cell = &cells[index];
                let sum = f64::from_bits(cell.load(Ordering::Relaxed)) + n;
                cell.store(sum.to_bits(), Ordering::Release);
            }
            Self::Shared(cells) => add_float(&cells[index], n),
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
