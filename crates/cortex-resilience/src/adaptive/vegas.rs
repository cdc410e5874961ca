use super::limit::{Limit, Sample, check, check_share, nanos, whole, within};
use crate::build_error::BuildError;
use crate::random::Random;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Keeps the queue short that builds up in a dependency, as TCP Vegas does in a network.
///
/// The shortest time that a call took is that of a dependency without a queue. What others take beyond it tells how many calls
/// queue: at most `threshold` of them, and the limit rises fast; fewer than `alpha`, and it rises; more than `beta`, and it falls.
/// These grow with the decimal logarithm of the limit, and so do the steps.
///
/// Now and then, after 15 to 30 times as many calls as the limit, the shortest time is forgotten, so that a dependency may become
/// slower for good.
///
/// A call that fails lowers the limit, whatever its time: that of a failure is not the time of the work. A call whose time is zero
/// says nothing; the clock has to be finer than the calls are short.
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::{Limit, Sample, Vegas};
/// use std::time::Duration;
///
/// let mut limit = Vegas::new(1..=1000).initial(50);
/// let idle = Duration::from_millis(10);
/// assert_eq!(limit.update(&Sample::new(50, idle)), 50); // so long does a call take
/// assert_eq!(limit.update(&Sample::new(50, idle)), 56); // no queue
/// assert_eq!(limit.update(&Sample::new(56, idle * 2)), 55); // half of them queue
/// ```
#[derive(Debug)]
pub struct Vegas {
    range: RangeInclusive<u32>,
    limit: f64,
    rtt_min: Duration,
    alpha: u32,
    beta: u32,
    threshold: u32,
    decrease: fn(f64) -> f64,
    smoothing: f64,
    random: Random,
    /// Samples since the shortest time was forgotten.
    samples: u32,
    /// After how many times the limit it is forgotten next.
    probe: f64,
}

impl Vegas {
    /// Begins at 20, or as near to that as a range allows.
    pub fn new(range: RangeInclusive<u32>) -> Self {
        let mut vegas = Self {
            limit: within(20.0, &range),
            range,
            rtt_min: Duration::ZERO,
            alpha: 3,
            beta: 6,
            threshold: 1,
            decrease: |limit| limit - log10(limit),
            smoothing: 1.0,
            random: Random::default(),
            samples: 0,
            probe: 0.0,
        };
        vegas.draw();
        vegas
    }

    /// Sets the limit that it begins with; by default 20.
    #[must_use]
    pub fn initial(mut self, limit: u32) -> Self {
        self.limit = f64::from(limit);
        self
    }

    /// Sets how many calls may queue at least and at most, as multiples of the decimal logarithm of the limit; by default 3 and 6.
    #[must_use]
    pub const fn queue(mut self, alpha: u32, beta: u32) -> Self {
        (self.alpha, self.beta) = (alpha, beta);
        self
    }

    /// Sets up to how many calls that queue the limit rises fast, as a multiple of its decimal logarithm; by default 1.
    #[must_use]
    pub const fn threshold(mut self, threshold: u32) -> Self {
        self.threshold = threshold;
        self
    }

    /// Sets what becomes of the limit when it falls; by default its decimal logarithm is taken off. It never rises by this.
    #[must_use]
    pub const fn decrease(mut self, decrease: fn(f64) -> f64) -> Self {
        self.decrease = decrease;
        self
    }

    /// Sets how much of a new limit counts at once, above 0 and at most 1; by default all of it.
    #[must_use]
    pub const fn smoothing(mut self, share: f64) -> Self {
        self.smoothing = share;
        self
    }

    /// Has the same random numbers in every run.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = Random::seeded(seed);
        self.draw();
        self
    }

    fn draw(&mut self) {
        self.probe = 30.0 * (0.5 + self.random.unit() / 2.0);
    }

    /// Returns where the limit goes for a call that succeeded; `None` if it stays.
    fn target(&self, sample: &Sample) -> Option<f64> {
        let limit = self.limit;
        if sample.is_sparse(limit) {
            return None;
        }
        let beyond = nanos(sample.rtt.saturating_sub(self.rtt_min));
        let queue = (limit * beyond / nanos(sample.rtt)).ceil(); // in this order, a whole number stays whole
        let lg = log10(limit);
        let (alpha, beta) = (f64::from(self.alpha) * lg, f64::from(self.beta) * lg);
        if queue <= f64::from(self.threshold) * lg {
            Some(limit + beta)
        } else if queue < alpha {
            Some(limit + lg)
        } else {
            (queue > beta).then(|| self.lower())
        }
    }

    fn lower(&self) -> f64 {
        (self.decrease)(self.limit).min(self.limit)
    }
}

/// The whole decimal logarithm of the whole limit, at least 1.
fn log10(limit: f64) -> f64 {
    limit.trunc().log10().floor().max(1.0)
}

impl Limit for Vegas {
    fn limit(&self) -> u32 {
        whole(self.limit)
    }

    fn update(&mut self, sample: &Sample) -> u32 {
        if sample.rtt.is_zero() && !sample.failed {
            return self.limit();
        }
        self.samples = self.samples.saturating_add(1);
        let target = if sample.failed {
            Some(self.lower())
        } else if f64::from(self.samples) >= self.probe * self.limit {
            self.draw();
            self.samples = 0;
            self.rtt_min = sample.rtt;
            None
        } else if self.rtt_min.is_zero() || sample.rtt < self.rtt_min {
            self.rtt_min = sample.rtt;
            None
        } else {
            self.target(sample)
        };
        if let Some(target) = target {
            let old = self.limit;
            self.limit = (1.0 - self.smoothing) * old + self.smoothing * within(target, &self.range);
        }
        self.limit()
    }

    fn resume(&mut self, limit: u32) {
        self.limit = within(f64::from(limit), &self.range);
    }

    fn check(&self) -> Result<(), BuildError> {
        check(&self.range, Some(self.limit))?;
        check_share("smoothing", self.smoothing, false)?;
        let (threshold, alpha, beta) = (self.threshold, self.alpha, self.beta);
        if threshold > alpha || alpha > beta {
            let allowed = "no less than `threshold`, and `alpha` no more than `beta`";
            return Err(BuildError::new("queue", format!("{alpha}, {beta}"), allowed));
        }
        Ok(())
    }
}
