use crate::time::nanos;
use std::num::NonZero;
use std::time::Duration;

/// So many calls in a period, as a bucket of that many tokens that fills evenly: the generic cell rate algorithm (ITU-T I.371)
/// as a virtual schedule, for those who keep the state themselves. A [`RateLimiter`](super::RateLimiter) keeps it.
///
/// The state is one number, the theoretical arrival time: when the bucket will be full again, in nanoseconds since an origin of
/// your choice. One that is past says the same as zero, so that the state of who has been quiet for a period can be forgotten.
///
/// # Examples
///
/// ```
/// use cortex_resilience::rate_limit::Quota;
/// use std::num::NonZero;
/// use std::time::Duration;
///
/// let two = NonZero::new(2).expect("not zero");
/// let quota = Quota::new(two, Duration::from_nanos(100)); // two at once, and one every 50 ns
/// let state = quota.take(0, 1000).and_then(|state| quota.take(state, 1000));
/// assert_eq!(state, Ok(1100));
/// assert_eq!(quota.take(1100, 1020), Err(Duration::from_nanos(30)));
/// assert_eq!(quota.take(1100, 1050), Ok(1150));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Nanoseconds between two tokens.
    interval: u64,
    /// Nanoseconds until an empty bucket is full.
    capacity: u64,
}

/// A token that was taken, or reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The new state.
    pub(super) next: u64,
    /// What of it is this claim's.
    pub(super) cost: u64,
    /// Nanoseconds until the token is there.
    pub(super) wait: u64,
}

/// The longest times: their sums fit in a word, so that no sum has to be checked.
const LONGEST_INTERVAL: u64 = u64::MAX >> 2;
const LONGEST_CAPACITY: u64 = u64::MAX >> 1;

impl Quota {
    /// Allows `count` calls in each `period`, at once or spread over it.
    ///
    /// The time between two tokens is rounded up to nanoseconds: a limit is not exceeded by rounding. It is 146 years at most.
    pub fn new(count: NonZero<u32>, period: Duration) -> Self {
        let interval = nanos(period).div_ceil(u64::from(count.get()));
        Self::of(interval.clamp(1, LONGEST_INTERVAL), count)
    }

    /// Allows `calls` at once to who was quiet; by default as many as in a period.
    #[must_use]
    pub fn burst(self, calls: NonZero<u32>) -> Self {
        Self::of(self.interval, calls)
    }

    fn of(interval: u64, burst: NonZero<u32>) -> Self {
        let capacity = interval.saturating_mul(u64::from(burst.get()));
        Self {
            interval,
            capacity: capacity.min(LONGEST_CAPACITY),
        }
    }

    pub(super) const fn from_parts((interval, capacity): (u64, u64)) -> Self {
        Self { interval, capacity }
    }

    pub(super) const fn parts(self) -> (u64, u64) {
        (self.interval, self.capacity)
    }

    /// Returns the time between two tokens.
    pub const fn interval(self) -> Duration {
        Duration::from_nanos(self.interval)
    }

    /// Returns how many tokens a full bucket holds.
    pub const fn tokens(self) -> u64 {
        self.capacity / self.interval
    }

    /// Takes a token at `now`; returns the new state.
    ///
    /// # Errors
    ///
    /// There is none, for so long.
    #[inline]
    pub const fn take(self, full_at: u64, now: u64) -> Result<u64, Duration> {
        let used = full_at.saturating_sub(now).saturating_add(self.interval);
        if used > self.capacity {
            return Err(Duration::from_nanos(used - self.capacity));
        }
        match now.checked_add(used) {
            Some(next) => Ok(next),
            None => Err(Duration::from_nanos(self.interval)), // the end of time
        }
    }

