use super::inner::Inner;
use super::limit::Limit;
use super::limiter::AdaptiveLimit;
use crate::build_error::BuildError;
use crate::classify::ErrIsFailure;
use crate::observer::Observer;
use cortex_core::{Clock, TscClock};
use std::sync::Arc;

/// Sets up an [`AdaptiveLimit`]; made by [`AdaptiveLimit::builder`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::adaptive::{AdaptiveLimit, Vegas};
///
/// let error = AdaptiveLimit::builder("search", Vegas::new(0..=10)).build().unwrap_err();
/// assert_eq!(error.field(), "range");
/// ```
#[derive(Clone, Debug)]
pub struct Builder<L, C = ErrIsFailure, O = (), K = TscClock> {
    name: String,
    limit: L,
    classify: C,
    observer: O,
    clock: K,
}

impl<L> Builder<L> {
    pub(super) const fn new(name: String, limit: L) -> Self {
        Self {
            name,
            limit,
            classify: ErrIsFailure,
            observer: (),
            clock: TscClock,
        }
    }
}

impl<L, C, O, K> Builder<L, C, O, K> {
    /// Sets what judges results; by default an `Err` is a failure, which lowers the limit.
    #[must_use]
    pub fn classify<C2>(self, classify: C2) -> Builder<L, C2, O, K> {
        Builder {
            name: self.name,
            limit: self.limit,
            classify,
            observer: self.observer,
            clock: self.clock,
        }
    }

    /// Sets who hears of events; by default nobody.
    #[must_use]
    pub fn observe<O2: Observer>(self, observer: O2) -> Builder<L, C, O2, K> {
        Builder {
            name: self.name,
            limit: self.limit,
            classify: self.classify,
            observer,
            clock: self.clock,
        }
    }

    /// Sets the clock; by default the operating system's. One that is coarser than the calls are short tells nothing of them.
    #[must_use]
    pub fn clock<K2: Clock>(self, clock: K2) -> Builder<L, C, O, K2> {
        Builder {
            name: self.name,
            limit: self.limit,
            classify: self.classify,
            observer: self.observer,
            clock,
        }
    }
}

impl<L: Limit, C, O: Observer, K: Clock> Builder<L, C, O, K> {
    /// Makes the limiter.
    ///
    /// # Errors
    ///
    /// A setting of the algorithm makes no sense.
    pub fn build(self) -> Result<AdaptiveLimit<L, C, O, K>, BuildError> {
        self.limit.check()?;
        let name = self.name.into_boxed_str();
        Ok(AdaptiveLimit {
            inner: Arc::new(Inner::new(name, self.limit, self.observer, self.clock)),
            classify: self.classify,
        })
    }
}
