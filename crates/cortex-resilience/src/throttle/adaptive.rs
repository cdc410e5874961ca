use super::builder::Builder;
use super::settings::{Live, Settings};
use super::window::Window;
use crate::build_error::BuildError;
use crate::classify::{Classify, ErrIsFailure};
use crate::event::Event;
#[cfg(all(feature = "http", feature = "tower"))]
use crate::gate::JudgeEnd;
use crate::gate::{Abandoned, Call, Gate, Judge, Permit};
#[cfg(all(feature = "http", feature = "tower"))]
use crate::http::{ClassifyEnd, judge_end};
use crate::observer::Observer;
use crate::outcome::Outcome;
use crate::random::Random;
use crate::rejected::{Reason, Rejected};
use crate::shared::is_shared;
use crate::sync::{AtomicU64, Ordering};
use crate::time;
use cortex_core::{Clock, TscClock};
#[cfg(all(feature = "http", feature = "tower"))]
use http::HeaderMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// Refuses a share of the calls to a dependency that does only a part of them; clones are the same one.
///
/// Of `n` calls that ended in the period, `ok` of them well, the share is `(n - ok / success_threshold) / (n + 1)`, from zero to
/// [`max_rate`](Builder::max_rate). Calls that were refused or ignored are not among them.
///
/// # Performance
///
/// A call reads the clock twice and adds to one word. Nothing is allocated.
///
/// # Examples
///
/// ```
/// use cortex_resilience::throttle::AdaptiveThrottle;
///
/// let throttle = AdaptiveThrottle::builder("search").seed(1).build()?;
/// for _ in 0..99 {
///     throttle.try_acquire()?.success(); // or throttle.call(future)
/// }
/// assert_eq!(throttle.rejection_rate(), 0.0);
/// # let fail = |times| (0..times).filter_map(|_| throttle.try_acquire().ok()).for_each(|permit| permit.failure());
/// fail(400); // so many calls are tried, and those that are let through fail
/// assert!(throttle.rejection_rate() > 0.2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AdaptiveThrottle<C = ErrIsFailure, O = (), K = TscClock> {
    pub(super) inner: Arc<Inner<O, K>>,
    pub(super) classify: C,
}

/// A throttle without what judges results.
pub(super) struct Inner<O, K> {
    settings: Live,
    window: Window,
    rejected: AtomicU64,
    random: Random,
    clock: K,
    origin: Instant,
    observer: O,
    pub(super) name: Box<str>,
}

impl<O: Observer, K: Clock> Inner<O, K> {
    pub(super) fn new(name: Box<str>, settings: Settings, random: Random, (observer, clock): (O, K)) -> Self {
        Self {
            window: Window::new(time::nanos(settings.period)),
            settings: Live::new(settings),
            rejected: AtomicU64::new(0),
            random,
            origin: clock.now(),
            clock,
            observer,
            name,
        }
    }

    fn now(&self) -> u64 {
        time::since(self.origin, &self.clock)
    }

    #[inline]
    pub(super) fn rejection_rate(&self) -> f64 {
        let now = self.now();
        let failed = self.window.failed(now);
        if failed == 0 {
            return 0.0; // whatever the settings are
        }
        self.settings.load().rejection_rate(self.window.ok(now), failed)
    }

    #[cold]
    fn refuse(&self) -> Rejected {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        let rejected = Rejected::new(Reason::Throttled, None);
        self.tell(&Event::Rejected(rejected));
        rejected
    }

    #[inline]
    fn tell(&self, event: &Event) {
        self.observer.on_event(&self.name, event);
    }
}

impl AdaptiveThrottle {
    /// Begins to set up a throttle with this name, which its observer is told.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }
}

impl<C, O: Observer, K: Clock> AdaptiveThrottle<C, O, K> {
    /// Lets a call through, or refuses it. A permit that is dropped does not count.
    ///
    /// # Errors
    ///
    /// Chance has it that this call is not made.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_, Self>, Rejected> {
        Permit::acquire(self)
    }

    /// Lets a call through that outlives this handle, or refuses it.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_owned(&self) -> Result<Permit<'static, Self>, Rejected>
    where
        C: Clone,
    {
        Permit::acquire_owned(self)
    }

    /// Puts a future behind the throttle.
    ///
    /// # Errors
    ///
    /// The future's error, or [`Error::Rejected`](crate::gate::Error::Rejected): then it was not polled.
    ///
    /// # Cancel safety
    ///
    /// See [`Call`]. A call that is dropped does not count; one that panics failed.
    #[inline]
    pub const fn call<F>(&self, future: F) -> Call<'_, F, Self> {
        Call::new(self, future)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns the share of calls that is refused at the moment, 0 to 1.
    pub fn rejection_rate(&self) -> f64 {
        self.inner.rejection_rate()
    }

    /// Returns all there is to know.
    pub fn snapshot(&self) -> Snapshot {
        let now = self.inner.now();
        let (ok, failed) = (self.inner.window.ok(now), self.inner.window.failed(now));
        Snapshot {
            ok,
            failed,
            rejection_rate: self.inner.settings.load().rejection_rate(ok, failed),
            rejected: self.inner.rejected.load(Ordering::Relaxed),
        }
    }

    /// Takes over the settings of a builder: its shares and its minimum of calls. What was counted stays.
    ///
    /// # Errors
    ///
    /// A setting makes no sense, or the period is another one; nothing has changed.
    pub fn reload<C2, O2, K2>(&self, settings: &Builder<C2, O2, K2>) -> Result<(), BuildError> {
        let settings = settings.checked()?;
        if settings.period != self.inner.settings.period {
            let period = format!("{:?}", settings.period);
            return Err(BuildError::new("period", period, "what it was built with"));
        }
        self.inner.settings.store(settings);
        Ok(())
    }
}

