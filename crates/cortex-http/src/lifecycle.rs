use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// How long each phase of the end may take.
///
/// A drain goes: readiness fails, connections are still accepted for `drain_delay`; the listener closes and what is
/// under way gets `drain_timeout` to finish; the rest is cut and reported; telemetry gets `flush_timeout`; the admin
/// port closes last.
///
/// # Examples
///
/// ```
/// use cortex_http::Lifecycle;
/// use std::time::Duration;
///
/// let lifecycle = Lifecycle::kubernetes().drain_timeout(Duration::from_secs(10));
/// assert!(lifecycle.total() < Duration::from_secs(30)); // Kubernetes' default grace period
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Lifecycle {
    pub(crate) drain_delay: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) flush_timeout: Duration,
}

impl Lifecycle {
    /// For a process that nobody routes traffic to: no delay, 10 s to drain, 3 s to flush.
    pub const fn local() -> Self {
        Self::of(0, 10, 3)
    }

    /// For a pod with the default grace period of 30 s: 5 s until the endpoints are updated, 15 s to drain, 3 s to
    /// flush.
    pub const fn kubernetes() -> Self {
        Self::of(5, 15, 3)
    }

    const fn of(delay: u64, drain: u64, flush: u64) -> Self {
        Self {
            drain_delay: Duration::from_secs(delay),
            drain_timeout: Duration::from_secs(drain),
            flush_timeout: Duration::from_secs(flush),
        }
    }

    /// Goes on accepting connections for this long after readiness failed.
    #[must_use]
    pub const fn drain_delay(mut self, delay: Duration) -> Self {
        self.drain_delay = delay;
        self
    }

    /// Lets requests that are under way finish within this time.
    #[must_use]
    pub const fn drain_timeout(mut self, limit: Duration) -> Self {
        self.drain_timeout = limit;
        self
    }

    /// Lets the exporters send what they still hold within this time.
    #[must_use]
    pub const fn flush_timeout(mut self, limit: Duration) -> Self {
        self.flush_timeout = limit;
        self
    }

    /// Returns the longest time from the signal to the exit, but for up to a second and a half in which connections that
    /// are cut and the admin port close.
    pub fn total(&self) -> Duration {
        self.drain_delay
            .saturating_add(self.drain_timeout)
            .saturating_add(self.flush_timeout)
    }
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::local()
    }
}

/// Where in its life the service is; it only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    Running,
    Draining,
    Closing,
    Cut,
}

/// A [`Phase`] that every request reads with one relaxed load.
#[derive(Debug)]
pub(crate) struct PhaseCell(AtomicU8);

impl PhaseCell {
    pub(crate) const fn new() -> Self {
        Self(AtomicU8::new(Phase::Running as u8))
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::Relaxed);
    }

    pub(crate) fn reached(&self, phase: Phase) -> bool {
        self.0.load(Ordering::Relaxed) >= phase as u8
    }

    pub(crate) fn as_f64(&self) -> f64 {
        f64::from(self.0.load(Ordering::Relaxed))
    }
}
