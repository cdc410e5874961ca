use super::composed::Pipeline;
use super::policy::Policy;
use super::tuples::All;
use crate::budget::Budget;
use crate::build_error::BuildError;
use crate::bulkhead::{self, Bulkhead};
use crate::circuit::{self, Breaker};
use crate::classify::ErrIsFailure;
use crate::observer::Observer;
use crate::rate_limit::RateLimiter;
use crate::retry::{self, Retry};
use crate::timeout::Timeout;
use cortex_core::{Clock, TscClock};
use std::fmt;
use std::time::Duration;

/// What [`Pipeline::standard`] makes: rate limit, total timeout, retry, breaker, attempt timeout.
pub type Standard<L = (), C = ErrIsFailure, O = (), K = TscClock> =
    Pipeline<All<(L, Timeout<O, K>, Retry<C, O, K>, Breaker<C, O, K>, Timeout<O, K>)>>;

/// What [`Pipeline::outer_breaker`] makes: breaker, retry, bulkhead, attempt timeout.
pub type OuterBreaker<C = ErrIsFailure, O = (), K = TscClock> =
    Pipeline<All<(Breaker<C, O, K>, Retry<C, O, K>, Bulkhead<O, K>, Timeout<O, K>)>>;

/// What both orders have.
struct Common<C, O, K> {
    name: String,
    attempt_timeout: Option<Duration>,
    retry: retry::Builder,
    breaker: circuit::Builder,
    classify: C,
    observer: O,
    clock: K,
}

/// The share of retries that a dependency is to bear at most.
const RETRIES: f64 = 0.2;

/// How long an attempt takes at most, unless somebody says otherwise.
const ATTEMPT: Duration = Duration::from_secs(10);

impl Common<ErrIsFailure, (), TscClock> {
    fn new(name: String) -> Self {
        Self {
            attempt_timeout: None,
            retry: Retry::builder(name.as_str()),
            breaker: Breaker::builder(name.as_str()),
            name,
            classify: ErrIsFailure,
            observer: (),
            clock: TscClock,
        }
    }
}

impl<C, O, K> Common<C, O, K> {
    fn classify<C2>(self, classify: C2) -> Common<C2, O, K> {
        Common {
            name: self.name,
            attempt_timeout: self.attempt_timeout,
            retry: self.retry,
            breaker: self.breaker,
            classify,
            observer: self.observer,
            clock: self.clock,
        }
    }

    fn observe<O2>(self, observer: O2) -> Common<C, O2, K> {
        Common {
            name: self.name,
            attempt_timeout: self.attempt_timeout,
            retry: self.retry,
            breaker: self.breaker,
            classify: self.classify,
            observer,
            clock: self.clock,
        }
    }

    fn clock<K2>(self, clock: K2) -> Common<C, O, K2> {
        Common {
            name: self.name,
            attempt_timeout: self.attempt_timeout,
            retry: self.retry,
            breaker: self.breaker,
            classify: self.classify,
            observer: self.observer,
            clock,
        }
    }
}

/// The policies that both orders have.
type Built<C, O, K> = (Retry<C, O, K>, Breaker<C, O, K>, Timeout<O, K>);

impl<C: Clone, O: Observer + Clone, K: Clock + Clone + 'static> Common<C, O, K> {
    fn build(self, attempt_timeout: Duration) -> Result<Built<C, O, K>, BuildError> {
        let Self {
            classify,
            observer,
            clock,
            mut retry,
            ..
        } = self;
        if !retry.has_budget() {
            retry = retry.budget(Budget::windowed(RETRIES).clock(clock.clone()).build()?);
        }
        let retry = retry
            .classify(classify.clone())
            .observe(observer.clone())
            .clock(clock.clone());
        let breaker = self
            .breaker
            .classify(classify)
            .observe(observer.clone())
            .clock(clock.clone());
        let timeout = Timeout::builder(self.name)
            .attempt(attempt_timeout)
            .observe(observer)
            .clock(clock);
        Ok((retry.build()?, breaker.build()?, timeout.build()?))
    }
}

