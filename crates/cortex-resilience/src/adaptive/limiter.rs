use super::builder::Builder;
use super::inner::Inner;
use super::limit::Limit;
use super::ticket::{End, Started, Ticket};
use crate::build_error::BuildError;
use crate::classify::{Classify, ErrIsFailure};
#[cfg(all(feature = "http", feature = "tower"))]
use crate::gate::JudgeEnd;
use crate::gate::{Abandoned, Call, Gate, Judge, Permit};
#[cfg(all(feature = "http", feature = "tower"))]
use crate::http::{ClassifyEnd, judge_end};
use crate::observer::Observer;
use crate::outcome::Outcome;
use crate::rejected::Rejected;
use crate::shared::is_shared;
use cortex_core::{Clock, TscClock};
#[cfg(all(feature = "http", feature = "tower"))]
use http::HeaderMap;
use std::fmt;
use std::sync::Arc;

/// A limit of concurrency that an algorithm moves; clones are the same one.
///
/// See [`adaptive`](super) for what it does when.
///
/// # Performance
///
/// A call is let through after a load and a compare-and-swap, and its end is counted under a lock that is held for some arithmetic.
/// The clock is read at both ends. Nothing is allocated.
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::{AdaptiveLimit, Vegas};
/// use cortex_resilience::gate::Error;
///
/// # async fn search() -> Result<u32, std::io::Error> { Ok(7) }
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let limit = AdaptiveLimit::builder("search", Vegas::new(1..=500)).build()?;
/// match limit.call(search()).await {
///     Ok(hits) => assert_eq!(hits, 7),
///     Err(Error::Rejected(rejected)) => println!("{rejected}"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok(())
/// # }
/// # let mut run = Box::pin(run());
/// # assert!(run.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready());
/// ```
pub struct AdaptiveLimit<L, C = ErrIsFailure, O = (), K = TscClock> {
    pub(super) inner: Arc<Inner<L, O, K>>,
    pub(super) classify: C,
}

impl<L: Limit> AdaptiveLimit<L> {
    /// Begins to set up a limiter with this name, which its observer is told, and this algorithm.
    pub fn builder(name: impl Into<String>, limit: L) -> Builder<L> {
        Builder::new(name.into(), limit)
    }
}

impl<L: Limit, C, O: Observer, K: Clock> AdaptiveLimit<L, C, O, K> {
    /// Lets a call through, or refuses it. Dropping the permit frees its place without a sample.
    ///
    /// # Errors
    ///
    /// As many calls are under way as may be.
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

    /// Puts a future behind the limit.
    ///
    /// # Errors
    ///
    /// The future's error, or [`Error::Rejected`](crate::gate::Error::Rejected): then it was not polled.
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    #[inline]
    pub const fn call<F>(&self, future: F) -> Call<'_, F, Self> {
        Call::new(self, future)
    }

    /// Lets a call through whose time somebody else keeps. Each ticket is to be handed back to [`leave`](Self::leave).
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    #[inline]
    pub fn enter(&self) -> Result<Ticket, Rejected> {
        self.inner.enter()
    }

    /// Ends a call that [`enter`](Self::enter) let through.
    pub fn leave(&self, ticket: Ticket, end: End) {
        self.inner.leave(ticket, end);
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns how many calls may be under way at once.
    pub fn limit(&self) -> u32 {
        self.inner.limit()
    }

    /// Returns how many are.
    pub fn in_flight(&self) -> u32 {
        self.inner.in_flight()
    }

    /// Returns all there is to know.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            limit: self.limit(),
            in_flight: self.in_flight(),
            rejected: self.inner.rejected(),
        }
    }

    /// Goes on with another algorithm, or the same with other settings, from the limit that was found so far.
    ///
    /// # Errors
    ///
    /// A setting makes no sense, and nothing has changed.
    pub fn reload(&self, limit: L) -> Result<(), BuildError> {
        limit.check()?;
        self.inner.replace(limit);
        Ok(())
    }
}

