use super::backoff::RetryCx;
use super::builder::Builder;
use super::error::GaveUp;
use super::presets;
use super::progress::{Progress, Retries, Verdict};
use super::settings::{ServerDelay, Settings};
use crate::budget::{Budget, Cost};
use crate::build_error::BuildError;
use crate::classify::{Classify, ErrIsFailure, Pushback};
use crate::event::Event;
use crate::observer::Observer;
use crate::outcome::Outcome;
use crate::random::Random;
use crate::rejected::{Reason, Rejected};
use crate::shared::is_shared;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::time::nanos;
use crate::total::Total;
use cortex_core::{Clock, Context, Deadline, TscClock};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Tries again what failed.
///
/// Clones are the same policy. See [`retry`](super) for what it does when.
///
/// # Performance
///
/// A call whose first attempt succeeds reads two numbers, and the clock only where there is a deadline. Nothing is allocated
/// for it, nor is a timer made.
///
/// # Examples
///
/// ```
/// use cortex_resilience::budget::Budget;
/// use cortex_resilience::retry::{Backoff, Jitter, Retry};
/// use std::time::Duration;
///
/// # async fn charge() -> Result<u32, std::io::Error> { Ok(7) }
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let retry = Retry::builder("payments")
///     .max_attempts(4)
///     .backoff(Backoff::exponential(Duration::from_millis(50)).jitter(Jitter::Full))
///     .within(Duration::from_secs(3))
///     .budget(Budget::windowed(0.2).build()?)
///     .build()?;
/// # #[cfg(feature = "tokio")]
/// assert_eq!(retry.call(|_attempt| charge()).await?, 7);
/// # Ok(())
/// # }
/// # let mut run = Box::pin(run());
/// # assert!(run.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready());
/// ```
pub struct Retry<C = ErrIsFailure, O = (), K = TscClock> {
    pub(super) inner: Arc<Inner<O, K>>,
    pub(super) classify: C,
}

impl Retry {
    /// Begins to set up a policy with this name, which its observer is told.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    /// Begins to set up a policy as gRPC's proposal A6 has it: `initial * multiplier^(n - 1)`, at most `max`, with a fifth to
    /// either side; at most 5 attempts; pushback exactly as it is. Its throttle is [`Budget::throttle`].
    pub fn grpc(name: impl Into<String>, initial: Duration, max: Duration, multiplier: f64) -> Builder {
        presets::grpc(Builder::new(name.into()), initial, max, multiplier)
    }

    /// Begins to set up a policy as AWS's standard retries are as of version 2.1: 3 attempts; anything up to 50 ms, doubled
    /// each time, or to a second after throttling, at most 20 s; a delay that the service asks for within 5 s of that; and
    /// a bucket of its own, [`Budget::aws`].
    pub fn aws(name: impl Into<String>) -> Builder {
        presets::aws(Builder::new(name.into()))
    }
}

impl<C, O: Observer, K: Clock> Retry<C, O, K> {
    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns the budget, if there is one.
    pub fn budget(&self) -> Option<&Budget> {
        self.inner.budget.as_ref()
    }

    /// Takes over the settings of a builder: all but its name, budget, seed, classifier, observer and clock. Calls that have
    /// failed once keep theirs, and so do those of a layer that were to have one attempt.
    ///
    /// # Errors
    ///
    /// A setting makes no sense, and nothing has changed.
    pub fn reload<C2, O2, K2>(&self, settings: &Builder<C2, O2, K2>) -> Result<(), BuildError> {
        let settings = settings.checked()?;
        self.inner
            .within
            .store(or_no_limit(settings.within), Ordering::Relaxed);
        #[cfg(all(feature = "tokio", feature = "tower"))]
        self.inner
            .max_attempts
            .store(settings.max_attempts.into(), Ordering::Relaxed);
        *lock(&self.inner.settings) = Arc::new(settings);
        Ok(())
    }
}

impl<C, O, K> Retry<C, O, K> {
    /// Says whether there is another handle, or something that has one.
    pub(crate) fn is_shared(&self) -> bool {
        is_shared(&self.inner)
    }
}

