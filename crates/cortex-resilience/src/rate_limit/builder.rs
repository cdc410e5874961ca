use super::limiter::{Inner, RateLimiter};
use super::quota::Quota;
use crate::build_error::BuildError;
use crate::observer::Observer;
use cortex_core::{Clock, TscClock};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

/// Sets up a [`RateLimiter`]; made by [`RateLimiter::builder`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::rate_limit::RateLimiter;
///
/// let error = RateLimiter::builder("mail").build().unwrap_err();
/// assert_eq!(error.to_string(), "accept `limit` = unset: it is at least one call, in a period longer than zero");
/// ```
#[derive(Debug)]
pub struct Builder<O = (), K = TscClock> {
    name: String,
    pub(super) rate: Rate,
    max_wait: Duration,
    observer: O,
    clock: K,
}

/// What was set, as it was set.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    pub(super) limit: Option<(u32, Duration)>,
    pub(super) burst: Option<u32>,
}

impl Rate {
    pub(super) fn quota(self) -> Result<Quota, BuildError> {
        let wrong = |value| {
            let allowed = "at least one call, in a period longer than zero";
            BuildError::new("limit", value, allowed)
        };
        let (count, period) = self.limit.ok_or_else(|| wrong("unset".to_owned()))?;
        let count = NonZero::new(count).filter(|_| !period.is_zero());
        let count = count.ok_or_else(|| wrong(format!("{:?}", self.limit.unwrap_or_default())))?;
        let quota = Quota::new(count, period);
        let Some(burst) = self.burst else {
            return Ok(quota);
        };
        let burst = NonZero::new(burst).ok_or_else(|| BuildError::new("burst", "0", "at least 1"))?;
        Ok(quota.burst(burst))
    }
}

impl Builder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            rate: Rate::default(),
            max_wait: Duration::ZERO,
            observer: (),
            clock: TscClock,
        }
    }
}

impl<O, K> Builder<O, K> {
    /// Lets `count` calls through in each `period`. This has to be set.
    #[must_use]
    pub const fn limit(mut self, count: u32, period: Duration) -> Self {
        self.rate.limit = Some((count, period));
        self
    }

    /// Lets so many calls through at once after a quiet time; by default as many as in a period.
    #[must_use]
    pub const fn burst(mut self, calls: u32) -> Self {
        self.rate.burst = Some(calls);
        self
    }

    /// Lets callers wait who can, as long as this; by default nobody waits. No more wait than there are tokens in that time.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub const fn max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = wait;
        self
    }

    /// Sets who hears of events; by default nobody.
    #[must_use]
    pub fn observe<O2: Observer>(self, observer: O2) -> Builder<O2, K> {
        Builder {
            name: self.name,
            rate: self.rate,
            max_wait: self.max_wait,
            observer,
            clock: self.clock,
        }
    }

    /// Sets the clock; by default the operating system's. That of [`max_wait`](Self::max_wait) has to run as tokio's does.
    #[must_use]
    pub fn clock<K2: Clock>(self, clock: K2) -> Builder<O, K2> {
        Builder {
            name: self.name,
            rate: self.rate,
            max_wait: self.max_wait,
            observer: self.observer,
            clock,
        }
    }

    pub(super) fn checked(&self) -> Result<(Quota, Duration), BuildError> {
        Ok((self.rate.quota()?, self.max_wait))
    }
}

impl<O: Observer, K: Clock> Builder<O, K> {
    /// Makes the limiter, with a full bucket.
    ///
    /// # Errors
    ///
    /// A setting makes no sense; the error names it.
    pub fn build(self) -> Result<RateLimiter<O, K>, BuildError> {
        let settings = self.checked()?;
        let name = self.name.into_boxed_str();
        Ok(RateLimiter {
            inner: Arc::new(Inner::new(name, settings, self.observer, self.clock)),
        })
    }
}
