use super::builder::Rate;
use super::quota::Quota;
use super::table::QuotaTable;
use crate::build_error::BuildError;
use crate::event::Event;
use crate::observer::Observer;
use crate::rejected::{Reason, Rejected};
use crate::shared::is_shared;
use crate::time::nanos;
use cortex_core::{Clock, TscClock};
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A rate limiter for many keys, such as clients or tenants, each of which has a bucket of its own; in memory of a fixed size.
///
/// Clones are the same limiter. Where there are more keys at once than there is room for, new ones share buckets and get less;
/// those who were there before keep theirs, and nobody's is refilled by what others do ([`QuotaTable`]).
///
/// # Performance
///
/// A call reads the clock, hashes the key, and locks one of many small sets for as long as it takes to look through it.
/// Nothing is allocated.
///
/// # Examples
///
/// ```
/// use cortex_resilience::rate_limit::KeyedRateLimiter;
/// use std::time::Duration;
///
/// let sign_ins = KeyedRateLimiter::builder("sign-ins").limit(1, Duration::from_mins(1)).keys(1000).build()?;
/// assert!(sign_ins.try_acquire("ada").is_ok());
/// assert!(sign_ins.try_acquire("ada").is_err());
/// assert!(sign_ins.try_acquire("grace").is_ok());
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub struct KeyedRateLimiter<O = (), K = TscClock, S = RandomState> {
    inner: Arc<Inner<O, K, S>>,
}

struct Inner<O, K, S> {
    name: Box<str>,
    quota: Quota,
    table: QuotaTable,
    hasher: S,
    origin: Instant,
    observer: O,
    clock: K,
    rejected: AtomicU64,
}

impl KeyedRateLimiter {
    /// Begins to set up a limiter with this name, which its observer is told.
    pub fn builder(name: impl Into<String>) -> KeyedBuilder {
        KeyedBuilder {
            name: name.into(),
            rate: Rate::default(),
            keys: KEYS,
            observer: (),
            clock: TscClock,
            hasher: RandomState::new(),
        }
    }
}

/// Room for the clients of a day or of an attack in 2.4 MB.
const KEYS: usize = 1 << 16;
/// 37 GB: more is a mistake.
const MOST_KEYS: usize = 1_000_000_000;

impl<O: Observer, K: Clock, S: BuildHasher> KeyedRateLimiter<O, K, S> {
    /// Lets a call for this key through, or refuses it.
    ///
    /// # Errors
    ///
    /// There is no token; the refusal says when there is one.
    pub fn try_acquire<Q: Hash + ?Sized>(&self, key: &Q) -> Result<(), Rejected> {
        let inner = &*self.inner;
        let now = inner.now();
        let key = inner.hasher.hash_one(key);
        inner
            .table
            .take(inner.quota, key, now)
            .map_err(|wait| inner.refuse(wait))
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns the limit of each key.
    pub fn quota(&self) -> Quota {
        self.inner.quota
    }

    /// Says whether the buckets of all keys are full. It looks at each.
    pub(crate) fn is_full(&self) -> bool {
        self.inner.table.is_full(self.inner.now())
    }

    /// Returns how many calls were refused, whatever their key.
    pub fn rejected(&self) -> u64 {
        self.inner.rejected.load(Ordering::Relaxed)
    }
}

impl<O, K: Clock, S> Inner<O, K, S> {
    #[inline]
    fn now(&self) -> u64 {
        nanos(self.clock.now().saturating_duration_since(self.origin))
    }
}

impl<O: Observer, K, S> Inner<O, K, S> {
    #[cold]
    fn refuse(&self, wait: Duration) -> Rejected {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        let rejected = Rejected::new(Reason::RateLimit, Some(wait));
        self.observer.on_event(&self.name, &Event::Rejected(rejected));
        rejected
    }
}

impl<O, K, S> KeyedRateLimiter<O, K, S> {
    /// Says whether there is another handle.
    pub(crate) fn is_shared(&self) -> bool {
        is_shared(&self.inner)
    }
}

impl<O, K, S> Clone for KeyedRateLimiter<O, K, S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<O, K, S> fmt::Debug for KeyedRateLimiter<O, K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimiter")
            .field("name", &self.inner.name)
            .field("quota", &self.inner.quota)
            .finish_non_exhaustive()
    }
}

/// Sets up a [`KeyedRateLimiter`]; made by [`KeyedRateLimiter::builder`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::rate_limit::KeyedRateLimiter;
/// use std::time::Duration;
///
/// let builder = KeyedRateLimiter::builder("sign-ins").limit(5, Duration::from_secs(1)).burst(0);
/// assert_eq!(builder.build().unwrap_err().field(), "burst");
/// ```
pub struct KeyedBuilder<O = (), K = TscClock, S = RandomState> {
    name: String,
    rate: Rate,
    keys: usize,
    observer: O,
    clock: K,
    hasher: S,
}

impl<O, K, S> KeyedBuilder<O, K, S> {
    /// Lets `count` calls of each key through in each `period`. This has to be set.
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

    /// Makes room for about so many keys, at most 1,000,000,000, each of which takes 37 bytes, used or not; by default 65,536.
    #[must_use]
    pub const fn keys(mut self, keys: usize) -> Self {
        self.keys = keys;
        self
    }

    /// Sets who hears of events; by default nobody.
    #[must_use]
    pub fn observe<O2: Observer>(self, observer: O2) -> KeyedBuilder<O2, K, S> {
        self.with(|_, clock, hasher| (observer, clock, hasher))
    }

    /// Sets the clock; by default the operating system's.
    #[must_use]
    pub fn clock<K2: Clock>(self, clock: K2) -> KeyedBuilder<O, K2, S> {
        self.with(|observer, _, hasher| (observer, clock, hasher))
    }

    /// Sets what hashes keys; by default with secret random numbers, so that nobody can choose whose bucket to share.
    #[must_use]
    pub fn hasher<S2: BuildHasher>(self, hasher: S2) -> KeyedBuilder<O, K, S2> {
        self.with(|observer, clock, _| (observer, clock, hasher))
    }

    fn with<O2, K2, S2>(self, change: impl FnOnce(O, K, S) -> (O2, K2, S2)) -> KeyedBuilder<O2, K2, S2> {
        let (observer, clock, hasher) = change(self.observer, self.clock, self.hasher);
        KeyedBuilder {
            name: self.name,
            rate: self.rate,
            keys: self.keys,
            observer,
            clock,
            hasher,
        }
    }
}

impl<O: Observer, K: Clock, S: BuildHasher> KeyedBuilder<O, K, S> {
    /// Makes the limiter, with full buckets.
    ///
    /// # Errors
    ///
    /// A setting makes no sense; the error names it.
    pub fn build(self) -> Result<KeyedRateLimiter<O, K, S>, BuildError> {
        let quota = self.rate.quota()?;
        let fits = (1..=MOST_KEYS).contains(&self.keys);
        let Some(table) = fits.then(|| QuotaTable::try_new(self.keys)).flatten() else {
            let allowed = "1 to 1000000000, as far as there is memory";
            return Err(BuildError::new("keys", self.keys.to_string(), allowed));
        };
        let inner = Inner {
            name: self.name.into_boxed_str(),
            quota,
            table,
            hasher: self.hasher,
            origin: self.clock.now(),
            observer: self.observer,
            clock: self.clock,
            rejected: AtomicU64::new(0),
        };
        Ok(KeyedRateLimiter {
            inner: Arc::new(inner),
        })
    }
}

impl<O, K, S> fmt::Debug for KeyedBuilder<O, K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedBuilder")
            .field("name", &self.name)
            .field("rate", &self.rate)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}
