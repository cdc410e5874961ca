use super::breaker::Breaker;
use super::half_open::HalfOpen;
use super::inner::Inner;
use super::saved::StateSink;
use super::settings::{BreakCx, Dropped, Settings};
use super::state::State;
use super::window::Window;
use crate::build_error::BuildError;
use crate::classify::ErrIsFailure;
use crate::observer::Observer;
use crate::slot::{self, SLOTS};
use cortex_core::{Clock, TscClock};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Sets up a [`Breaker`]; made by [`Breaker::builder`].
///
/// Unless it is told otherwise, a breaker opens for 60 s once half of the calls of the last 60 s failed, and there were at
/// least 5; then it lets 5 through.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::Breaker;
///
/// let error = Breaker::builder("payments").failure_rate(50.0).build().unwrap_err();
/// assert_eq!(error.to_string(), "accept `failure_rate` = 50: it is above 0 and at most 1");
/// ```
pub struct Builder<C = ErrIsFailure, O = (), K = TscClock> {
    name: String,
    settings: Settings,
    initial: State,
    shards: Option<usize>,
    sink: Option<Arc<dyn StateSink>>,
    classify: C,
    observer: O,
    clock: K,
}

impl Builder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            settings: Settings::default(),
            initial: State::Closed,
            shards: None,
            sink: None,
            classify: ErrIsFailure,
            observer: (),
            clock: TscClock,
        }
    }
}

impl<C, O, K> Builder<C, O, K> {
    /// Sets which votes are judged; by default those of the last 60 s.
    #[must_use]
    pub const fn window(mut self, window: Window) -> Self {
        self.settings.window = window;
        self
    }

    /// Sets the share of failed votes that opens it, above 0 and at most 1; by default 0.5.
    #[must_use]
    pub const fn failure_rate(mut self, rate: f64) -> Self {
        self.settings.failure_rate = rate;
        self
    }

    /// Makes calls slow that take longer than this, and sets the share of them that opens it, above 0 and at most 1. By default
    /// no call is slow.
    #[must_use]
    pub const fn slow_call(mut self, threshold: Duration, rate: f64) -> Self {
        self.settings.slow_call = Some((threshold, rate));
        self
    }

    /// Sets how many votes there have to be before a rate says anything; by default 5. A window that holds fewer needs as many
    /// as it holds.
    #[must_use]
    pub const fn min_calls(mut self, calls: u32) -> Self {
        self.settings.min_calls = calls;
        self
    }

    /// Sets how it probes; by default with 5 permits, for at most one minute.
    #[must_use]
    pub const fn half_open(mut self, half_open: HalfOpen) -> Self {
        self.settings.half_open = Some(half_open);
        self
    }

    /// Sets how long it stays open; by default 60 s.
    #[must_use]
    pub const fn break_for(mut self, wait: Duration) -> Self {
        self.settings.break_for = wait;
        self
    }

    /// Computes how long it stays open, once for each time it opens, on the thread of the call that opens it.
    ///
    /// If the function panics, the break is the [fixed one](Self::break_for), and the panic goes on unless the call that opens it
    /// panicked itself.
    #[must_use]
    pub fn break_with(mut self, compute: impl Fn(&BreakCx) -> Duration + Send + Sync + 'static) -> Self {
        self.settings.break_with = Some(Arc::new(compute));
        self
    }

    /// Sets what a call says that is dropped before its end; by default nothing.
    #[must_use]
    pub const fn on_drop(mut self, dropped: Dropped) -> Self {
        self.settings.on_drop = dropped;
        self
    }

    /// Once it has recovered, lets a share of the calls through that grows to all of them over this time, from `floor`, above 0
    /// and at most 1. By default it lets all through at once.
    #[must_use]
    pub const fn ramp_up(mut self, time: Duration, floor: f64) -> Self {
        self.settings.ramp_up = Some((time, floor));
        self
    }

    /// Sets the state it begins in; by default closed.
    #[must_use]
    pub const fn initial(mut self, state: State) -> Self {
        self.initial = state;
        self
    }

    /// Sets how many threads count in memory of their own, at most 64; others share. By default twice as many as there are
    /// processors. With 0, for where there is a breaker for each of many keys, one with the default window takes less than a kibibyte,
    /// and 1.2 once a call was slow: 4 bytes a bucket, and then 8, up to 65,535 votes in one.
    #[must_use]
    pub const fn shards(mut self, threads: usize) -> Self {
        self.shards = Some(threads);
        self
    }

    /// Sets who hears of transitions, to share them with other instances.
    #[must_use]
    pub fn sink(mut self, sink: Arc<dyn StateSink>) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Sets what judges results; by default an `Err` is a failure.
    #[must_use]
    pub fn classify<C2>(self, classify: C2) -> Builder<C2, O, K> {
        self.with(|_, observer, clock| (classify, observer, clock))
    }

    /// Sets who hears of events; by default nobody.
    #[must_use]
    pub fn observe<O2: Observer>(self, observer: O2) -> Builder<C, O2, K> {
        self.with(|classify, _, clock| (classify, observer, clock))
    }

    /// Sets the clock; by default the operating system's, which is exact and slow.
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
            initial: self.initial,
            shards: self.shards,
            sink: self.sink,
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
    /// Makes the breaker.
    ///
    /// # Errors
    ///
    /// A setting makes no sense; the error names it.
    pub fn build(self) -> Result<Breaker<C, O, K>, BuildError> {
        self.settings.check()?;
        if let Some(shards) = self.shards.filter(|shards| *shards > SLOTS) {
            return Err(BuildError::new(
                "shards",
                shards.to_string(),
                "at most 64 threads",
            ));
        }
        let shards = self.shards.unwrap_or_else(slot::threads);
        let (name, parts) = (self.name.into_boxed_str(), (self.observer, self.clock));
        let inner = Inner::new(name, self.settings, shards, parts, self.sink);
        inner.begin(self.initial);
        Ok(Breaker {
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
            .field("initial", &self.initial)
            .finish_non_exhaustive()
    }
}
