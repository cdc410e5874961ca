use super::limit::{Limit, Sample, check, check_share, whole, within};
use crate::build_error::BuildError;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Additive increase, multiplicative decrease: one up for a call in time, a tenth down for one that is not.
///
/// A call that fails or takes longer than the timeout lowers the limit. Any other raises it, if at least half of the limit was in
/// use when it began.
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::{Aimd, Limit, Sample};
/// use std::time::Duration;
///
/// let timeout = Duration::from_millis(200);
/// let mut limit = Aimd::new(1..=100, timeout).initial(50);
/// assert_eq!(limit.update(&Sample::new(25, timeout)), 51);
/// assert_eq!(limit.update(&Sample::new(25, timeout * 2)), 45); // 90 % of it, rounded down
/// assert_eq!(limit.update(&Sample::new(22, timeout)), 45); // so few say nothing about more
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Aimd {
    range: RangeInclusive<u32>,
    limit: u32,
    timeout: Duration,
    backoff: f64,
    once_per_wave: bool,
}

impl Aimd {
    /// Begins at the least limit of a range; a call is in time that takes no longer than `timeout`.
    pub const fn new(range: RangeInclusive<u32>, timeout: Duration) -> Self {
        Self {
            limit: *range.start(),
            range,
            timeout,
            backoff: 0.9,
            once_per_wave: false,
        }
    }

    /// Sets the limit that it begins with.
    #[must_use]
    pub const fn initial(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }

    /// Sets what is left of the limit when it falls, above 0 and below 1; by default 0.9.
    #[must_use]
    pub const fn backoff(mut self, ratio: f64) -> Self {
        self.backoff = ratio;
        self
    }

    /// Has calls say nothing that began before the limit fell last, so that it falls once for all that were under way and too
    /// late. By default each of them counts.
    #[must_use]
    pub const fn once_per_wave(mut self) -> Self {
        self.once_per_wave = true;
        self
    }
}

impl Limit for Aimd {
    fn limit(&self) -> u32 {
        self.limit
    }

    fn update(&mut self, sample: &Sample) -> u32 {
        if self.once_per_wave && sample.stale {
            return self.limit;
        }
        let limit = f64::from(self.limit);
        let next = if self.is_overload(sample) {
            (limit * self.backoff).floor()
        } else if sample.is_sparse(limit) {
            limit
        } else {
            limit + 1.0
        };
        self.limit = whole(within(next, &self.range));
        self.limit
    }

    fn is_overload(&self, sample: &Sample) -> bool {
        sample.failed || sample.rtt > self.timeout
    }

    fn resume(&mut self, limit: u32) {
        self.limit = whole(within(f64::from(limit), &self.range));
    }

    fn check(&self) -> Result<(), BuildError> {
        check(&self.range, Some(f64::from(self.limit)))?;
        check_share("backoff", self.backoff, true)
    }
}
