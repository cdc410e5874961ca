use super::inner::{Inner, Rules};
use super::policy::Bulkhead;
use crate::build_error::BuildError;
use crate::observer::Observer;
use cortex_core::{Clock, TscClock};
use std::sync::Arc;
#[cfg(feature = "tokio")]
use std::time::Duration;

/// Sets up a [`Bulkhead`]; made by [`Bulkhead::builder`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::bulkhead::Bulkhead;
///
/// let error = Bulkhead::builder("search").max_concurrent(0).build().unwrap_err();
/// assert_eq!(error.to_string(), "accept `max_concurrent` = 0: it is at least 1 and less than 2^31");
/// ```
#[derive(Debug)]
pub struct Builder<O = (), K = TscClock> {
    name: String,
    pub(super) rules: Rules,
    observer: O,
    clock: K,
}

impl Builder {
    pub(super) const fn new(name: String) -> Self {
        Self {
            name,
            rules: Rules {
                limit: None,
                queue: 0,
                max_wait: None,
                older_than: None,
            },
            observer: (),
            clock: TscClock,
        }
    }
}

impl<O, K> Builder<O, K> {
    /// Lets so many calls run at once. This has to be set.
    #[must_use]
    pub const fn max_concurrent(mut self, calls: u32) -> Self {
        self.rules.limit = Some(calls);
        self
    }

    /// Lets so many calls wait for their turn, which is the oldest's first; by default none.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub const fn queue(mut self, calls: u32) -> Self {
        self.rules.queue = calls;
        self
    }

    /// Lets a call wait in the [`queue`](Self::queue) as long as this; by default until the deadline of the context, if there is one.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub const fn max_wait(mut self, wait: Duration) -> Self {
        self.rules.max_wait = Some(wait);
        self
    }

    /// Lets the newest come first under load, within its priority: while the queue is more than half full, or its oldest has
    /// waited for this long. By default the oldest always comes first.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub const fn adaptive_lifo(mut self, older_than: Duration) -> Self {
        self.rules.older_than = Some(older_than);
        self
    }

    /// Sets who hears of events; by default nobody.
    #[must_use]
    pub fn observe<O2: Observer>(self, observer: O2) -> Builder<O2, K> {
        Builder {
            name: self.name,
            rules: self.rules,
            observer,
            clock: self.clock,
        }
    }

    /// Sets the clock, which runs as tokio's does where calls wait; by default the operating system's.
    #[must_use]
    pub fn clock<K2: Clock>(self, clock: K2) -> Builder<O, K2> {
        Builder {
            name: self.name,
            rules: self.rules,
            observer: self.observer,
            clock,
        }
    }
}

impl<O: Observer, K: Clock> Builder<O, K> {
    /// Makes the bulkhead.
    ///
    /// # Errors
    ///
    /// A setting makes no sense; the error names it.
    pub fn build(self) -> Result<Bulkhead<O, K>, BuildError> {
        let limit = self.rules.check()?;
        let name = self.name.into_boxed_str();
        let inner = Inner::new(name, limit, self.rules, self.observer, self.clock);
        Ok(Bulkhead {
            inner: Arc::new(inner),
        })
    }
}
