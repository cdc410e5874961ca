//! Times as whole nanoseconds: they saturate, and never wrap.

use cortex_core::Clock;
use std::time::{Duration, Instant};

/// Returns a time as nanoseconds; what is longer than 584 years is cut to that.
#[inline]
pub(crate) fn nanos(time: Duration) -> u64 {
    let whole = time.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(u64::from(time.subsec_nanos()))
}

/// Returns the time since the origin; zero before it.
#[inline]
pub(crate) fn since(origin: Instant, clock: &impl Clock) -> u64 {
    nanos(clock.now().saturating_duration_since(origin))
}
