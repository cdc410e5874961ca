//! Policies of specifications.

use super::backoff::{Backoff, Jitter};
use super::builder::Builder;
use crate::budget::Budget;
use std::time::Duration;

/// gRPC proposal A6.
pub(super) fn grpc(builder: Builder, initial: Duration, max: Duration, multiplier: f64) -> Builder {
    let backoff = Backoff::exponential(initial)
        .factor(multiplier)
        .cap(max)
        .cap_before_jitter()
        .jitter(Jitter::Proportional(0.2));
    builder
        .max_attempts(5)
        .backoff(backoff)
        .max_retry_after(Duration::MAX)
}

/// AWS standard retries, version 2.1.
pub(super) fn aws(builder: Builder) -> Builder {
    let backoff = |base| {
        Backoff::exponential(base)
            .cap(Duration::from_secs(20))
            .cap_before_jitter()
            .jitter(Jitter::Full)
    };
    builder
        .max_attempts(3)
        .backoff(backoff(Duration::from_millis(50)))
        .throttling_backoff(backoff(Duration::from_secs(1)))
        .clamp_retry_after(Duration::from_secs(5))
        .budget(Budget::aws())
}
