use super::backoff::Backoff;
use super::policy::{Inner, Retry};
use super::settings::{ServerDelay, Settings};
use crate::budget::Budget;
use crate::build_error::BuildError;
use crate::classify::ErrIsFailure;
use crate::observer::Observer;
use crate::policy_error::Through;
use crate::random::Random;
use cortex_core::{Clock, TscClock};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Sets up a [`Retry`]; made by [`Retry::builder`].
///
/// Unless it is told otherwise, there are at most three attempts, with a delay of up to 100 ms before the second and of up to
/// 200 ms before the third, and no budget.
///
/// # Examples
///
/// ```
/// use cortex_resilience::retry::Retry;
///
/// let error = Retry::builder("payments").max_attempts(0).build().unwrap_err();
/// assert_eq!(error.to_string(), "accept `max_attempts` = 0: it is at least 1");
/// ```
pub struct Builder<C = ErrIsFailure, O = (), K = TscClock> {
    name: String,
    settings: Settings,
    budget: Option<Budget>,
    random: Random,
    classify: C,
    observer: O,
    clock: K,
}

impl Builder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            settings: Settings::default(),
            budget: None,
            random: Random::default(),
            classify: ErrIsFailure,
            observer: (),
            clock: TscClock,
        }
    }
}

impl<C, O, K> Builder<C, O, K> {
    /// Sets how many attempts there are at most, the first included; by default 3.
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_attempts = attempts;
        self
    }

    /// Sets how long to wait before each retry; by default exponentially from 100 ms to 10 s, with full jitter.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.settings.backoff = backoff;
        self
    }

    /// Sets how long to wait before a retry if the dependency has too much to do; by default as before others.
    #[must_use]
    pub fn throttling_backoff(mut self, backoff: Backoff) -> Self {
        self.settings.throttling_backoff = Some(backoff);
        self
    }

    /// Sets how long after the beginning of the call an attempt may begin, in addition to the deadline of the
    /// [`Context`](cortex_core::Context). By default there is no limit.
    ///
    /// Attempts see it as the deadline of their context. It ends none of them: what shrinks to a deadline does that inside, and
    /// counts as a timeout there, unlike the deadline of the caller.
    #[must_use]
    pub const fn within(mut self, time: Duration) -> Self {
        self.settings.within = Some(time);
        self
    }

    /// Sets the longest delay that a dependency may ask for; if it wants more, the policy gives up. By default one minute.
    #[must_use]
    pub const fn max_retry_after(mut self, delay: Duration) -> Self {
        self.settings.max_retry_after = delay;
        self
    }

    /// Heeds a delay that a dependency asks for between the computed one and so much more, and takes the nearer end
    /// otherwise. By default it is exactly the delay, and the backoff begins anew after it.
    #[must_use]
    pub const fn clamp_retry_after(mut self, more: Duration) -> Self {
        self.settings.server_delay = ServerDelay::Clamped(more);
        self
    }

    /// Waits out the refusals of policies inside, for as long as they say and at most [`max_retry_after`](Self::max_retry_after).
    /// By default a refusal is the end. Needs a classifier that knows them: see [`through`](Self::through).
    #[must_use]
    pub const fn wait_out_rejections(mut self) -> Self {
        self.settings.waits_out_rejections = true;
        self
    }

    /// Sets the budget, which other policies may share; by default there is none.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    #[cfg(feature = "tokio")]
    pub(crate) const fn has_budget(&self) -> bool {
        self.budget.is_some()
    }

    /// Makes the jitter the same in every run.
    #[must_use]
    pub const fn seed(mut self, seed: u64) -> Self {
        self.random = Random::seeded(seed);
        self
    }

    /// Sets what judges results; by default an `Err` is a failure, and every failure is worth another attempt.
    #[must_use]
    pub fn classify<C2>(self, classify: C2) -> Builder<C2, O, K> {
        self.with(|_, observer, clock| (classify, observer, clock))
    }

    /// Judges the calls behind a policy, and knows its refusals; once for each policy that is in between.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_resilience::circuit::{self, Breaker};
    /// use cortex_resilience::retry::{GaveUp, Retry};
    /// use std::time::Duration;
    ///
    /// let breaker = Breaker::builder("payments").build()?;
    /// let retry = Retry::builder("payments").through().build()?;
    /// breaker.force_open();
    /// let call = || breaker.try_acquire().map(|_permit| ()).map_err(circuit::Error::<()>::Rejected);
    /// let error = retry.call_blocking(|_| call(), &|_: Duration| ()).unwrap_err();
    /// assert_eq!((error.gave_up(), error.attempts()), (Some(GaveUp::CircuitOpen), 1));
    /// # Ok::<(), cortex_resilience::BuildError>(())
    /// ```
    #[must_use]
    pub fn through(self) -> Builder<Through<C>, O, K> {
        self.with(|classify, observer, clock| (Through(classify), observer, clock))
    }

    /// Sets who hears of events; by default nobody.
    #[must_use]
    pub fn observe<O2: Observer>(self, observer: O2) -> Builder<C, O2, K> {
        self.with(|classify, _, clock| (classify, observer, clock))
    }

    /// Sets the clock; by default the operating system's. It is read only where there is a deadline.
    #[must_use]
    pub fn clock<K2: Clock>(self, clock: K2) -> Builder<C, O, K2> {
        self.with(|classify, observer, _| (classify, observer, clock))
    }

    /// Puts parts of other types in place of some.
    fn with<C2, O2, K2>(self, change: impl FnOnce(C, O, K) -> (C2, O2, K2)) -> Builder<C2, O2, K2> {
        let (classify, observer, clock) = change(self.classify, self.observer, self.clock);
        Builder {
            name: self.name,
            settings: self.settings,
            budget: self.budget,
            random: self.random,
            classify,
            observer,
            clock,
        }
    }

    pub(super) fn checked(&self) -> Result<Settings, BuildError> {
        self.settings.check()?;
        Ok(self.settings.clone())
    }
}

impl<C, O: Observer, K: Clock> Builder<C, O, K> {
    /// Makes the policy.
    ///
    /// # Errors
    ///
    /// A setting makes no sense; the error names it.
    pub fn build(self) -> Result<Retry<C, O, K>, BuildError> {
        self.settings.check()?;
        Ok(Retry {
            inner: Arc::new(Inner::new(
                self.name.into_boxed_str(),
                self.settings,
                (self.budget, self.random),
                (self.observer, self.clock),
            )),
            classify: self.classify,
        })
    }
}

impl<C, O, K> fmt::Debug for Builder<C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}
