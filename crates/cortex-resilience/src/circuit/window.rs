use super::shard::BUCKETS;
use crate::build_error::BuildError;
use std::time::Duration;

/// Which votes a closed breaker judges.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{Breaker, Window};
/// use std::time::Duration;
///
/// let windows = [
///     Window::time(Duration::from_secs(30)), // those of the last 30 s
///     Window::count(100),                    // the last 100
///     Window::k_of_n(3, 5),                  // opens when 3 of the last 5 failed
/// ];
/// for window in windows {
///     Breaker::builder("payments").window(window).build()?;
/// }
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window(pub(super) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Count(u32),
    Time { length: Duration, buckets: Option<u32> },
    KOfN { k: u32, n: u32 },
}

/// 250 kB.
const MAX_COUNT: u32 = 1_000_000;
/// As many as there are half-open permits.
const MAX_N: u32 = u16::MAX as u32;

impl Window {
    /// Exactly the last `size` votes, of at most 1,000,000.
    ///
    /// Each vote takes a lock for some nanoseconds: with many threads, [`time`](Self::time) is faster.
    pub const fn count(size: u32) -> Self {
        Self(Kind::Count(size))
    }

    /// The votes of the last `length`, which leave in buckets: one a second for whole seconds up to 60, else ten.
    ///
    /// It takes 32 bytes a bucket and thread, however many calls there are, and much less without
    /// [shards](super::Builder::shards).
    pub const fn time(length: Duration) -> Self {
        Self(Kind::Time {
            length,
            buckets: None,
        })
    }

    /// Cuts a window of time into this many buckets, 2 to 60; other windows have none, and stay as they are.
    #[must_use]
    pub const fn buckets(self, buckets: u32) -> Self {
        match self.0 {
            Kind::Time { length, .. } => Self(Kind::Time {
                length,
                buckets: Some(buckets),
            }),
            Kind::Count(_) | Kind::KOfN { .. } => self,
        }
    }

    /// Opens when `k` of the last `n` votes failed, of at most 65,535; there is no minimum of calls and no rate.
    pub const fn k_of_n(k: u32, n: u32) -> Self {
        Self(Kind::KOfN { k, n })
    }

    /// Opens when the last `k` votes failed.
    pub const fn consecutive(k: u32) -> Self {
        Self::k_of_n(k, k)
    }

    pub(super) fn check(self) -> Result<(), BuildError> {
        let wrong = |value: String, allowed| Err(BuildError::new("window", value, allowed));
        match self.0 {
            Kind::Count(size) if size == 0 || size > MAX_COUNT => {
                wrong(format!("count({size})"), "1 to 1000000 votes")
            }
            Kind::KOfN { k, n } if k == 0 || k > n || n > MAX_N => {
                wrong(format!("k_of_n({k}, {n})"), "1 to n failures of 1 to 65535 votes")
            }
            Kind::Time {
                buckets: Some(buckets),
                ..
            } if buckets < 2 || buckets as usize > BUCKETS => {
                wrong(format!("{buckets} buckets"), "cut into 2 to 60 buckets")
            }
            Kind::Time { length, .. } if length < Duration::from_millis(1) || self.cut().0 == 0 => {
                wrong(format!("time({length:?})"), "at least 1 ms long")
            }
            Kind::Time { length, .. } if length > Duration::from_hours(24 * 365) => {
                wrong(format!("time({length:?})"), "at most a year long")
            }
            Kind::Count(_) | Kind::KOfN { .. } | Kind::Time { .. } => Ok(()),
        }
    }

    /// Returns the width of a bucket in nanoseconds and how many there are; a width of zero if there are none.
    pub(super) fn cut(self) -> (u64, u64) {
        let Kind::Time { length, buckets } = self.0 else {
            return (0, 1);
        };
        let seconds = length.subsec_nanos() == 0 && (1..=BUCKETS as u64).contains(&length.as_secs());
        let buckets = match buckets {
            Some(buckets) => u64::from(buckets),
            None if seconds => length.as_secs(),
            None => 10.min(BUCKETS as u64),
        };
        (super::time::nanos(length) / buckets.max(1), buckets.max(1))
    }

    /// Returns how many votes have room in a ring.
    pub(super) const fn ring(self) -> u32 {
        match self.0 {
            Kind::Count(size) => size,
            Kind::KOfN { n, .. } => n,
            Kind::Time { .. } => 0,
        }
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_have_a_bucket_each() {
        let cut = |millis| Window::time(Duration::from_millis(millis)).cut();
        assert_eq!(cut(10_000), (1_000_000_000, 10));
        assert_eq!(cut(60_000), (1_000_000_000, 60));
        assert_eq!(cut(61_000), (6_100_000_000, 10));
        assert_eq!(cut(1_500), (150_000_000, 10));
        assert_eq!(
            Window::time(Duration::from_secs(6)).buckets(3).cut(),
            (2_000_000_000, 3)
        );
        assert_eq!(Window::count(5).buckets(3), Window::count(5));
    }
}
