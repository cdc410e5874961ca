use super::limit::{Limit, Sample};
use crate::build_error::BuildError;
use cortex_core::{Clock, TscClock};
use std::time::{Duration, Instant};

/// Makes one sample of many: their mean time, the most calls that were under way, and whether any failed.
///
/// Single times scatter, and where calls are many their mean says more. A window ends with the first call after its time, once it
/// has enough samples. Calls that took less than 100 us are left out, but for those that failed: such a time is rather that of an
/// answer from a cache.
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::{AdaptiveLimit, Gradient2, Windowed};
/// use std::time::Duration;
///
/// let limit = Windowed::new(Gradient2::new(1..=200), Duration::from_secs(1));
/// AdaptiveLimit::builder("search", limit).build()?;
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Windowed<L, K = TscClock> {
    limit: L,
    clock: K,
    length: Duration,
    min_samples: u32,
    min_rtt: Duration,
    /// When the window began; `None` before its first sample.
    since: Option<Instant>,
    samples: u32,
    sum: Duration,
    in_flight: u32,
    failed: bool,
    /// Whether any call began after the limit fell last.
    fresh: bool,
}

impl<L> Windowed<L> {
    /// Gives an algorithm one sample for each window of this length, made of 10 calls or more.
    pub const fn new(limit: L, length: Duration) -> Self {
        Self::with_clock(limit, length, TscClock)
    }
}

impl<L, K> Windowed<L, K> {
    /// Makes one that takes the time from this clock.
    pub const fn with_clock(limit: L, length: Duration, clock: K) -> Self {
        Self {
            limit,
            clock,
            length,
            min_samples: 10,
            min_rtt: Duration::from_micros(100),
            since: None,
            samples: 0,
            sum: Duration::ZERO,
            in_flight: 0,
            failed: false,
            fresh: false,
        }
    }

    /// Sets how many samples a window has at least; by default 10.
    #[must_use]
    pub const fn min_samples(mut self, samples: u32) -> Self {
        self.min_samples = samples;
        self
    }

    /// Sets below what time a call that succeeded is left out; by default 100 us.
    #[must_use]
    pub const fn min_rtt(mut self, rtt: Duration) -> Self {
        self.min_rtt = rtt;
        self
    }

    fn add(&mut self, sample: &Sample) {
        self.samples = self.samples.saturating_add(1);
        self.sum = self.sum.saturating_add(sample.rtt);
        self.in_flight = self.in_flight.max(sample.in_flight);
        self.failed |= sample.failed;
        self.fresh |= !sample.stale;
    }

    /// Returns the window as one sample, and begins the next.
    fn take(&mut self) -> Sample {
        let sample = Sample {
            in_flight: self.in_flight,
            rtt: self.sum / self.samples.max(1),
            failed: self.failed,
            stale: !self.fresh,
        };
        self.since = None;
        (self.samples, self.sum, self.in_flight) = (0, Duration::ZERO, 0);
        (self.failed, self.fresh) = (false, false);
        sample
    }
}

impl<L: Limit, K: Clock> Limit for Windowed<L, K> {
    fn limit(&self) -> u32 {
        self.limit.limit()
    }

    fn update(&mut self, sample: &Sample) -> u32 {
        if sample.rtt < self.min_rtt && !sample.failed {
            return self.limit();
        }
        let now = self.clock.now();
        let since = *self.since.get_or_insert(now);
        self.add(sample);
        if self.samples >= self.min_samples && now.saturating_duration_since(since) >= self.length {
            let window = self.take();
            return self.limit.update(&window);
        }
        self.limit()
    }

    fn is_overload(&self, _: &Sample) -> bool {
        false // the limit falls with a window, and not before
    }

    fn resume(&mut self, limit: u32) {
        self.limit.resume(limit);
    }

    fn check(&self) -> Result<(), BuildError> {
        self.limit.check()?;
        if self.length.is_zero() {
            return Err(BuildError::new("length", "0ns", "longer than zero"));
        }
        if self.min_samples == 0 {
            return Err(BuildError::new("min_samples", "0", "at least 1"));
        }
        Ok(())
    }
}
