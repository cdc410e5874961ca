use super::quota::Quota;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The buckets of many clients, in memory of a fixed size.
///
/// A client's bucket lives in one of many small sets, chosen by the hash of its key; the hash stands for the key, so that
/// a long key takes no more room than a short one. In a full set a bucket that has filled up again makes room: it says
/// nothing any more. If all of them are in use, the client shares the set's last bucket with others that found no room.
///
/// So nobody's bucket is ever emptied or refilled by what others do: who comes with ever new keys gets, once the sets
/// are full, less than a bucket for each, and those who were there before notice nothing. Which set a key is in depends
/// on the hash: take one with secret random numbers.
///
/// # Examples
///
/// ```
/// use cortex_resilience::rate_limit::{Quota, QuotaTable};
/// use std::hash::{BuildHasher, RandomState};
/// use std::num::NonZero;
/// use std::time::Duration;
///
/// let (table, random) = (QuotaTable::new(1000), RandomState::new());
/// let quota = Quota::new(NonZero::<u32>::MIN, Duration::from_secs(1)); // one a second
/// let key = random.hash_one("192.0.2.1");
/// assert_eq!(table.take(quota, key, 0), Ok(()));
/// assert_eq!(table.take(quota, key, 0), Err(Duration::from_secs(1)));
/// ```
pub struct QuotaTable {
    sets: Box<[Mutex<Set>]>,
}

impl fmt::Debug for QuotaTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuotaTable")
            .field("clients", &(self.sets.len() * WAYS))
            .finish_non_exhaustive()
    }
}

/// How many clients a set has room for; looking through it reads four cache lines.
const WAYS: usize = 15;

#[derive(Debug)]
struct Set {
    /// The hash of a key, and when its bucket is full again. The key of one that is full counts no more.
    own: [(u64, u64); WAYS],
    shared: u64,
}

impl QuotaTable {
    /// Makes room for about so many clients at once: sets are half full then, and hardly ever overflow.
    ///
    /// # Panics
    ///
    /// There is no memory for so many.
    pub fn new(clients: usize) -> Self {
        Self::try_new(clients).expect("there is memory for so many clients")
    }

    /// Makes room, if there is memory for it.
    pub(super) fn try_new(clients: usize) -> Option<Self> {
        let number = clients.div_ceil(WAYS / 2).max(1);
        let set = || {
            Mutex::new(Set {
                own: [(0, 0); WAYS],
                shared: 0,
            })
        };
        let mut sets = Vec::new();
        sets.try_reserve_exact(number).ok()?;
        sets.extend(std::iter::repeat_with(set).take(number));
        Some(Self {
            sets: sets.into_boxed_slice(),
        })
    }

    /// Takes a token of this client's bucket at `now`, in nanoseconds since an origin of your choice.
    ///
    /// # Errors
    ///
    /// There is none, for so long.
    #[inline]
    pub fn take(&self, quota: Quota, key: u64, now: u64) -> Result<(), Duration> {
        // The high bits choose the set, all of them the bucket in it.
        let set = (u128::from(key) * self.sets.len() as u128) >> u64::BITS;
        let set = usize::try_from(set).unwrap_or_default(); // it is less than their number, and fits
        self.sets[set]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take(quota, key, now)
    }
}

impl QuotaTable {
    /// Says whether all buckets are full at `now`: as good as new.
    pub(super) fn is_full(&self, now: u64) -> bool {
        let is_full = |set: &Mutex<Set>| {
            let set = set.lock().unwrap_or_else(PoisonError::into_inner);
            set.shared <= now && set.own.iter().all(|(_, full_at)| *full_at <= now)
        };
        self.sets.iter().all(is_full)
    }
}

impl Set {
    fn take(&mut self, quota: Quota, key: u64, now: u64) -> Result<(), Duration> {
        let mut free = None;
        for (index, &(owner, full_at)) in self.own.iter().enumerate() {
            if full_at <= now {
                free = Some(index);
            } else if owner == key {
                self.own[index].1 = quota.take(full_at, now)?;
                return Ok(());
            }
        }
        match free {
            // Not a full one, while there are some who found no room: this may be one of them.
            Some(index) => self.own[index] = (key, quota.take(self.shared, now)?),
            None => self.shared = quota.take(self.shared, now)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::num::NonZero;

    fn quota(count: u32, period: u64) -> Quota {
        let count = NonZero::new(count).expect("not zero");
        Quota::new(count, Duration::from_nanos(period))
    }

    proptest! {
        #[test]
        fn each_client_has_a_bucket_while_there_is_room(
            requests in prop::collection::vec((0_u64..14, 0_u64..300), 0..400),
        ) {
            let (buckets, quota) = (QuotaTable::new(1), quota(3, 1000)); // one set
            let mut model = HashMap::new();
            let mut now = 0;
            for (key, pause) in requests {
                now += pause;
                let state = model.entry(key).or_insert(0);
                let expected = quota.take(*state, now);
                prop_assert_eq!(buckets.take(quota, key, now), expected.map(|next| *state = next));
            }
        }

        /// Whatever a crowd does: who has a bucket keeps it, and no key gets more than its own bucket would give.
        #[test]
        fn a_crowd_takes_nothing_from_those_who_were_there_and_gives_nobody_more(
            requests in prop::collection::vec((any::<u64>(), 0_u64..40), 0..600), early in 1_u64..9,
        ) {
            let (buckets, quota) = (QuotaTable::new(1), quota(3, 1000));
            let (mut model, mut now) = (HashMap::new(), 0);
            let first = early << 40;
            for (key, pause) in requests {
                now += pause;
                for key in [first, key % 40] {
                    let state = model.entry(key).or_insert(0);
                    let alone = quota.take(*state, now);
                    let taken = buckets.take(quota, key, now);
                    if key == first {
                        prop_assert_eq!(taken.is_ok(), alone.is_ok()); // never quiet, so it keeps its bucket
                    }
                    prop_assert!(taken.is_err() || alone.is_ok(), "{} got more than its share", key);
                    if taken.is_ok() {
                        *state = alone.unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn new_keys_do_not_refill_a_bucket_and_share_what_is_left() {
        let (buckets, quota) = (QuotaTable::new(1), quota(2, 1_000_000));
        assert!((0..2).all(|_| buckets.take(quota, 7, 0).is_ok()));
        let crowd = (1000..2000)
            .filter(|key| buckets.take(quota, *key, 1).is_ok())
            .count();
        assert_eq!(crowd, WAYS - 1 + 2); // a bucket each, and two tokens for all the others
        assert!(buckets.take(quota, 7, 2).is_err());
        assert!(buckets.take(quota, 7, 1_000_000).is_ok());
    }

    #[test]
    fn sets_are_large_enough_for_as_many_clients_as_there_should_be_room_for() {
        use std::hash::{BuildHasher, RandomState};
        let (clients, random) = (10_000, RandomState::new());
        let (buckets, quota) = (QuotaTable::new(clients), quota(1, 1_000_000));
        let refused = (0..clients).filter(|client| {
            let key = random.hash_one(client);
            buckets.take(quota, key, 0).is_err()
        });
        // Sets of seven on average: one in about 230 sets has more than fifteen.
        assert!(refused.count() < clients / 50);
        assert_eq!(size_of::<Mutex<Set>>(), 256);
    }
}