impl<C: Clone, O, K> Clone for Retry<C, O, K> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            classify: self.classify.clone(),
        }
    }
}

impl<C, O, K> Retry<C, O, K> {
    /// Changes what judges results.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "only pipelines do"))]
    pub(crate) fn map_classify<D>(self, change: impl FnOnce(C) -> D) -> Retry<D, O, K> {
        Retry {
            inner: self.inner,
            classify: change(self.classify),
        }
    }
}

impl<C, O, K> fmt::Debug for Retry<C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry")
            .field("name", &self.inner.name)
            .field("settings", &*lock(&self.inner.settings))
            .field("budget", &self.inner.budget)
            .finish_non_exhaustive()
    }
}

pub(super) struct Inner<O, K> {
    pub(super) name: Box<str>,
    /// Read once an attempt has failed.
    settings: Mutex<Arc<Settings>>,
    /// What every call reads of them: nanoseconds, [`NO_LIMIT`] if there is none.
    within: AtomicU64,
    #[cfg(all(feature = "tokio", feature = "tower"))]
    max_attempts: AtomicU64,
    pub(super) budget: Option<Budget>,
    random: Random,
    observer: O,
    clock: K,
}

const NO_LIMIT: u64 = u64::MAX;

fn or_no_limit(within: Option<Duration>) -> u64 {
    within.map_or(NO_LIMIT, nanos)
}

impl<O, K> Inner<O, K> {
    pub(super) fn new(
        name: Box<str>,
        settings: Settings,
        (budget, random): (Option<Budget>, Random),
        (observer, clock): (O, K),
    ) -> Self {
        Self {
            name,
            within: AtomicU64::new(or_no_limit(settings.within)),
            #[cfg(all(feature = "tokio", feature = "tower"))]
            max_attempts: AtomicU64::new(settings.max_attempts.into()),
            settings: Mutex::new(Arc::new(settings)),
            budget,
            random,
            observer,
            clock,
        }
    }

    /// Says whether nothing is tried twice, so that nothing has to be kept for that.
    #[cfg(all(feature = "tokio", feature = "tower"))]
    pub(super) fn has_one_attempt(&self) -> bool {
        self.max_attempts.load(Ordering::Relaxed) == 1
    }
}

impl<O: Observer, K: Clock> Inner<O, K> {
    /// Sets the deadline of a call that begins.
    ///
    /// # Errors
    ///
    /// Nobody waits for it any more.
    #[inline]
    pub(super) fn begin(&self, progress: &mut Progress<'_>) -> Result<(), Rejected> {
        let caller = Context::current().deadline();
        let within = self.within.load(Ordering::Relaxed);
        if caller.is_none() && within == NO_LIMIT {
            return Ok(());
        }
        self.begin_limited(progress, caller, within)
    }

    fn begin_limited(
        &self,
        progress: &mut Progress<'_>,
        caller: Option<Deadline>,
        within: u64,
    ) -> Result<(), Rejected> {
        if caller.is_some_and(|deadline| Total::is_past(deadline, &self.clock)) {
            let rejected = Rejected::new(Reason::Deadline, None);
            self.tell(|| Event::Rejected(rejected));
            return Err(rejected);
        }
        progress.deadline = caller;
        if within != NO_LIMIT {
            let own = Deadline::after(self.clock.now(), Duration::from_nanos(within));
            progress.deadline = Some(caller.map_or(own, |caller| caller.min(own)));
            progress.is_own_deadline = true;
        }
        Ok(())
    }

    /// Says whether the time for another attempt is over.
    pub(super) fn is_late(&self, progress: &Progress<'_>) -> bool {
        progress
            .deadline
            .is_some_and(|deadline| deadline.is_past(self.clock.now()))
    }

