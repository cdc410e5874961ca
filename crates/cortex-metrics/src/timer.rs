use std::fmt;
use std::time::{Duration, Instant};

use cortex_core::Clock;

use crate::Histogram;

/// Measures from its start to its drop into a [`Histogram`], in seconds, however the scope is left.
///
/// # Examples
///
/// ```
/// use cortex_core::SystemClock;
/// use cortex_metrics::{Buckets, Histogram};
///
/// let latency = Histogram::classic(&Buckets::http_seconds());
/// {
///     let _timer = latency.start_timer(SystemClock);
/// }
/// latency.start_timer(SystemClock).discard();
/// assert_eq!(latency.snapshot().count(), 1);
/// ```
#[must_use = "a timer that is dropped at once measures nothing"]
pub struct Timer<C: Clock> {
    histogram: Histogram,
    clock: C,
    start: Instant,
    armed: bool,
}

impl<C: Clock> Timer<C> {
    pub(crate) fn start(histogram: Histogram, clock: C) -> Self {
        let start = clock.now();
        Self {
            histogram,
            clock,
            start,
            armed: true,
        }
    }

    /// Counts the time since the start and returns it.
    pub fn stop(mut self) -> Duration {
        self.armed = false;
        let elapsed = self.elapsed();
        self.histogram.observe_duration(elapsed);
        elapsed
    }

    /// Ends the timer without counting anything.
    pub fn discard(mut self) {
        self.armed = false;
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.start)
    }
}

impl<C: Clock> Drop for Timer<C> {
    fn drop(&mut self) {
        if self.armed {
            self.histogram.observe_duration(self.elapsed());
        }
    }
}

impl<C: Clock> fmt::Debug for Timer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}
