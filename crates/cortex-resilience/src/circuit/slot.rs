//! Numbers for threads, so that each can write to memory of its own.

/// How many threads can have one; more than that share.
pub(super) const SLOTS: usize = 64;

#[cfg(not(cortex_loom))]
pub(super) use self::leased::own;

/// Under the model checker, all threads are one to the operating system: they share.
#[cfg(cortex_loom)]
pub(super) const fn own() -> Option<usize> {
    None
}

#[cfg(not(cortex_loom))]
mod leased {
    use super::SLOTS;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A bit for each number that a living thread has.
    static TAKEN: AtomicU64 = AtomicU64::new(0);

    thread_local! {
        static OWN: Lease = Lease::take(&TAKEN);
    }

    /// Returns the number of this thread, which no other living thread has; `None` if all are taken or the thread ends.
    #[inline]
    pub(in super::super) fn own() -> Option<usize> {
        OWN.try_with(|lease| lease.slot).ok().flatten()
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
            assert_eq!(own(), own());
            let mine = own();
            let other = std::thread::spawn(own).join().expect("it does not panic");
            assert!(other.is_none() || other != mine);
        }
    }
}