    /// Says what comes after an attempt that was no success.
    pub(super) fn judge<T, E>(
        &self,
        classify: &impl Classify<T, E>,
        progress: &mut Progress<'_>,
        outcome: Outcome,
        result: Result<&T, &E>,
    ) -> Verdict {
        let running = progress.running.take();
        if let Some(rejected) = classify.rejected(result) {
            return self.rejected(progress, rejected);
        }
        let retryable = classify.is_retryable(result);
        let pushback = classify.pushback(result);
        if let Some(running) = running
            && (retryable || pushback == Some(Pushback::Stop))
        {
            running.failed();
        }
        if outcome == Outcome::Ignore && !retryable {
            return Verdict::GiveUp(GaveUp::NotRetryable, None); // nothing to tell of
        }
        if !retryable || !progress.is_repeatable {
            return self.give_up(progress, GaveUp::NotRetryable);
        }
        let settings = self.settings(progress);
        if pushback == Some(Pushback::Stop) {
            return self.give_up(progress, GaveUp::Pushback);
        }
        if progress.is_used_up(&settings) {
            return self.give_up(progress, GaveUp::Attempts);
        }
        let throttling = classify.is_throttling(result);
        let delay = match (pushback, settings.server_delay) {
            (Some(Pushback::After(delay)), ServerDelay::Exact) => {
                if delay > settings.max_retry_after {
                    return self.give_up(progress, GaveUp::Pushback);
                }
                if let Some(retries) = &mut progress.retries {
                    retries.restart();
                }
                delay
            }
            (Some(Pushback::After(delay)), ServerDelay::Clamped(more)) => {
                let computed = self.compute(&settings, progress, throttling);
                delay.clamp(computed, computed.saturating_add(more))
            }
            _ => self.compute(&settings, progress, throttling),
        };
        let cost = match (throttling, classify.is_timeout(result)) {
            (true, _) => Cost::Throttling,
            (_, true) => Cost::Timeout,
            _ => Cost::Retry,
        };
        self.schedule(progress, delay, cost)
    }

    fn rejected(&self, progress: &mut Progress<'_>, rejected: Rejected) -> Verdict {
        let settings = self.settings(progress);
        if !settings.waits_out_rejections || !progress.is_repeatable {
            return self.give_up(progress, GaveUp::of(rejected));
        }
        if progress.is_used_up(&settings) {
            return self.give_up(progress, GaveUp::Attempts);
        }
        let delay = match rejected.retry_after() {
            Some(delay) if delay > settings.max_retry_after => {
                return self.give_up(progress, GaveUp::of(rejected));
            }
            Some(delay) => delay,
            None => self.compute(&settings, progress, false),
        };
        self.schedule(progress, delay, Cost::Retry)
    }

    /// Returns the settings that the call keeps from its first failure on.
    fn settings(&self, progress: &mut Progress<'_>) -> Arc<Settings> {
        let read = || Retries::new(Arc::clone(&lock(&self.settings)));
        Arc::clone(&progress.retries.get_or_insert_with(read).settings)
    }

    fn compute(&self, settings: &Settings, progress: &mut Progress<'_>, throttling: bool) -> Duration {
        let Some(retries) = &mut progress.retries else {
            unreachable!("the settings are of it")
        };
        retries.retry = retries.retry.saturating_add(1);
        let cx = RetryCx {
            retry: retries.retry,
            attempts: progress.attempts,
            previous: retries.previous,
            throttling,
        };
        let delay = settings.backoff(throttling).delay(&cx, self.random.unit());
        retries.previous = Some(delay);
        delay
    }

    fn schedule(&self, progress: &mut Progress<'_>, delay: Duration, cost: Cost) -> Verdict {
        if let Some(deadline) = progress.deadline
            && Deadline::after(self.clock.now(), delay) >= deadline
        {
            return self.give_up(progress, GaveUp::Deadline);
        }
        Verdict::Retry { delay, cost }
    }

    pub(super) fn scheduled(&self, progress: &Progress<'_>, delay: Duration) {
        self.tell(|| Event::RetryScheduled {
            retry: progress.attempts,
            delay,
        });
    }

    pub(super) fn give_up(&self, progress: &Progress<'_>, reason: GaveUp) -> Verdict {
        let attempts = progress.attempts;
        self.tell(|| Event::GaveUp { reason, attempts });
        Verdict::GiveUp(reason, None)
    }

    fn tell(&self, event: impl FnOnce() -> Event) {
        self.observer.on_event(&self.name, &event());
    }
}