impl<C, O: Observer, K: Clock> Gate for AdaptiveThrottle<C, O, K> {
    type Ticket = ();

    #[inline]
    fn admit(&self) -> Result<(), Rejected> {
        let rate = self.inner.rejection_rate();
        if rate > 0.0 && rate >= self.inner.random.unit() {
            return Err(self.inner.refuse());
        }
        Ok(())
    }

    fn refuse(&self) -> Rejected {
        self.inner.refuse()
    }

    #[inline]
    fn finish(&self, (): (), outcome: Outcome) {
        match outcome {
            Outcome::Success => self.inner.window.add(self.inner.now(), true),
            Outcome::Failure => self.inner.window.add(self.inner.now(), false),
            Outcome::Ignore => self.inner.tell(&Event::Ignored),
        }
    }

    fn abandon(&self, (): (), how: Abandoned) {
        self.finish(
            (),
            match how {
                Abandoned::Dropped => Outcome::Ignore,
                Abandoned::Panicked => Outcome::Failure,
            },
        );
    }
}

impl<C: Classify<T, E>, O: Observer, K: Clock, T, E> Judge<T, E> for AdaptiveThrottle<C, O, K> {
    #[inline]
    fn judge(&self, result: Result<&T, &E>) -> Outcome {
        self.classify.outcome(result)
    }
}

#[cfg(all(feature = "http", feature = "tower"))]
impl<C: ClassifyEnd<T, E>, O: Observer, K: Clock, T, E> JudgeEnd<T, E> for AdaptiveThrottle<C, O, K> {
    fn needs_trailers(&self, headers: &HeaderMap) -> bool {
        self.classify.needs_trailers(headers)
    }

    fn judge_end(&self, trailers: Option<&HeaderMap>) -> Outcome {
        judge_end::<T, E, C>(&self.classify, trailers).0
    }

    fn judge_broken(&self, error: &dyn std::any::Any) -> Outcome {
        self.classify.broke(error)
    }
}

impl<C, O, K> AdaptiveThrottle<C, O, K> {
    /// Says whether there is another handle, or a permit that has one.
    pub(crate) fn is_shared(&self) -> bool {
        is_shared(&self.inner)
    }
}

impl<C: Clone, O, K> Clone for AdaptiveThrottle<C, O, K> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            classify: self.classify.clone(),
        }
    }
}

impl<C, O, K> AdaptiveThrottle<C, O, K> {
    /// Changes what judges results.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "only pipelines do"))]
    pub(crate) fn map_classify<D>(self, change: impl FnOnce(C) -> D) -> AdaptiveThrottle<D, O, K> {
        AdaptiveThrottle {
            inner: self.inner,
            classify: change(self.classify),
        }
    }
}

impl<C, O, K> fmt::Debug for AdaptiveThrottle<C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptiveThrottle")
            .field("name", &self.inner.name)
            .field("settings", &self.inner.settings.load())
            .finish_non_exhaustive()
    }
}

/// An [`AdaptiveThrottle`] at one moment.
///
/// # Examples
///
/// ```
/// use cortex_resilience::throttle::AdaptiveThrottle;
///
/// let throttle = AdaptiveThrottle::builder("search").build()?;
/// throttle.try_acquire()?.failure();
/// let snapshot = throttle.snapshot();
/// assert_eq!((snapshot.ok, snapshot.failed, snapshot.rejected), (0, 1, 0));
/// assert_eq!(snapshot.rejection_rate, 0.0); // one call says nothing yet
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// How many calls of the period succeeded.
    pub ok: u64,
    /// How many failed.
    pub failed: u64,
    /// The share of calls that is refused.
    pub rejection_rate: f64,
    /// How many were refused since it was made.
    pub rejected: u64,
}