/// Sets up the usual pipeline; made by [`Pipeline::standard`].
///
/// Unless it is told otherwise there is no rate limit, a call takes 30 s at most and an attempt a third of that, and never more than
/// 10 s; three attempts with a delay of up to 100 ms and of up to 200 ms, as long as retries are not more than a fifth of the calls
/// of the last 10 s and 10 each second beside; and the breaker opens as [`Breaker`]s do by default.
///
/// # Examples
///
/// ```
/// use cortex_resilience::pipeline::{Pipeline, Standard};
/// use cortex_resilience::rate_limit::RateLimiter;
/// use std::time::Duration;
///
/// let limiter = RateLimiter::builder("payments").limit(100, Duration::from_secs(1)).build()?;
/// let payments: Standard<RateLimiter> = Pipeline::standard("payments")
///     .rate_limit(limiter)
///     .total_timeout(Duration::from_secs(3))
///     .retry(|retry| retry.max_attempts(4))
///     .breaker(|breaker| breaker.failure_rate(0.3))
///     .attempt_timeout(Duration::from_millis(800))
///     .build()?;
/// # drop(payments);
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[must_use = "it does nothing until it is built"]
pub struct StandardBuilder<L = (), C = ErrIsFailure, O = (), K = TscClock> {
    limit: L,
    total_timeout: Duration,
    common: Common<C, O, K>,
}

impl StandardBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            limit: (),
            total_timeout: Duration::from_secs(30),
            common: Common::new(name),
        }
    }
}

impl<L, C, O, K> StandardBuilder<L, C, O, K> {
    /// Puts a rate limit outside of everything; by default there is none.
    pub fn rate_limit<O2, K2>(
        self,
        limit: RateLimiter<O2, K2>,
    ) -> StandardBuilder<RateLimiter<O2, K2>, C, O, K> {
        StandardBuilder {
            limit,
            total_timeout: self.total_timeout,
            common: self.common,
        }
    }

    /// Sets how long a call takes at most, with all its attempts and the pauses between them; by default 30 s.
    pub const fn total_timeout(mut self, time: Duration) -> Self {
        self.total_timeout = time;
        self
    }

    /// Sets how long an attempt takes at most, which is less than the call may take: an attempt that the end of the call cuts short
    /// is no vote. By default a third of that, and at most 10 s.
    pub const fn attempt_timeout(mut self, time: Duration) -> Self {
        self.common.attempt_timeout = Some(time);
        self
    }

    /// Changes how it is tried again. By default the budget is one of [`windowed`](Budget::windowed) 20 %
    /// with its reserve, on the clock of the pipeline.
    pub fn retry(mut self, set: impl FnOnce(retry::Builder) -> retry::Builder) -> Self {
        self.common.retry = set(self.common.retry);
        self
    }

    /// Changes when the breaker opens and closes.
    pub fn breaker(mut self, set: impl FnOnce(circuit::Builder) -> circuit::Builder) -> Self {
        self.common.breaker = set(self.common.breaker);
        self
    }

    /// Sets what results mean; by default every error is a failure.
    pub fn classify<C2>(self, classify: C2) -> StandardBuilder<L, C2, O, K> {
        StandardBuilder {
            limit: self.limit,
            total_timeout: self.total_timeout,
            common: self.common.classify(classify),
        }
    }

    /// Sets who hears of what all of the policies decide; by default nobody.
    pub fn observe<O2: Observer>(self, observer: O2) -> StandardBuilder<L, C, O2, K> {
        StandardBuilder {
            limit: self.limit,
            total_timeout: self.total_timeout,
            common: self.common.observe(observer),
        }
    }

    /// Sets the clock of all of them, which runs as tokio's does; by default the operating system's.
    pub fn clock<K2: Clock>(self, clock: K2) -> StandardBuilder<L, C, O, K2> {
        StandardBuilder {
            limit: self.limit,
            total_timeout: self.total_timeout,
            common: self.common.clock(clock),
        }
    }
}

impl<L: Policy, C: Clone, O: Observer + Clone, K: Clock + Clone + 'static> StandardBuilder<L, C, O, K> {
    /// Makes the pipeline.
    ///
    /// # Errors
    ///
    /// A setting makes no sense; the error names it.
    pub fn build(self) -> Result<Standard<L, C, O, K>, BuildError> {
        let Self {
            limit,
            total_timeout,
            common,
        } = self;
        let total = Timeout::builder(common.name.as_str()).total(total_timeout);
        let total = total
            .observe(common.observer.clone())
            .clock(common.clock.clone())
            .build()?;
        let attempt = match common.attempt_timeout {
            Some(time) if time >= total_timeout => {
                let given = format!("{time:?}");
                return Err(BuildError::new(
                    "attempt_timeout",
                    given,
                    "shorter than `total_timeout`",
                ));
            }
            Some(time) => time,
            None => (total_timeout / 3).clamp(Duration::from_nanos(1), ATTEMPT),
        };
        let (retry, breaker, attempt) = common.build(attempt)?;
        Ok(Pipeline::new((limit, total, retry, breaker, attempt)))
    }
}

