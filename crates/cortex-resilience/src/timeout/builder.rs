use super::inner::{Inner, Limit};
use super::kind::Kind;
use super::policy::Timeout;
use crate::build_error::BuildError;
use crate::observer::Observer;
use cortex_core::{Clock, TscClock};
use std::sync::Arc;
use std::time::Duration;

/// Sets up a [`Timeout`]; made by [`Timeout::builder`].
///
/// Unless it is told otherwise, only the deadline of the context limits a call.
///
/// # Examples
///
/// ```
/// use cortex_resilience::timeout::Timeout;
/// use std::time::Duration;
///
/// let error = Timeout::builder("search").attempt(Duration::ZERO).build().unwrap_err();
/// assert_eq!(error.to_string(), "accept `attempt` = 0ns: it is longer than zero");
/// ```
#[derive(Debug)]
pub struct Builder<O = (), K = TscClock> {
    name: String,
    limit: Option<(Kind, Duration)>,
    observer: O,
    clock: K,
}

impl Builder {
    pub(super) const fn new(name: String) -> Self {
        Self {
            name,
            limit: None,
            observer: (),
            clock: TscClock,
        }
    }
}

impl<O, K> Builder<O, K> {
    /// Gives each call so long, as one attempt among others; replaces [`total`](Self::total).
    #[must_use]
    pub const fn attempt(mut self, time: Duration) -> Self {
        self.limit = Some((Kind::Attempt, time));
        self
    }

    /// Gives each call so long, with all its attempts; replaces [`attempt`](Self::attempt).
    #[must_use]
    pub const fn total(mut self, time: Duration) -> Self {
        self.limit = Some((Kind::Total, time));
        self
    }

    /// Sets who hears of events; by default nobody.
    #[must_use]
    pub fn observe<O2: Observer>(self, observer: O2) -> Builder<O2, K> {
        Builder {
            name: self.name,
            limit: self.limit,
            observer,
            clock: self.clock,
        }
    }

    /// Sets the clock, which runs as tokio's does; by default the operating system's.
    #[must_use]
    pub fn clock<K2: Clock>(self, clock: K2) -> Builder<O, K2> {
        Builder {
            name: self.name,
            limit: self.limit,
            observer: self.observer,
            clock,
        }
    }

    pub(super) fn checked(&self) -> Result<Limit, BuildError> {
        match self.limit {
            Some((kind, time)) if time.is_zero() => {
                Err(BuildError::new(kind.as_str(), "0ns", "longer than zero"))
            }
            limit => Ok(Limit::new(limit)),
        }
    }
}

impl<O: Observer, K: Clock> Builder<O, K> {
    /// Makes the timeout.
    ///
    /// # Errors
    ///
    /// A setting makes no sense; the error names it.
    pub fn build(self) -> Result<Timeout<O, K>, BuildError> {
        let limit = self.checked()?;
        let inner = Inner::new(self.name.into_boxed_str(), limit, self.observer, self.clock);
        Ok(Timeout {
            inner: Arc::new(inner),
        })
    }
}
