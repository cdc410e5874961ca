use std::num::NonZero;
use std::time::Duration;

/// The generic cell rate algorithm (ITU-T I.371) as a virtual schedule: so many requests in a period, as a bucket of
/// that many tokens that fills evenly.
///
/// Its state is one number, the theoretical arrival time: when the bucket will be full again. One that is past says the
/// same as one that was never written, so that the state of who has been quiet for a period can be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gcra {
    /// Nanoseconds between two tokens.
    interval: u64,
    /// Nanoseconds until an empty bucket is full.
    capacity: u64,
}

impl Gcra {
    /// Allows `burst` requests at once, and `count` evenly in each `period` after that.
    ///
    /// The interval is rounded up: a limit is not exceeded by rounding.
    pub(crate) fn new(count: NonZero<u32>, period: Duration, burst: NonZero<u32>) -> Self {
        let interval = nanos(period).div_ceil(u64::from(count.get())).max(1);
        Self {
            interval,
            capacity: interval.saturating_mul(u64::from(burst.get())),
        }
    }

    /// Takes a token at `now`; returns the new state, or how long there will be none.
    pub(super) fn take(self, full_at: u64, now: u64) -> Result<u64, Duration> {
        let next = full_at.max(now).saturating_add(self.interval);
        let used = next - now;
        if used > self.capacity {
            return Err(Duration::from_nanos(used - self.capacity));
        }
        Ok(next)
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(number: u32) -> NonZero<u32> {
        NonZero::new(number).expect("not zero")
    }

    /// A bucket of tokens as one would draw it, counted in parts of a token that are as fine as the clock.
    struct Bucket {
        parts: u64,
        filled_at: u64,
        gcra: Gcra,
    }

    impl Bucket {
        fn take(&mut self, now: u64) -> Result<(), u64> {
            let filled = self.parts + (now - self.filled_at);
            (self.parts, self.filled_at) = (filled.min(self.gcra.capacity), now);
            if self.parts < self.gcra.interval {
                return Err(self.gcra.interval - self.parts);
            }
            self.parts -= self.gcra.interval;
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn is_a_bucket_of_tokens(
            (count, burst, period) in (1_u32..50, 1_u32..50, 1_u64..10_000),
            pauses in prop::collection::vec(0_u64..1000, 0..300),
        ) {
            let gcra = Gcra::new(number(count), Duration::from_nanos(period), number(burst));
            let mut bucket = Bucket { parts: gcra.capacity, filled_at: 0, gcra };
            let (mut state, mut now) = (0, 0);
            for pause in pauses {
                now += pause;
                match (gcra.take(state, now), bucket.take(now)) {
                    (Ok(next), Ok(())) => {
                        prop_assert!(next > now && next - now <= gcra.capacity);
                        state = next;
                    }
                    (Err(wait), Err(missing)) => {
                        prop_assert_eq!(wait, Duration::from_nanos(missing));
                        // Whoever waits for so long gets in, and not a moment earlier.
                        let then = now + missing;
                        prop_assert!(gcra.take(state, then).is_ok());
                        prop_assert!(gcra.take(state, then - 1).is_err());
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
            let gcra = Gcra::new(number(count), Duration::from_nanos(period), number(count));
            let (mut state, mut now, mut admitted) = (0, 0, Vec::new());
            for pause in pauses {
                now += pause;
                if let Ok(next) = gcra.take(state, now) {
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
        let slow = Gcra::new(number(1), Duration::MAX, number(u32::MAX));
        let full = slow.take(0, 0).unwrap();
        assert!(slow.take(full, u64::MAX - 1).is_ok());
        let fast = Gcra::new(number(u32::MAX), Duration::ZERO, number(1));
        assert_eq!(
            fast,
            Gcra {
                interval: 1,
                capacity: 1
            }
        );
        let state = fast.take(0, 5).unwrap();
        assert_eq!(fast.take(state, 5), Err(Duration::from_nanos(1)));
    }
}
