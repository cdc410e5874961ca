use crate::error::Error;
use crate::quota::Resource;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who uses how many bytes of memory: an instance, of a tenant, of a host.
///
/// A charge is made at a level and at all that are above it, or at none of them. Growth is rare and costs a system
/// call, so the levels of one tree share a lock: no charge is refused for another that is about to be taken back, and
/// the high water is one that was. Reading takes no lock.
#[derive(Debug)]
pub(crate) struct Account {
    /// Changes while the lock is held only.
    parent: Mutex<Option<Arc<Self>>>,
    limit: u64,
    live: AtomicU64,
    high_water: AtomicU64,
    refused: AtomicU64,
    lock: Arc<Mutex<()>>,
}

impl Account {
    /// Begins a tree, with its highest level.
    pub(crate) fn root(limit: u64) -> Arc<Self> {
        Self::new(None, limit, Arc::default())
    }

    /// Adds a level below this one.
    pub(crate) fn child(self: &Arc<Self>, limit: u64) -> Arc<Self> {
        Self::new(Some(Arc::clone(self)), limit, Arc::clone(&self.lock))
    }

    fn new(parent: Option<Arc<Self>>, limit: u64, lock: Arc<Mutex<()>>) -> Arc<Self> {
        Arc::new(Self {
            parent: Mutex::new(parent),
            limit,
            live: AtomicU64::new(0),
            high_water: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            lock,
        })
    }

    /// Adds these bytes to all levels.
    ///
    /// # Errors
    ///
    /// [`Error::Quota`], of the lowest level that hasn't that much left; the refusal is counted at all levels.
    pub(crate) fn charge(&self, bytes: u64) -> Result<(), Error> {
        let _held = self.hold();
        self.charge_levels(bytes)
    }

    /// Takes back bytes that were charged here.
    pub(crate) fn give_back(&self, bytes: u64) {
        let _held = self.hold();
        self.give_back_levels(bytes);
    }

    /// Comes below another level of the same tree, with all that is in use.
    ///
    /// # Errors
    ///
    /// [`Error::Quota`] if that is more than is left there; it stays where it was then.
    pub(crate) fn move_to(&self, parent: &Arc<Self>) -> Result<(), Error> {
        debug_assert!(Arc::ptr_eq(&self.lock, &parent.lock), "it is of another tree");
        let _held = self.hold();
        let before = self.parent();
        if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, parent)) {
            return Ok(());
        }
        // What is above both is given back first, so that nothing counts twice.
        let live = self.live();
        if let Some(before) = &before {
            before.give_back_levels(live);
        }
        if let Err(error) = parent.charge_levels(live) {
            if let Some(before) = &before {
                before.each(|level| level.live.store(level.live() + live, Ordering::Relaxed));
            }
            return Err(error);
        }
        *hold(&self.parent) = Some(Arc::clone(parent));
        Ok(())
    }

    fn charge_levels(&self, bytes: u64) -> Result<(), Error> {
        let mut refusal = None;
        self.each(|level| {
            let asked = level.live().saturating_add(bytes);
            if asked > level.limit && refusal.is_none() {
                refusal = Some((level.limit, asked));
            }
        });
        if let Some((limit, asked)) = refusal {
            self.each(|level| {
                level.refused.fetch_add(1, Ordering::Relaxed);
            });
            return Err(Error::Quota {
                what: Resource::Bytes,
                limit,
                asked,
            });
        }
        self.each(|level| {
            let live = level.live() + bytes;
            level.live.store(live, Ordering::Relaxed);
            level.high_water.fetch_max(live, Ordering::Relaxed);
        });
        Ok(())
    }

    fn give_back_levels(&self, bytes: u64) {
        self.each(|level| {
            let live = level.live();
            debug_assert!(bytes <= live, "more is given back than was charged");
            level.live.store(live.saturating_sub(bytes), Ordering::Relaxed);
        });
    }

    /// Returns how many bytes are in use now.
    pub(crate) fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }

    /// Returns the most bytes that were ever in use at once.
    pub(crate) fn high_water(&self) -> u64 {
        self.high_water.load(Ordering::Relaxed)
    }

    /// Returns how many charges of this level, and of those below, were refused.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Returns how many bytes may be in use.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Goes through this level and all that are above it, while the lock is held.
    fn each(&self, mut look: impl FnMut(&Self)) {
        look(self);
        let mut next = self.parent();
        while let Some(level) = next {
            look(&level);
            next = level.parent();
        }
    }

    fn parent(&self) -> Option<Arc<Self>> {
        hold(&self.parent).clone()
    }

    fn hold(&self) -> MutexGuard<'_, ()> {
        hold(&self.lock)
    }
}

