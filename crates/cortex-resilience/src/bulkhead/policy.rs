#[cfg(feature = "tokio")]
use super::acquire::Acquire;
use super::builder::Builder;
#[cfg(feature = "tokio")]
use super::call::Call;
use super::inner::{Inner, Rules, Snapshot};
use super::permit::Permit;
use crate::build_error::BuildError;
use crate::link::Link;
use crate::observer::Observer;
use crate::policy_id::PolicyId;
use crate::rejected::{Reason, Rejected};
use crate::shared::is_shared;
use cortex_core::{Clock, TscClock};
use std::fmt;
use std::sync::Arc;

/// A bulkhead: lets so many calls run at once, and so many wait.
///
/// Clones are the same bulkhead. See [`bulkhead`](super) for who comes first.
///
/// # Performance
///
/// While there are permits, taking one and giving it back are a change of one word each. Threads that get in each other's way have
/// a word each from then on, with permits in advance, as long as a quarter of all are to spare; that memory is made once. Only calls that wait lock, and read the
/// clock if their wait has an end. Nothing is allocated for a call, but for the queue, which keeps what it once needed.
///
/// # Examples
///
/// ```
/// use cortex_resilience::bulkhead::{Bulkhead, Error};
/// use std::time::Duration;
///
/// # async fn search() -> Result<u32, std::io::Error> { Ok(7) }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), cortex_resilience::BuildError> {
/// let bulkhead = Bulkhead::builder("search")
///     .max_concurrent(20)
///     .queue(40)
///     .max_wait(Duration::from_millis(100))
///     .build()?;
/// match bulkhead.call(search()).await {
///     Ok(found) => assert_eq!(found, 7),
///     Err(Error::Rejected(rejected)) => println!("refused: {rejected}"),
///     Err(error) => println!("failed to search: {error}"),
/// }
/// # Ok(())
/// # }
/// ```
pub struct Bulkhead<O = (), K = TscClock> {
    pub(super) inner: Arc<Inner<O, K>>,
}

impl Bulkhead {
    /// Begins to set up a bulkhead with this name, which its observer is told.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }
}

impl<O: Observer, K: Clock> Bulkhead<O, K> {
    /// Lets a call run, or refuses it; it neither waits nor overtakes those who do.
    ///
    /// # Errors
    ///
    /// All permits are out, or others wait for one.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_, O, K>, Rejected> {
        self.take(Link::Borrowed(&self.inner))
    }

    /// Lets a call run that outlives this handle, or refuses it.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    pub fn try_acquire_owned(&self) -> Result<Permit<'static, O, K>, Rejected> {
        self.take(Link::Owned(Arc::clone(&self.inner)))
    }

    #[inline]
    fn take<'a>(&self, link: Link<'a, Arc<Inner<O, K>>>) -> Result<Permit<'a, O, K>, Rejected> {
        if self.inner.try_take() {
            Ok(Permit::new(link))
        } else {
            Err(self.inner.refuse(Reason::Full))
        }
    }

    /// Waits for a permit.
    #[cfg(feature = "tokio")]
    #[inline]
    pub fn acquire(&self) -> Acquire<'_, O, K> {
        Acquire::new(Link::Borrowed(&self.inner))
    }

    /// Waits for a permit that outlives this handle.
    #[cfg(feature = "tokio")]
    pub fn acquire_owned(&self) -> Acquire<'static, O, K> {
        Acquire::new(Link::Owned(Arc::clone(&self.inner)))
    }

    /// Lets a future run once there is a permit for it.
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

    /// Changes how many calls run at once. With more, those who wait begin at once; with fewer, those who run end as they would,
    /// and nobody begins until enough have.
    ///
    /// # Errors
    ///
    /// It is zero, or 2^31 or more; nothing has changed.
    pub fn resize(&self, max_concurrent: u32) -> Result<(), BuildError> {
        let rules = Rules {
            limit: Some(max_concurrent),
            queue: 0,
            max_wait: None,
            older_than: None,
        };
        self.inner.resize(rules.check()?);
        Ok(())
    }

    /// Takes over the settings of a builder: all but its name, observer and clock. Those who wait do so as they began to.
    ///
    /// # Errors
    ///
    /// A setting makes no sense, and nothing has changed.
    pub fn reload<O2, K2>(&self, settings: &Builder<O2, K2>) -> Result<(), BuildError> {
        let limit = settings.rules.check()?;
        self.inner.set(settings.rules);
        self.inner.resize(limit);
        Ok(())
    }
}

impl<O, K> Bulkhead<O, K> {
    /// Says whether there is another handle, or something that has one.
    pub(crate) fn is_shared(&self) -> bool {
        is_shared(&self.inner)
    }
}

impl<O, K> Clone for Bulkhead<O, K> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<O, K> fmt::Debug for Bulkhead<O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
