#[cfg(feature = "tokio")]
use super::acquire::Acquire;
use super::bucket::Bucket;
use super::builder::Builder;
#[cfg(feature = "tokio")]
use super::call::Call;
use super::quota::{Claim, Quota};
use crate::build_error::BuildError;
use crate::event::Event;
#[cfg(feature = "tokio")]
use crate::link::Link;
use crate::observer::Observer;
use crate::policy_id::PolicyId;
use crate::rejected::{Reason, Rejected};
use crate::shared::is_shared;
use crate::time::nanos;
use cortex_core::{Clock, TscClock};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A rate limiter: lets so many calls through in a period.
///
/// Clones are the same limiter. See [`rate_limit`](super) for how it counts.
///
/// # Performance
///
/// A call reads the clock and changes one word: give it a [`CoarseClock`](cortex_core::CoarseClock) unless milliseconds matter.
/// Nothing is allocated, and nothing is locked.
///
/// # Examples
///
/// ```
/// use cortex_resilience::rate_limit::RateLimiter;
/// use std::time::Duration;
///
/// let mail = RateLimiter::builder("mail").limit(2, Duration::from_mins(1)).build()?;
/// assert!(mail.try_acquire().is_ok() && mail.try_acquire().is_ok());
/// let refused = mail.try_acquire().unwrap_err();
/// assert!(refused.retry_after() <= Some(Duration::from_secs(30)));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub struct RateLimiter<O = (), K = TscClock> {
    pub(super) inner: Arc<Inner<O, K>>,
}

impl RateLimiter {
    /// Begins to set up a limiter with this name, which its observer is told.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }
}

impl<O: Observer, K: Clock> RateLimiter<O, K> {
    /// Lets a call through, or refuses it.
    ///
    /// # Errors
    ///
    /// There is no token; the refusal says when there is one.
    #[inline]
    pub fn try_acquire(&self) -> Result<(), Rejected> {
        self.try_acquire_n(1)
    }

    /// Lets a call through that counts as several, or refuses it; it takes all of the tokens or none.
    ///
    /// # Errors
    ///
    /// There are too few tokens; the refusal says when there are enough. If a full bucket holds fewer, there never are: then
    /// the reason is [`Reason::ExceedsBurst`], and there is no time.
    #[inline]
    pub fn try_acquire_n(&self, tokens: u32) -> Result<(), Rejected> {
        match self.inner.try_claim(tokens) {
            Ok(_) => Ok(()),
            Err(rejected) => Err(self.inner.refuse(rejected)),
        }
    }

    /// Waits for a token, at most as long as [`max_wait`](Builder::max_wait) says and the deadline of the context leaves.
    #[cfg(feature = "tokio")]
    #[inline]
    pub fn acquire(&self) -> Acquire<'_, O, K> {
        self.acquire_n(1)
    }

    /// Waits for several tokens, as [`acquire`](Self::acquire) does for one.
    #[cfg(feature = "tokio")]
    #[inline]
    pub fn acquire_n(&self, tokens: u32) -> Acquire<'_, O, K> {
        Acquire::new(Link::Borrowed(&self.inner), tokens)
    }

    /// Lets a future run once there is a token for it.
    ///
    /// # Errors
    ///
    /// The future's error, or [`Error::Rejected`](super::Error::Rejected): then it was not polled.
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    #[cfg(feature = "tokio")]
    #[inline]
    pub fn call<F>(&self, future: F) -> Call<'_, F, O, K> {
        Call::new(self.acquire(), future)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns what tells it from others; clones have the same.
    pub fn id(&self) -> PolicyId {
        PolicyId::of(&self.inner)
    }

    /// Returns how it is set, and how it stands.
    pub fn snapshot(&self) -> Snapshot {
        self.inner.snapshot()
    }

    /// Takes over the limit, burst and longest wait of a builder. What is missing in the bucket stays missing, in time.
    ///
    /// Calls of the same moment may see the new rate with the old burst.
    ///
    /// # Errors
    ///
    /// A setting makes no sense, and nothing has changed.
    pub fn reload<O2, K2>(&self, settings: &Builder<O2, K2>) -> Result<(), BuildError> {
        self.inner.set(settings.checked()?);
        Ok(())
    }
}

impl<O, K> RateLimiter<O, K> {
    /// Says whether there is another handle, or something that has one.
    pub(crate) fn is_shared(&self) -> bool {
        is_shared(&self.inner)
    }

    /// Says whether the bucket is full.
    pub(crate) fn is_full(&self) -> bool
    where
        O: Observer,
        K: Clock,
    {
        self.inner.bucket.missing(self.inner.now()) == 0
    }
}

impl<O, K> Clone for RateLimiter<O, K> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<O, K> fmt::Debug for RateLimiter<O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// How a limiter is set, and how it stands.
///
/// # Examples
///
/// ```
/// use cortex_resilience::rate_limit::RateLimiter;
/// use std::time::Duration;
///
/// let mail = RateLimiter::builder("mail").limit(2, Duration::from_mins(1)).build()?;
/// mail.try_acquire()?;
/// let snapshot = mail.snapshot();
/// assert_eq!((snapshot.quota.tokens(), snapshot.tokens, snapshot.rejected), (2, 1, 0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The limit.
    pub quota: Quota,
    /// How many tokens there are now.
    pub tokens: u64,
    /// How long callers may wait for one.
    pub max_wait: Duration,
    /// How many calls were refused.
    pub rejected: u64,
}

