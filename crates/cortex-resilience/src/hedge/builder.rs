use super::policy::{Hedge, Inner};
use super::settings::{Delay, Settings};
use crate::budget::Budget;
use crate::build_error::BuildError;
use crate::classify::ErrIsFailure;
use crate::observer::Observer;
use crate::policy_error::Through;
use cortex_core::{Clock, TscClock};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Sets up a [`Hedge`]; made by [`Hedge::builder`].
///
/// Unless it is told otherwise, there are at most two attempts, the second a second after the first, and no budget.
///
/// # Examples
///
/// ```
/// use cortex_resilience::hedge::Hedge;
///
/// let error = Hedge::builder("prices").max_attempts(1).build().unwrap_err();
/// assert_eq!(error.to_string(), "accept `max_attempts` = 1: it is 2 to 16");
/// ```
pub struct Builder<C = ErrIsFailure, O = (), K = TscClock> {
    name: String,
    settings: Settings,
    budget: Option<Budget>,
    classify: C,
    observer: O,
    clock: K,
}

impl Builder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            settings: Settings {
                max_attempts: 2,
                delay: Delay::Fixed(Duration::from_secs(1)),
                max_retry_after: Duration::from_mins(1),
            },
            budget: None,
            classify: ErrIsFailure,
            observer: (),
            clock: TscClock,
        }
    }
}

impl<C, O, K> Builder<C, O, K> {
    /// Sets how many attempts there are at most, the first included, 2 to 16; by default 2.
    #[must_use]
    pub const fn max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_attempts = attempts;
        self
    }

    /// Sets how long after one attempt the next is made; zero makes all at once. By default it is a second.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.settings.delay = Delay::Fixed(delay);
        self
    }

    /// Computes how long after the one before the attempt with this number is made, such as from a quantile of latencies. It is
    /// called while the call is polled.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_resilience::hedge::Hedge;
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use std::time::Duration;
    ///
    /// let p95_millis = Arc::new(AtomicU64::new(40)); // kept by whoever measures
    /// let delay = {
    ///     let p95_millis = p95_millis.clone();
    ///     move |_attempt| Duration::from_millis(p95_millis.load(Ordering::Relaxed))
    /// };
    /// let hedge = Hedge::builder("prices").delay_with(delay).build()?;
    /// # Ok::<(), cortex_resilience::BuildError>(())
    /// ```
    #[must_use]
    pub fn delay_with(mut self, delay: impl Fn(u32) -> Duration + Send + Sync + 'static) -> Self {
        self.settings.delay = Delay::Computed(Arc::new(delay));
        self
    }

    /// Sets the longest delay that a dependency may ask for; if it wants more, no attempt follows. By default one minute.
    #[must_use]
    pub const fn max_retry_after(mut self, delay: Duration) -> Self {
        self.settings.max_retry_after = delay;
        self
    }

    /// Sets the budget, which other policies may share; by default there is none.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Sets what judges results; by default an `Err` is a failure, and every failure is worth another attempt.
    #[must_use]
    pub fn classify<C2>(self, classify: C2) -> Builder<C2, O, K> {
        self.with(|_, observer, clock| (classify, observer, clock))
    }

    /// Judges the calls behind a policy, and knows its refusals; once for each policy that is in between.
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
    pub fn build(self) -> Result<Hedge<C, O, K>, BuildError> {
        self.settings.check()?;
        let inner = Inner::new(
            self.name.into_boxed_str(),
            self.settings,
            self.budget,
            (self.observer, self.clock),
        );
        Ok(Hedge {
            inner: Arc::new(inner),
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
