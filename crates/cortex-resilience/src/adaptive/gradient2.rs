use super::limit::{Limit, Sample, check, check_share, nanos, whole, within};
use crate::build_error::BuildError;
use std::ops::RangeInclusive;

/// Compares the time of each call with the mean of many: the limit falls while calls take longer than usual.
///
/// The mean is exponential, over some 600 calls. A call that takes up to 1.5 times as long as that leaves the limit room to grow, by
/// a queue of 4; one that takes longer lowers it in proportion, by half at most. A fifth of the change counts at once.
///
/// A time that stays becomes usual, and then the limit grows again: the range has to end where the dependency does.
///
/// A call that fails lowers the limit as the longest would, and leaves the mean as it is: the time of a failure is not that of the
/// work. A call whose time is zero says nothing; the clock has to be finer than the calls are short.
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::{Gradient2, Limit, Sample};
/// use std::time::Duration;
///
/// let usual = Duration::from_millis(10);
/// let mut limit = Gradient2::new(1..=1000).initial(50);
/// for _ in 0..10 {
///     limit.update(&Sample::new(50, usual));
/// }
/// assert_eq!(limit.limit(), 58); // a fifth of 4 each
/// limit.update(&Sample::new(58, usual * 10));
/// assert_eq!(limit.limit(), 53);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient2 {
    range: RangeInclusive<u32>,
    limit: f64,
    long: Mean,
    queue: u32,
    tolerance: f64,
    smoothing: f64,
}

/// An exponential mean that begins as a plain one.
#[derive(Clone, Debug, PartialEq)]
struct Mean {
    value: f64,
    sum: f64,
    samples: u32,
    window: u32,
}

/// How many samples are plain.
const WARM_UP: u32 = 10;

impl Mean {
    fn add(&mut self, sample: f64) -> f64 {
        if self.samples < WARM_UP {
            self.samples += 1;
            self.sum += sample;
            self.value = self.sum / f64::from(self.samples);
        } else {
            let share = 2.0 / (f64::from(self.window) + 1.0);
            self.value = self.value * (1.0 - share) + sample * share;
        }
        self.value
    }
}

impl Gradient2 {
    /// Begins at 20, or as near to that as a range allows.
    pub fn new(range: RangeInclusive<u32>) -> Self {
        Self {
            limit: within(20.0, &range),
            range,
            long: Mean {
                value: 0.0,
                sum: 0.0,
                samples: 0,
                window: 600,
            },
            queue: 4,
            tolerance: 1.5,
            smoothing: 0.2,
        }
    }

    /// Sets the limit that it begins with; by default 20.
    #[must_use]
    pub fn initial(mut self, limit: u32) -> Self {
        self.limit = f64::from(limit);
        self
    }

    /// Sets over how many calls the mean is, at least 1; by default 600.
    #[must_use]
    pub const fn window(mut self, calls: u32) -> Self {
        self.long.window = calls;
        self
    }

    /// Sets how many calls may queue; by default 4.
    #[must_use]
    pub const fn queue(mut self, calls: u32) -> Self {
        self.queue = calls;
        self
    }

    /// Sets how many times as long as usual a call may take without the limit falling, at least 1; by default 1.5.
    #[must_use]
    pub const fn tolerance(mut self, times: f64) -> Self {
        self.tolerance = times;
        self
    }

    /// Sets how much of a new limit counts at once, above 0 and at most 1; by default 0.2.
    #[must_use]
    pub const fn smoothing(mut self, share: f64) -> Self {
        self.smoothing = share;
        self
    }

    /// Returns where the limit goes; `None` if it stays.
    fn target(&mut self, sample: &Sample) -> Option<f64> {
        if sample.failed {
            return Some(self.limit * 0.5);
        }
        let short = nanos(sample.rtt);
        let long = self.long.add(short);
        if long / short > 2.0 {
            self.long.value *= 0.95; // it was slow, and is no longer: forget faster
        }
        if sample.is_sparse(self.limit) {
            return None;
        }
        let gradient = (self.tolerance * long / short).clamp(0.5, 1.0);
        Some(self.limit * gradient + f64::from(self.queue))
    }
}

impl Limit for Gradient2 {
    fn limit(&self) -> u32 {
        whole(self.limit)
    }

    fn update(&mut self, sample: &Sample) -> u32 {
        if (sample.failed || !sample.rtt.is_zero())
            && let Some(target) = self.target(sample)
        {
            let smooth = self.limit * (1.0 - self.smoothing) + target * self.smoothing;
            self.limit = within(smooth, &self.range);
        }
        self.limit()
    }

    fn resume(&mut self, limit: u32) {
        self.limit = within(f64::from(limit), &self.range);
    }

    fn check(&self) -> Result<(), BuildError> {
        check(&self.range, Some(self.limit))?;
        check_share("smoothing", self.smoothing, false)?;
        if self.long.window == 0 {
            return Err(BuildError::new("window", "0", "at least 1"));
        }
        let tolerance = self.tolerance;
        if !(1.0..=1e6).contains(&tolerance) {
            return Err(BuildError::new("tolerance", tolerance.to_string(), "1 to 1e6"));
        }
        Ok(())
    }
}
