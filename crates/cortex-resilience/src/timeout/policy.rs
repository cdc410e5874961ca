use super::builder::Builder;
use super::call::Call;
use super::inner::{Inner, Snapshot};
use crate::build_error::BuildError;
use crate::link::Link;
use crate::observer::Observer;
use crate::policy_id::PolicyId;
use crate::shared::is_shared;
use cortex_core::{Clock, TscClock};
use std::fmt;
use std::sync::Arc;

/// A timeout: gives calls so much time, and no more than the deadline of the context leaves.
///
/// Clones are the same timeout. See [`timeout`](super) for when the time begins.
///
/// # Performance
///
/// A call that is ready at once costs a look at the context, and with a limit of all attempts a reading of the clock, which a
/// [`CoarseClock`](cortex_core::CoarseClock) makes one of memory. One that waits reads the clock once and makes one timer.
/// Nothing is allocated.
///
/// # Examples
///
/// ```
/// use cortex_resilience::timeout::{Error, Kind, Timeout};
/// use std::time::Duration;
///
/// # async fn search() -> Result<u32, std::io::Error> { std::future::pending().await }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), cortex_resilience::BuildError> {
/// let timeout = Timeout::builder("search").attempt(Duration::from_millis(200)).build()?;
/// match timeout.call(search()).await {
///     Ok(found) => println!("{found} results"),
///     Err(Error::TimedOut(timed_out)) => assert_eq!(timed_out.kind(), Kind::Attempt),
///     Err(error) => println!("failed to search: {error}"),
/// }
/// # Ok(())
/// # }
/// ```
pub struct Timeout<O = (), K = TscClock> {
    pub(super) inner: Arc<Inner<O, K>>,
}

impl Timeout {
    /// Begins to set up a timeout with this name, which its observer is told.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }
}

impl<O: Observer, K: Clock> Timeout<O, K> {
    /// Gives a future the time.
    ///
    /// # Errors
    ///
    /// The future's error, or [`Error::TimedOut`](super::Error::TimedOut). If the deadline was past, it was not polled.
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    #[inline]
    pub fn call<F>(&self, future: F) -> Call<'_, F, O, K> {
        Call::new(Link::Borrowed(&self.inner), future)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns what tells it from others; clones have the same.
    pub fn id(&self) -> PolicyId {
        PolicyId::of(&self.inner)
    }

    /// Returns how it is set, and what it did.
    pub fn snapshot(&self) -> Snapshot {
        self.inner.snapshot()
    }

    /// Takes over the limit of a builder. Calls that wait already keep theirs.
    ///
    /// # Errors
    ///
    /// A setting makes no sense, and nothing has changed.
    pub fn reload<O2, K2>(&self, settings: &Builder<O2, K2>) -> Result<(), BuildError> {
        self.inner.set_limit(settings.checked()?);
        Ok(())
    }
}

impl<O, K> Timeout<O, K> {
    /// Says whether there is another handle, or something that has one.
    pub(crate) fn is_shared(&self) -> bool {
        is_shared(&self.inner)
    }
}

impl<O, K> Clone for Timeout<O, K> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<O, K> fmt::Debug for Timeout<O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
