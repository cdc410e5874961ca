use crate::build_error::BuildError;
use std::ops::RangeInclusive;
use std::time::Duration;

/// An algorithm that moves a limit of concurrency.
///
/// It is called for one sample at a time.
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::{Limit, Sample};
///
/// /// As many as ever were under way at once without a call that failed.
/// struct HighWater(u32);
///
/// impl Limit for HighWater {
///     fn limit(&self) -> u32 {
///         self.0
///     }
///
///     fn update(&mut self, sample: &Sample) -> u32 {
///         if !sample.failed && sample.in_flight == self.0 {
///             self.0 += 1;
///         }
///         self.0
///     }
/// }
///
/// let mut limit = HighWater(1);
/// assert_eq!(limit.update(&Sample::new(1, std::time::Duration::ZERO)), 2);
/// ```
pub trait Limit: Send {
    /// Returns the limit.
    fn limit(&self) -> u32;

    /// Takes note of a call that ended, and returns the limit from now on. Zero is taken for one: nothing would be learned any
    /// more.
    fn update(&mut self, sample: &Sample) -> u32;

    /// Says whether a call shows that too many were under way, so that those that began before it ended are
    /// [stale](Sample::stale), also if the limit is the least there is; by default, whether it failed.
    fn is_overload(&self, sample: &Sample) -> bool {
        sample.failed
    }

    /// Goes on from a limit that was found before; by default, it begins anew.
    fn resume(&mut self, limit: u32) {
        let _ = limit;
    }

    /// Says whether its settings make sense; by default, they do.
    ///
    /// # Errors
    ///
    /// The setting that does not.
    fn check(&self) -> Result<(), BuildError> {
        Ok(())
    }
}

/// A call that ended, as an algorithm sees it.
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::Sample;
/// use std::time::Duration;
///
/// let sample = Sample::new(3, Duration::from_millis(20)).failed();
/// assert!(sample.failed && !sample.stale);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// How many calls were under way when it began, itself included.
    pub in_flight: u32,
    /// How long it took. Zero if its clock did not move meanwhile.
    pub rtt: Duration,
    /// Whether it failed.
    pub failed: bool,
    /// Whether the limit has fallen, or would have, since it began: it tells of the limit before.
    pub stale: bool,
}

impl Sample {
    /// Makes a sample of a call that succeeded.
    pub const fn new(in_flight: u32, rtt: Duration) -> Self {
        Self {
            in_flight,
            rtt,
            failed: false,
            stale: false,
        }
    }

    /// Says that the call failed.
    #[must_use]
    pub const fn failed(mut self) -> Self {
        self.failed = true;
        self
    }

    /// Says that the limit has fallen since the call began.
    #[must_use]
    pub const fn stale(mut self) -> Self {
        self.stale = true;
        self
    }

    /// Says whether less than half of the limit was in use, so that the call says nothing about more.
    pub(super) fn is_sparse(&self, limit: f64) -> bool {
        f64::from(self.in_flight) * 2.0 < limit
    }
}

/// Checks what all of the algorithms have.
pub(super) fn check(range: &RangeInclusive<u32>, initial: Option<f64>) -> Result<(), BuildError> {
    let (min, max) = (*range.start(), *range.end());
    if min == 0 || min > max {
        let allowed = "a range that begins at 1 or above, and is not empty";
        return Err(BuildError::new("range", format!("{min}..={max}"), allowed));
    }
    if let Some(initial) = initial
        && !(f64::from(min) <= initial && initial <= f64::from(max))
    {
        let allowed = "within the range of the limit";
        return Err(BuildError::new("initial", initial.to_string(), allowed));
    }
    Ok(())
}

/// Checks a share above zero, and below one or at most one.
pub(super) fn check_share(field: &'static str, value: f64, below_one: bool) -> Result<(), BuildError> {
    let good = value > 0.0 && if below_one { value < 1.0 } else { value <= 1.0 }; // false for NaN
    let allowed = if below_one {
        "above 0 and below 1"
    } else {
        "above 0 and at most 1"
    };
    if good {
        Ok(())
    } else {
        Err(BuildError::new(field, value.to_string(), allowed))
    }
}

/// Returns the whole limit; it is within a range of 32 bits.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it saturates, and what it cuts off is the fraction"
)]
pub(super) const fn whole(limit: f64) -> u32 {
    limit as u32
}

/// Keeps a limit within its range, also one that is no number.
pub(super) fn within(limit: f64, range: &RangeInclusive<u32>) -> f64 {
    limit.max(f64::from(*range.start())).min(f64::from(*range.end()))
}

/// Returns a time in nanoseconds; it is exact up to 104 days.
#[expect(clippy::cast_precision_loss, reason = "longer calls need no nanosecond")]
pub(super) fn nanos(time: Duration) -> f64 {
    crate::time::nanos(time) as f64
}
