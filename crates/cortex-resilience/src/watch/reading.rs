use crate::circuit::Snapshot;
use std::time::Duration;

/// A policy, whatever its observer and clock are.
pub(crate) trait Look: Send + Sync {
    fn name(&self) -> &str;

    fn look(&self) -> Reading;
}

/// How a policy stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reading {
    Adaptive {
        in_flight: u32,
        limit: u32,
    },
    Breaker {
        snapshot: Snapshot,
        /// How long the break goes on.
        left: Duration,
    },
    Bulkhead {
        in_use: u32,
        max_concurrent: u32,
        waiting: u32,
        queue: u32,
    },
    RateLimit {
        tokens: u64,
        burst: u64,
    },
    /// The share of calls that is refused.
    Throttle(f64),
}
