//! Times as [`Clock::nanos`](cortex_core::Clock::nanos) counts: they saturate, and never wrap.

use std::time::Duration;

/// No time: it never comes.
pub(super) const NEVER: u64 = u64::MAX;

pub(super) use crate::time::nanos;

/// Returns how long it is until then, zero if it is past.
#[inline]
pub(super) const fn until(then: u64, now: u64) -> Duration {
    Duration::from_nanos(then.saturating_sub(now))
}