fn hold<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::thread;

    #[test]
    fn the_lowest_level_without_enough_refuses_and_none_is_charged() {
        let host = Account::root(100);
        let tenant = host.child(60);
        let instance = tenant.child(u64::MAX);
        instance.charge(50).unwrap();
        let error = instance.charge(11).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Quota {
                    what: Resource::Bytes,
                    limit: 60,
                    asked: 61
                }
            ),
            "{error:?}"
        );
        assert_eq!((instance.live(), tenant.live(), host.live()), (50, 50, 50));
        assert_eq!((instance.refused(), tenant.refused(), host.refused()), (1, 1, 1));

        let other = host.child(100);
        let error = other.charge(51).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Quota {
                    limit: 100,
                    asked: 101,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!((other.refused(), tenant.refused(), host.refused()), (1, 1, 2));
        other.charge(50).unwrap();
        other.give_back(50);
        assert_eq!(
            (other.live(), other.high_water(), host.live(), host.high_water()),
            (0, 50, 50, 100)
        );
    }

    #[test]
    fn what_moves_is_charged_where_it_comes_to_or_stays() {
        let host = Account::root(100);
        let (tenant, other) = (host.child(60), host.child(30));
        let instance = tenant.child(100);
        instance.charge(40).unwrap();
        let error = instance.move_to(&other).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Quota {
                    limit: 30,
                    asked: 40,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!((tenant.live(), other.live(), host.live()), (40, 0, 40));
        instance.give_back(10);
        instance.move_to(&other).unwrap();
        assert_eq!(
            (tenant.live(), other.live(), host.live(), host.high_water()),
            (0, 30, 30, 40)
        );
        instance.move_to(&other).unwrap();
        instance.give_back(30);
        assert_eq!((instance.live(), other.live(), host.live()), (0, 0, 0));
    }

    #[test]
    fn a_charge_that_overflows_is_refused() {
        let account = Account::root(u64::MAX - 1);
        account.charge(2).unwrap();
        account.charge(u64::MAX).unwrap_err();
        assert_eq!((account.live(), account.limit()), (2, u64::MAX - 1));
    }

    #[test]
    fn totals_are_exact_whoever_charges_at_once() {
        const ROUNDS: u64 = 2_000;
        let host = Account::root(64);
        let tenants = [host.child(40), host.child(40)];
        let held = thread::scope(|scope| {
            let threads: Vec<_> = (0..4_usize)
                .map(|at| {
                    let instance = tenants[at % 2].child(30);
                    scope.spawn(move || {
                        let (mut held, mut refused) = (0, 0);
                        for round in 0..ROUNDS {
                            let bytes = round % 13 + 1;
                            match instance.charge(bytes) {
                                Ok(()) => held += bytes,
                                Err(_) => refused += 1,
                            }
                            assert!(instance.live() == held && held <= 30);
                            if round % 3 == 2 {
                                instance.give_back(held);
                                held = 0;
                            }
                        }
                        assert_eq!(instance.refused(), refused);
                        (at % 2, held, refused)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|it| it.join().unwrap())
                .collect::<Vec<_>>()
        });
        for (at, tenant) in tenants.iter().enumerate() {
            let own = || held.iter().filter(|(of, ..)| *of == at);
            assert_eq!(tenant.live(), own().map(|it| it.1).sum::<u64>());
            assert_eq!(tenant.refused(), own().map(|it| it.2).sum::<u64>());
            assert!(tenant.high_water() <= 40);
        }
        assert_eq!(host.live(), held.iter().map(|it| it.1).sum::<u64>());
        assert!(host.high_water() <= 64);
        assert_eq!(host.refused(), held.iter().map(|it| it.2).sum::<u64>());
    }

    proptest! {
        /// Whatever is charged and given back, each level has the sum of those below it, within its limit.
        #[test]
        fn levels_are_the_sums_of_those_below(
            steps in prop::collection::vec((0_usize..4, 0_u64..50, any::<bool>()), 1..200),
        ) {
            let host = Account::root(120);
            let tenants = [host.child(80), host.child(70)];
            let instances: Vec<_> = (0..4_usize).map(|at| tenants[at % 2].child(45)).collect();
            let mut held = [0_u64; 4];
            let mut high_water = 0;
            let mut refused = 0;
            for (at, bytes, is_charge) in steps {
                if is_charge {
                    let fits = |sum: u64, limit: u64| sum + bytes <= limit;
                    let expected = fits(held[at], 45)
                        && fits(held[at % 2] + held[at % 2 + 2], [80, 70][at % 2])
                        && fits(held.iter().sum(), 120);
                    prop_assert_eq!(instances[at].charge(bytes).is_ok(), expected);
                    if expected {
                        held[at] += bytes;
                    } else {
                        refused += 1;
                    }
                } else {
                    let bytes = bytes.min(held[at]);
                    instances[at].give_back(bytes);
                    held[at] -= bytes;
                }
                high_water = high_water.max(held.iter().sum());
                for (instance, held) in instances.iter().zip(held) {
                    prop_assert_eq!(instance.live(), held);
                }
                prop_assert_eq!(tenants[0].live(), held[0] + held[2]);
                prop_assert_eq!(tenants[1].live(), held[1] + held[3]);
                prop_assert_eq!(host.live(), held.iter().sum::<u64>());
                prop_assert_eq!(host.high_water(), high_water);
                prop_assert_eq!(host.refused(), refused);
            }
        }
    }
}