pub(super) struct Inner<O, K> {
    bucket: Bucket,
    interval: AtomicU64,
    capacity: AtomicU64,
    max_wait: AtomicU64,
    origin: Instant,
    clock: K,
    observer: O,
    pub(super) name: Box<str>,
    rejected: AtomicU64,
}

fn refusal(wait: Option<u64>) -> Rejected {
    match wait {
        Some(wait) => Rejected::new(Reason::RateLimit, Some(Duration::from_nanos(wait))),
        None => Rejected::new(Reason::ExceedsBurst, None),
    }
}

impl<O, K> Inner<O, K> {
    fn set(&self, (quota, max_wait): (Quota, Duration)) {
        let (interval, capacity) = quota.parts();
        self.capacity.store(capacity, Ordering::Relaxed);
        self.interval.store(interval, Ordering::Relaxed);
        self.max_wait.store(nanos(max_wait), Ordering::Relaxed);
    }

    #[inline]
    fn quota(&self) -> Quota {
        Quota::from_parts((
            self.interval.load(Ordering::Relaxed),
            self.capacity.load(Ordering::Relaxed),
        ))
    }

    #[inline]
    fn claim(&self, tokens: u32, now: u64, patience: u64) -> Result<Claim, Option<u64>> {
        self.bucket.claim(self.quota(), tokens, now, patience)
    }

    #[cfg(feature = "tokio")]
    pub(super) fn give_back(&self, claim: Claim) {
        self.bucket.give_back(claim);
    }
}

impl<O: Observer, K: Clock> Inner<O, K> {
    pub(super) fn new(name: Box<str>, settings: (Quota, Duration), observer: O, clock: K) -> Self {
        let inner = Self {
            bucket: Bucket::full(),
            interval: AtomicU64::new(0),
            capacity: AtomicU64::new(0),
            max_wait: AtomicU64::new(0),
            origin: clock.now(),
            clock,
            observer,
            name,
            rejected: AtomicU64::new(0),
        };
        inner.set(settings);
        inner
    }

    /// Returns the time since the limiter was made.
    #[inline]
    fn now(&self) -> u64 {
        nanos(self.clock.now().saturating_duration_since(self.origin))
    }

    /// Takes tokens that are there.
    #[inline]
    pub(super) fn try_claim(&self, tokens: u32) -> Result<Claim, Rejected> {
        self.claim(tokens, self.now(), 0).map_err(refusal)
    }

    /// Takes tokens, or reserves them for a time that the caller can wait for, which is returned.
    #[cfg(feature = "tokio")]
    pub(super) fn reserve(&self, tokens: u32) -> Result<(Claim, Option<Instant>), Rejected> {
        let now = self.now();
        let max_wait = self.max_wait.load(Ordering::Relaxed);
        let claim = match cortex_core::Context::current().deadline() {
            None => self.claim(tokens, now, max_wait).map_err(refusal)?,
            Some(deadline) => {
                let left = nanos(deadline.remaining(self.origin)).saturating_sub(now);
                if left == 0 {
                    return Err(Rejected::new(Reason::Deadline, None));
                }
                // A token that comes with the deadline comes too late.
                let claim = self.claim(tokens, now, max_wait.min(left - 1));
                claim.map_err(|wait| match wait {
                    Some(wait) if wait <= max_wait => {
                        Rejected::new(Reason::Deadline, Some(Duration::from_nanos(wait)))
                    }
                    wait => refusal(wait),
                })?
            }
        };
        let there = self.origin + Duration::from_nanos(now.saturating_add(claim.wait));
        Ok((claim, (claim.wait > 0).then_some(there)))
    }

    /// Returns the refusal of a call whose deadline comes before the tokens, which are there then.
    #[cfg(all(feature = "tokio", feature = "tower"))]
    pub(super) fn too_late(&self, there: Instant) -> Rejected {
        let wait = there.saturating_duration_since(self.clock.now());
        Rejected::new(Reason::Deadline, Some(wait))
    }

    #[cold]
    pub(super) fn refuse(&self, rejected: Rejected) -> Rejected {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        self.observer.on_event(&self.name, &Event::Rejected(rejected));
        rejected
    }

    #[cfg(feature = "tokio")]
    pub(super) fn queued(&self) {
        self.observer.on_event(&self.name, &Event::Queued);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let quota = self.quota();
        let (interval, capacity) = quota.parts();
        let missing = self.bucket.missing(self.now());
        Snapshot {
            quota,
            tokens: capacity.saturating_sub(missing) / interval,
            max_wait: Duration::from_nanos(self.max_wait.load(Ordering::Relaxed)),
            rejected: self.rejected.load(Ordering::Relaxed),
        }
    }
}

impl<O, K> fmt::Debug for Inner<O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("name", &self.name)
            .field("quota", &self.quota())
            .finish_non_exhaustive()
    }
}