    /// Takes `tokens` at `now`, which will be there within `patience`.
    ///
    /// # Errors
    ///
    /// They will not, but later, after so many nanoseconds; never, if a full bucket holds fewer.
    #[inline]
    pub(super) const fn claim(
        self,
        tokens: u32,
        full_at: u64,
        now: u64,
        patience: u64,
    ) -> Result<Claim, Option<u64>> {
        let cost = self.interval.saturating_mul(tokens as u64);
        if cost > self.capacity {
            return Err(None);
        }
        let used = full_at.saturating_sub(now).saturating_add(cost);
        let wait = used.saturating_sub(self.capacity);
        match now.checked_add(used) {
            Some(next) if wait <= patience => Ok(Claim { next, cost, wait }),
            _ => Err(Some(wait)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(number: u32) -> NonZero<u32> {
        NonZero::new(number).expect("not zero")
    }

    fn quota(count: u32, period: u64, burst: u32) -> Quota {
        Quota::new(number(count), Duration::from_nanos(period)).burst(number(burst))
    }

    /// A bucket of tokens as one would draw it, counted in parts of a token that are as fine as the clock.
    struct Bucket {
        parts: u64,
        filled_at: u64,
        quota: Quota,
    }

    impl Bucket {
        fn take(&mut self, now: u64) -> Result<(), u64> {
            let filled = self.parts + (now - self.filled_at);
            (self.parts, self.filled_at) = (filled.min(self.quota.capacity), now);
            if self.parts < self.quota.interval {
                return Err(self.quota.interval - self.parts);
            }
            self.parts -= self.quota.interval;
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn is_a_bucket_of_tokens(
            (count, burst, period) in (1_u32..50, 1_u32..50, 1_u64..10_000),
            pauses in prop::collection::vec(0_u64..1000, 0..300),
        ) {
            let quota = quota(count, period, burst);
            let mut bucket = Bucket { parts: quota.capacity, filled_at: 0, quota };
            let (mut state, mut now) = (0, 0);
            for pause in pauses {
                now += pause;
                let claimed = quota.claim(1, state, now, 0);
                match (quota.take(state, now), bucket.take(now)) {
                    (Ok(next), Ok(())) => {
                        prop_assert!(next > now && next - now <= quota.capacity);
                        prop_assert_eq!(claimed, Ok(Claim { next, cost: quota.interval, wait: 0 }));
                        state = next;
                    }
                    (Err(wait), Err(missing)) => {
                        prop_assert_eq!(wait, Duration::from_nanos(missing));
                        prop_assert_eq!(claimed, Err(Some(missing)));
                        // Whoever waits for so long gets in, and not a moment earlier.
                        let then = now + missing;
                        prop_assert!(quota.take(state, then).is_ok());
                        prop_assert!(quota.take(state, then - 1).is_err());
                    }
                    (one, other) => prop_assert!(false, "{one:?} {other:?} at {now}"),
                }
            }
        }

        #[test]
        fn no_window_sees_more_than_the_burst_and_what_flows_in(
            count in 1_u32..20, pauses in prop::collection::vec(0_u64..200, 1..200),
        ) {
            let period = 1000;
            let quota = quota(count, period, count);
            let (mut state, mut now, mut admitted) = (0, 0, Vec::new());
            for pause in pauses {
                now += pause;
                if let Ok(next) = quota.take(state, now) {
                    state = next;
                    admitted.push(now);
                }
            }
            for (index, from) in admitted.iter().enumerate() {
                let within = admitted[index..].iter().filter(|at| **at < from + period).count();
                prop_assert!(within as u64 <= 2 * u64::from(count));
            }
        }
    }

    #[test]
    fn extremes_neither_overflow_nor_let_everybody_in() {
        let slow = Quota::new(number(1), Duration::MAX).burst(number(u32::MAX));
        let mut state = 0;
        while let Ok(next) = slow.take(state, 5) {
            state = next;
        }
        assert_eq!(state - 5, slow.tokens() * slow.interval);
        assert!(slow.take(state, u64::MAX / 2).is_ok());
        assert!(slow.take(0, u64::MAX).is_err() && slow.take(u64::MAX, 0).is_err());
        let fast = Quota::new(number(u32::MAX), Duration::ZERO).burst(number(1));
        assert_eq!(fast.parts(), (1, 1));
        let state = fast.take(0, 5).unwrap();
        assert_eq!(fast.take(state, 5), Err(Duration::from_nanos(1)));
        assert_eq!(fast.claim(2, 0, 5, u64::MAX), Err(None));
        assert_eq!(slow.claim(u32::MAX, 0, 5, u64::MAX), Err(None));
    }

    #[test]
    fn a_quota_says_what_it_is() {
        let quota = quota(3, 1000, 7);
        assert_eq!((quota.interval(), quota.tokens()), (Duration::from_nanos(334), 7));
        assert_eq!(Quota::from_parts(quota.parts()), quota);
    }
}