impl<L, C, O, K> fmt::Debug for StandardBuilder<L, C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandardBuilder")
            .field("name", &self.common.name)
            .finish_non_exhaustive()
    }
}

/// Sets up the pipeline whose breaker is outside; made by [`Pipeline::outer_breaker`].
///
/// Unless it is told otherwise, 100 attempts run at once and as many wait; an attempt takes 10 s at most, its wait not counted; retry
/// and breaker are as of [`StandardBuilder`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::pipeline::{OuterBreaker, Pipeline};
///
/// let search: OuterBreaker = Pipeline::outer_breaker("search")
///     .bulkhead(|bulkhead| bulkhead.max_concurrent(16).queue(32))
///     .build()?;
/// # drop(search);
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[must_use = "it does nothing until it is built"]
pub struct OuterBreakerBuilder<C = ErrIsFailure, O = (), K = TscClock> {
    bulkhead: bulkhead::Builder,
    common: Common<C, O, K>,
}

impl OuterBreakerBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            bulkhead: Bulkhead::builder(name.as_str()).max_concurrent(100).queue(100),
            common: Common::new(name),
        }
    }
}

impl<C, O, K> OuterBreakerBuilder<C, O, K> {
    /// Changes how many attempts run at once, and who waits.
    pub fn bulkhead(mut self, set: impl FnOnce(bulkhead::Builder) -> bulkhead::Builder) -> Self {
        self.bulkhead = set(self.bulkhead);
        self
    }

    /// Sets how long an attempt takes at most; by default 10 s.
    pub const fn attempt_timeout(mut self, time: Duration) -> Self {
        self.common.attempt_timeout = Some(time);
        self
    }

    /// Changes how it is tried again. By default the budget is one of [`windowed`](Budget::windowed) 20 %
    /// with its reserve, on the clock of the pipeline.
    pub fn retry(mut self, set: impl FnOnce(retry::Builder) -> retry::Builder) -> Self {
        self.common.retry = set(self.common.retry);
        self
    }

    /// Changes when the breaker opens and closes.
    pub fn breaker(mut self, set: impl FnOnce(circuit::Builder) -> circuit::Builder) -> Self {
        self.common.breaker = set(self.common.breaker);
        self
    }

    /// Sets what results mean; by default every error is a failure.
    pub fn classify<C2>(self, classify: C2) -> OuterBreakerBuilder<C2, O, K> {
        OuterBreakerBuilder {
            bulkhead: self.bulkhead,
            common: self.common.classify(classify),
        }
    }

    /// Sets who hears of what all of the policies decide; by default nobody.
    pub fn observe<O2: Observer>(self, observer: O2) -> OuterBreakerBuilder<C, O2, K> {
        OuterBreakerBuilder {
            bulkhead: self.bulkhead,
            common: self.common.observe(observer),
        }
    }

    /// Sets the clock of all of them, which runs as tokio's does; by default the operating system's.
    pub fn clock<K2: Clock>(self, clock: K2) -> OuterBreakerBuilder<C, O, K2> {
        OuterBreakerBuilder {
            bulkhead: self.bulkhead,
            common: self.common.clock(clock),
        }
    }
}

impl<C: Clone, O: Observer + Clone, K: Clock + Clone + 'static> OuterBreakerBuilder<C, O, K> {
    /// Makes the pipeline.
    ///
    /// # Errors
    ///
    /// A setting makes no sense; the error names it.
    pub fn build(self) -> Result<OuterBreaker<C, O, K>, BuildError> {
        let Self { bulkhead, common } = self;
        let bulkhead = bulkhead
            .observe(common.observer.clone())
            .clock(common.clock.clone())
            .build()?;
        let attempt = common.attempt_timeout.unwrap_or(ATTEMPT);
        let (retry, breaker, attempt) = common.build(attempt)?;
        Ok(Pipeline::new((breaker, retry, bulkhead, attempt)))
    }
}

impl<C, O, K> fmt::Debug for OuterBreakerBuilder<C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OuterBreakerBuilder")
            .field("name", &self.common.name)
            .finish_non_exhaustive()
    }
}
