use crate::priority::Priority;
use std::fmt;
use std::time::Duration;

/// How many buckets there are for each doubling, as a power of two.
const FINE: u32 = 3;
/// What takes longer than two to the power of this many nanoseconds, 18 minutes, is in the last bucket.
const COARSEST: u32 = 40;
/// One for each nanosecond of the first eight, eight for each doubling after that, and one for the rest.
const BUCKETS: usize = (((COARSEST - FINE) + 1) << FINE) as usize + 1;

/// How long tasks took: how many there were, how long all of them took together, and how they spread.
///
/// There are eight buckets for each doubling. So a [quantile](Self::quantile) is never below what it stands for, and at most an
/// eighth above it, or one nanosecond; beyond 18 minutes it is the longest time.
///
/// # Examples
///
/// ```
/// use cortex_workers::{Closures, Pool, Priority};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = Pool::<Closures>::builder("sums").threads(1).build().await.unwrap();
/// pool.run(|_, _| 1 + 1).priority(Priority::High).await.unwrap();
/// # while pool.snapshot().tasks.completed == 0 { std::thread::yield_now(); }
/// let snapshot = pool.snapshot();
/// let run = snapshot.run_times(Priority::High);
/// assert_eq!(run.count(), 1);
/// assert_eq!(run.p99(), Some(run.max()));
/// assert_eq!(snapshot.wait_times(Priority::Low).p50(), None);
/// # });
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Times {
    counts: [u64; BUCKETS],
    count: u64,
    /// Nanoseconds, as the next.
    total: u64,
    max: u64,
}

impl Times {
    pub(crate) const NONE: Self = Self {
        counts: [0; BUCKETS],
        count: 0,
        total: 0,
        max: 0,
    };

    pub(crate) fn add(&mut self, nanos: u64) {
        self.counts[index(nanos)] += 1;
        self.count += 1;
        self.total = self.total.saturating_add(nanos);
        self.max = self.max.max(nanos);
    }

    /// Returns how many there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns how long all of them are together.
    pub const fn total(&self) -> Duration {
        Duration::from_nanos(self.total)
    }

    /// Returns the longest; zero if there is none.
    pub const fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// Returns the mean, if there is any.
    pub const fn mean(&self) -> Option<Duration> {
        match self.total.checked_div(self.count) {
            Some(mean) => Some(Duration::from_nanos(mean)),
            None => None,
        }
    }

    /// Returns what half of them do not exceed.
    pub fn p50(&self) -> Option<Duration> {
        self.quantile(0.5)
    }

    /// Returns what 99 in a hundred of them do not exceed.
    pub fn p99(&self) -> Option<Duration> {
        self.quantile(0.99)
    }

    /// Returns what this share of them does not exceed, from 0 to 1, if there is any: the end of the bucket where it lies, or the
    /// longest of all if that is less.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a rank among so many needs not the last digit, and what is out of bounds is cut"
    )]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut below = 0;
        for (upto, count) in self.all_buckets() {
            below += count;
            if below >= rank {
                return Some(Duration::from_nanos(upto.min(self.max)));
            }
        }
        None
    }

    /// Returns what each bucket that is not empty counts up to, and how many it has that the one before has not.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let all = self.all_buckets().filter(|&(_, count)| count > 0);
        all.map(|(upto, count)| (Duration::from_nanos(upto), count))
    }

    /// Adds all of the others, as to see priorities together.
    #[must_use]
    pub fn with(mut self, others: &Self) -> Self {
        for (count, more) in self.counts.iter_mut().zip(&others.counts) {
            *count += more;
        }
        self.count += others.count;
        self.total = self.total.saturating_add(others.total);
        self.max = self.max.max(others.max);
        self
    }

    /// Returns the buckets with the last nanosecond that belongs to each.
    fn all_buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        let ends = (0..BUCKETS).map(end);
        ends.zip(self.counts)
    }
}

/// Returns the bucket of a time. The last nanosecond of a bucket is its bound, as histograms of metrics have it.
fn index(nanos: u64) -> usize {
    let before = nanos.saturating_sub(1);
    let doublings = (before | 1).ilog2().saturating_sub(FINE);
    let bucket = (before >> doublings) + (u64::from(doublings) << FINE);
    usize::try_from(bucket).map_or(BUCKETS - 1, |bucket| bucket.min(BUCKETS - 1))
}