impl<L: Limit, C, O: Observer, K: Clock> Gate for AdaptiveLimit<L, C, O, K> {
    type Ticket = Started;

    #[inline]
    fn admit(&self) -> Result<Started, Rejected> {
        let ticket = self.inner.enter()?;
        // The clock is the user's: if it panics, the place is free again.
        let place = Place(&self.inner);
        let start = self.inner.clock.now();
        place.keep();
        Ok(Started { ticket, start })
    }

    fn refuse(&self) -> Rejected {
        self.inner.refuse()
    }

    #[inline]
    fn finish(&self, started: Started, outcome: Outcome) {
        if outcome == Outcome::Ignore {
            return self.inner.ignore();
        }
        let place = Place(&self.inner);
        let now = self.inner.clock.now();
        place.keep();
        let rtt = now.saturating_duration_since(started.start);
        let end = match outcome {
            Outcome::Success => End::Success(rtt),
            _ => End::Failed(rtt),
        };
        self.inner.leave(started.ticket, end);
    }

    fn abandon(&self, _: Started, _: Abandoned) {
        self.inner.ignore();
    }

    fn turns_away(&self) -> bool {
        self.in_flight() >= self.limit()
    }
}

/// A place that is freed when somebody else's code panics.
struct Place<'a, L: Limit, O: Observer, K>(&'a Inner<L, O, K>);

impl<L: Limit, O: Observer, K> Place<'_, L, O, K> {
    #[expect(clippy::mem_forget, reason = "it owns nothing")]
    const fn keep(self) {
        std::mem::forget(self);
    }
}

impl<L: Limit, O: Observer, K> Drop for Place<'_, L, O, K> {
    fn drop(&mut self) {
        self.0.ignore();
    }
}

impl<L, C, O, K, T, E> Judge<T, E> for AdaptiveLimit<L, C, O, K>
where
    L: Limit,
    C: Classify<T, E>,
    O: Observer,
    K: Clock,
{
    #[inline]
    fn judge(&self, result: Result<&T, &E>) -> Outcome {
        self.classify.outcome(result)
    }
}

#[cfg(all(feature = "http", feature = "tower"))]
impl<L, C, O, K, T, E> JudgeEnd<T, E> for AdaptiveLimit<L, C, O, K>
where
    L: Limit,
    C: ClassifyEnd<T, E>,
    O: Observer,
    K: Clock,
{
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

impl<L, C, O, K> AdaptiveLimit<L, C, O, K> {
    /// Says whether there is another handle, or a permit that has one.
    pub(crate) fn is_shared(&self) -> bool {
        is_shared(&self.inner)
    }
}

impl<L, C: Clone, O, K> Clone for AdaptiveLimit<L, C, O, K> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            classify: self.classify.clone(),
        }
    }
}

impl<L, C, O, K> AdaptiveLimit<L, C, O, K> {
    /// Changes what judges results.
    #[cfg_attr(not(feature = "tokio"), expect(dead_code, reason = "only pipelines do"))]
    pub(crate) fn map_classify<D>(self, change: impl FnOnce(C) -> D) -> AdaptiveLimit<L, D, O, K> {
        AdaptiveLimit {
            inner: self.inner,
            classify: change(self.classify),
        }
    }
}

impl<L: Limit, C, O: Observer, K: Clock> fmt::Debug for AdaptiveLimit<L, C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdaptiveLimit")
            .field("name", &self.name())
            .field("limit", &self.limit())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// An [`AdaptiveLimit`] at one moment.
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::{AdaptiveLimit, Vegas};
///
/// let limit = AdaptiveLimit::builder("search", Vegas::new(1..=1)).build()?;
/// let _only = limit.try_acquire()?;
/// assert!(limit.try_acquire().is_err());
/// let snapshot = limit.snapshot();
/// assert_eq!((snapshot.limit, snapshot.in_flight, snapshot.rejected), (1, 1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// How many calls may be under way at once.
    pub limit: u32,
    /// How many are.
    pub in_flight: u32,
    /// How many were refused.
    pub rejected: u64,
}
