use super::adaptive::{AdaptiveThrottle, Inner};
use super::settings::Settings;
use crate::build_error::BuildError;
use crate::classify::ErrIsFailure;
use crate::observer::Observer;
use crate::random::Random;
use cortex_core::{Clock, TscClock};
use std::sync::Arc;
use std::time::Duration;

/// Sets up an [`AdaptiveThrottle`]; made by [`AdaptiveThrottle::builder`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::throttle::AdaptiveThrottle;
///
/// let error = AdaptiveThrottle::builder("search").max_rate(90.0).build().unwrap_err();
/// assert_eq!(error.to_string(), "accept `max_rate` = 90: it is above 0 and at most 1");
/// ```
#[derive(Debug)]
pub struct Builder<C = ErrIsFailure, O = (), K = TscClock> {
    name: String,
    settings: Settings,
    random: Random,
    classify: C,
    observer: O,
    clock: K,
}

impl Builder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            settings: Settings {
                success_threshold: 0.5,
                max_rate: 0.9,
                min_calls: 10,
                period: Duration::from_mins(2),
            },
            random: Random::default(),
            classify: ErrIsFailure,
            observer: (),
            clock: TscClock,
        }
    }
}

impl<C, O, K> Builder<C, O, K> {
    /// Sets the share of calls that has to succeed for all to be let through, above 0 and at most 1; by default 0.5.
    ///
    /// It is the inverse of what the book calls K: with 0.5, K is 2.
    #[must_use]
    pub const fn success_threshold(mut self, share: f64) -> Self {
        self.settings.success_threshold = share;
        self
    }

    /// Sets the share of calls that is refused at most, above 0 and at most 1; by default 0.9. With 1, a dependency that has failed
    /// for a whole period is not tried before the period is over.
    #[must_use]
    pub const fn max_rate(mut self, share: f64) -> Self {
        self.settings.max_rate = share;
        self
    }

    /// Sets how many calls there have to be in the period before any is refused; by default 10.
    #[must_use]
    pub fn min_calls(mut self, calls: u32) -> Self {
        self.settings.min_calls = u64::from(calls);
        self
    }

    /// Sets for how long a call counts, from one second to a day; by default two minutes. It leaves in steps of a tenth of that.
    #[must_use]
    pub const fn period(mut self, period: Duration) -> Self {
        self.settings.period = period;
        self
    }

    /// Has the same random numbers in every run.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = Random::seeded(seed);
        self
    }

    /// Sets what judges results; by default an `Err` is a failure.
    #[must_use]
    pub fn classify<C2>(self, classify: C2) -> Builder<C2, O, K> {
        Builder {
            name: self.name,
            settings: self.settings,
            random: self.random,
            classify,
            observer: self.observer,
            clock: self.clock,
        }
    }

    /// Sets who hears of events; by default nobody.
    #[must_use]
    pub fn observe<O2: Observer>(self, observer: O2) -> Builder<C, O2, K> {
        Builder {
            name: self.name,
            settings: self.settings,
            random: self.random,
            classify: self.classify,
            observer,
            clock: self.clock,
        }
    }

    /// Sets the clock; by default the operating system's. A coarse one is as good here.
    #[must_use]
    pub fn clock<K2: Clock>(self, clock: K2) -> Builder<C, O, K2> {
        Builder {
            name: self.name,
            settings: self.settings,
            random: self.random,
            classify: self.classify,
            observer: self.observer,
            clock,
        }
    }

    pub(super) fn checked(&self) -> Result<Settings, BuildError> {
        self.settings.check()?;
        Ok(self.settings)
    }
}

impl<C, O: Observer, K: Clock> Builder<C, O, K> {
    /// Makes the throttle.
    ///
    /// # Errors
    ///
    /// A setting makes no sense.
    pub fn build(self) -> Result<AdaptiveThrottle<C, O, K>, BuildError> {
        let settings = self.checked()?;
        let name = self.name.into_boxed_str();
        let parts = (self.observer, self.clock);
        Ok(AdaptiveThrottle {
            inner: Arc::new(Inner::new(name, settings, self.random, parts)),
            classify: self.classify,
        })
    }
}