/// Returns the last nanosecond of a bucket.
fn end(bucket: usize) -> u64 {
    if bucket == BUCKETS - 1 {
        return u64::MAX;
    }
    let fine = 1 << FINE;
    let doublings = (bucket / fine).saturating_sub(1);
    let place = bucket - doublings * fine;
    (u64::try_from(place).unwrap_or(u64::MAX) + 1) << doublings
}

impl Default for Times {
    fn default() -> Self {
        Self::NONE
    }
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Times")
            .field("count", &self.count)
            .field("total", &self.total())
            .field("p50", &self.p50())
            .field("p99", &self.p99())
            .field("max", &self.max())
            .finish_non_exhaustive()
    }
}

/// How long tasks waited, and how long they ran, by their priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskTimes {
    pub(crate) wait: [Times; 3],
    pub(crate) run: [Times; 3],
}

impl TaskTimes {
    pub(crate) const NONE: Self = Self {
        wait: [Times::NONE; 3],
        run: [Times::NONE; 3],
    };

    pub(crate) fn add(&mut self, priority: Priority, waited: u64, ran: u64) {
        self.wait[priority.index()].add(waited);
        self.run[priority.index()].add(ran);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_lie_side_by_side() {
        let mut last = 0;
        for bucket in 0..BUCKETS {
            assert_eq!(index(last + 1), bucket, "after {last}");
            assert_eq!(index(end(bucket)), bucket);
            if bucket < BUCKETS - 1 {
                last = end(bucket);
            }
        }
        assert_eq!((index(0), last), (0, 1 << COARSEST));
    }

    #[test]
    fn none_has_no_quantiles() {
        assert_eq!((Times::NONE.p50(), Times::NONE.mean()), (None, None));
        assert_eq!(Times::NONE.max(), Duration::ZERO);
        assert_eq!(Times::default().buckets().count(), 0);
    }

    fn nanos() -> impl Strategy<Value = u64> {
        (0..=COARSEST, any::<u64>()).prop_map(|(shift, any)| (any >> (63 - shift.min(39))).min(1 << COARSEST))
    }

    fn of(all: &[u64]) -> Times {
        let mut times = Times::NONE;
        for &nanos in all {
            times.add(nanos);
        }
        times
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_an_eighth_above_the_true_one(
            mut all in prop::collection::vec(nanos(), 1..200),
            share in 0.0..=1.0_f64,
        ) {
            let times = of(&all);
            all.sort_unstable();
            let mut rank = 1;
            // What so many do not exceed: the least rank that is not below the share.
            while (f64::from(u32::try_from(rank).unwrap())) < share * f64::from(u32::try_from(all.len()).unwrap()) {
                rank += 1;
            }
            let (truth, said) = (u128::from(all[rank - 1]), times.quantile(share).unwrap().as_nanos());
            prop_assert!(said >= truth && said <= (truth + truth / 8).max(1), "{said} for {truth}");
            prop_assert_eq!(times.quantile(1.0).unwrap().as_nanos(), u128::from(*all.last().unwrap()));
            let sum: u64 = all.iter().sum();
            prop_assert_eq!(times.total(), Duration::from_nanos(sum));
            prop_assert_eq!(times.buckets().map(|(_, count)| count).sum::<u64>(), times.count());
        }

        #[test]
        fn both_together_are_as_all_of_them(
            first in prop::collection::vec(nanos(), 0..50),
            second in prop::collection::vec(nanos(), 0..50),
        ) {
            let all: Vec<u64> = first.iter().chain(&second).copied().collect();
            prop_assert_eq!(of(&first).with(&of(&second)), of(&all));
        }
    }

    #[test]
    fn what_takes_for_ever_is_the_longest() {
        let times = of(&[u64::MAX, u64::MAX, 1]);
        assert_eq!((times.p50(), times.total()), (Some(times.max()), times.max()));
        assert_eq!(times.buckets().last(), Some((Duration::from_nanos(u64::MAX), 2)));
    }
}
