//! Numbers for threads, so that each can write to memory of its own.

use std::sync::OnceLock;

/// How many threads can have one; more than that share.
pub(crate) const SLOTS: usize = 64;

/// What a thread has that has no number, or has not asked for one yet.
pub(crate) const NONE: usize = usize::MAX;

#[cfg(not(cortex_loom))]
pub(crate) use self::leased::{lease, own};

/// Returns for how many threads it is worth while to have memory of their own.
pub(crate) fn threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    *THREADS.get_or_init(|| {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        (2 * processors).min(SLOTS)
    })
}

/// Under the model checker, all threads are one to the operating system: they share.
#[cfg(cortex_loom)]
pub(crate) const fn own() -> usize {
    NONE
}

#[cfg(cortex_loom)]
pub(crate) const fn lease() -> usize {
    NONE
}

#[cfg(not(cortex_loom))]
mod leased {
    use super::{NONE, SLOTS};
    use std::cell::Cell;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A bit for each number that a living thread has.
    static TAKEN: AtomicU64 = AtomicU64::new(0);

    thread_local! {
        /// What is leased, where it is read without asking whether it is there.
        static OWN: Cell<usize> = const { Cell::new(NONE) };
        static LEASE: Lease = Lease::take(&TAKEN);
    }

    /// Returns the number of this thread, which no other living thread has; [`NONE`] before the first [`lease`].
    #[inline]
    pub(crate) fn own() -> usize {
        OWN.get()
    }

    /// Takes a number for this thread unless it has one; [`NONE`] if all are taken or the thread ends.
    #[cold]
    pub(crate) fn lease() -> usize {
        let slot = LEASE.try_with(|lease| lease.slot).ok().flatten();
        OWN.set(slot.unwrap_or(NONE));
        OWN.get()
    }

    struct Lease {
        taken: &'static AtomicU64,
        slot: Option<usize>,
    }

    impl Lease {
        /// Takes the lowest number that is free. What its last owner wrote happened before.
        fn take(taken: &'static AtomicU64) -> Self {
            let lowest = |seen: u64| seen.trailing_ones() as usize;
            let slot = taken
                .try_update(Ordering::Acquire, Ordering::Relaxed, |seen| {
                    (lowest(seen) < SLOTS).then(|| seen | 1 << lowest(seen))
                })
                .map(lowest)
                .ok();
            Self { taken, slot }
        }
    }

    impl Drop for Lease {
        fn drop(&mut self) {
            if let Some(slot) = self.slot {
                OWN.set(NONE); // what ends after this writes to what is shared
                self.taken.fetch_and(!(1 << slot), Ordering::Release);
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_lowest_free_number_is_leased_and_the_last_one_is_not_shared() {
            static OTHER: AtomicU64 = AtomicU64::new(0);
            let mut leases: Vec<_> = (0..SLOTS).map(|_| Lease::take(&OTHER)).collect();
            assert!((0..SLOTS).all(|slot| leases[slot].slot == Some(slot)));
            assert_eq!(Lease::take(&OTHER).slot, None);
            leases.remove(5);
            assert_eq!(Lease::take(&OTHER).slot, Some(5));
        }

        #[test]
        fn a_thread_keeps_its_number() {
            let mine = lease();
            assert_eq!((own(), lease()), (mine, mine));
            let other = std::thread::spawn(|| (own(), lease(), own()))
                .join()
                .expect("it does not panic");
            assert_eq!((other.0, other.1), (NONE, other.2));
            assert!(other.1 == NONE || other.1 != mine);
        }
    }
}
