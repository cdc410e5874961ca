use super::policy::{Busy, ShedPolicy};
use crate::event::Event;
use crate::gate::{Abandoned, Call, Gate, Judge, Permit};
use crate::observer::Observer;
use crate::outcome::Outcome;
use crate::rejected::{Reason, Rejected};
use crate::shared::is_shared;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Refuses calls while there is too much to do; clones are the same one.
///
/// See [`load_shed`](super) for what it does when.
///
/// # Examples
///
/// ```
/// use cortex_resilience::gate::Error;
/// use cortex_resilience::load_shed::LoadShed;
///
/// # async fn search() -> Result<u32, std::io::Error> { Ok(7) }
/// # let done = async {
/// let shed = LoadShed::builder("search").policy(|| false).build();
/// match shed.call(search()).await {
///     Ok(hits) => assert_eq!(hits, 7),
///     Err(Error::Rejected(rejected)) => println!("{rejected}"),
///     Err(error) => return Err(error),
/// }
/// # Ok(())
/// # };
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(matches!(Box::pin(done).as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(()))));
/// ```
pub struct LoadShed<P = Busy, O = ()> {
    inner: Arc<Inner<P, O>>,
}

struct Inner<P, O> {
    policy: P,
    retry_after: Option<Duration>,
    rejected: AtomicU64,
    observer: O,
    name: Box<str>,
}

impl LoadShed {
    /// Begins to set one up with this name, which its observer is told.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder {
            name: name.into(),
            policy: Busy,
            retry_after: None,
            observer: (),
        }
    }
}

impl<P: ShedPolicy, O: Observer> LoadShed<P, O> {
    /// Lets a call through, or refuses it. The permit holds nothing.
    ///
    /// # Errors
    ///
    /// There is too much to do.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_, Self>, Rejected> {
        Permit::acquire(self)
    }

    /// Has a future run unless there is too much to do when it is polled first.
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

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Says whether there is too much to do.
    pub fn is_overloaded(&self) -> bool {
        self.inner.policy.is_overloaded()
    }

    /// Returns how many calls were refused.
    pub fn rejected(&self) -> u64 {
        self.inner.rejected.load(Ordering::Relaxed)
    }

    #[cold]
    fn refuse_for(&self, reason: Reason) -> Rejected {
        let inner = &self.inner;
        inner.rejected.fetch_add(1, Ordering::Relaxed);
        let rejected = Rejected::new(reason, inner.retry_after);
        inner.observer.on_event(&inner.name, &Event::Rejected(rejected));
        rejected
    }
}

impl<P: ShedPolicy, O: Observer> Gate for LoadShed<P, O> {
    type Ticket = ();

    #[inline]
    fn admit(&self) -> Result<(), Rejected> {
        if self.is_overloaded() {
            return Err(self.refuse());
        }
        Ok(())
    }

    fn refuse(&self) -> Rejected {
        self.refuse_for(Reason::Overloaded)
    }

    fn finish(&self, (): (), _: Outcome) {}

    fn abandon(&self, (): (), _: Abandoned) {}

    fn turns_away(&self) -> bool {
        self.is_overloaded()
    }

    fn sheds_busy(&self) -> bool {
        true
    }

    fn refuse_busy(&self) -> Rejected {
        self.refuse_for(Reason::Busy)
    }
}

impl<P: ShedPolicy, O: Observer, T, E> Judge<T, E> for LoadShed<P, O> {
    #[inline]
    fn judge(&self, _: Result<&T, &E>) -> Outcome {
        Outcome::Ignore
    }
}

impl<P, O> LoadShed<P, O> {
    /// Says whether there is another handle, or a permit that has one.
    pub(crate) fn is_shared(&self) -> bool {
        is_shared(&self.inner)
    }
}

impl<P, O> Clone for LoadShed<P, O> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<P, O> fmt::Debug for LoadShed<P, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadShed")
            .field("name", &self.inner.name)
            .field("rejected", &self.inner.rejected)
            .finish_non_exhaustive()
    }
}

/// Sets up a [`LoadShed`]; made by [`LoadShed::builder`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::load_shed::LoadShed;
/// use std::time::Duration;
///
/// let shed = LoadShed::builder("search").policy(|| true).retry_after(Duration::from_secs(1)).build();
/// let rejected = shed.try_acquire().unwrap_err();
/// assert_eq!(rejected.to_string(), "there is too much to do; try again in 1s");
/// ```
#[derive(Clone, Debug)]
pub struct Builder<P = Busy, O = ()> {
    name: String,
    policy: P,
    retry_after: Option<Duration>,
    observer: O,
}

impl<P, O> Builder<P, O> {
    /// Sets the signal that there is too much to do; by default there is none, and calls to services that are not ready are
    /// refused alone.
    #[must_use]
    pub fn policy<P2: ShedPolicy>(self, policy: P2) -> Builder<P2, O> {
        Builder {
            name: self.name,
            policy,
            retry_after: self.retry_after,
            observer: self.observer,
        }
    }

    /// Sets when a call that was refused may try again; by default nobody knows.
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Sets who hears of events; by default nobody.
    #[must_use]
    pub fn observe<O2: Observer>(self, observer: O2) -> Builder<P, O2> {
        Builder {
            name: self.name,
            policy: self.policy,
            retry_after: self.retry_after,
            observer,
        }
    }

    /// Makes it.
    #[must_use]
    pub fn build(self) -> LoadShed<P, O> {
        LoadShed {
            inner: Arc::new(Inner {
                policy: self.policy,
                retry_after: self.retry_after,
                rejected: AtomicU64::new(0),
                observer: self.observer,
                name: self.name.into_boxed_str(),
            }),
        }
    }
}
