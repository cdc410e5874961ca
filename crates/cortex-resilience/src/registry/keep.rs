use crate::adaptive::AdaptiveLimit;
use crate::bulkhead::Bulkhead;
#[cfg(feature = "tokio")]
use crate::hedge::Hedge;
use crate::load_shed::LoadShed;
use crate::observer::Observer;
use crate::rate_limit::RateLimiter;
use crate::retry::Retry;
use crate::shared::is_shared;
use crate::throttle::AdaptiveThrottle;
#[cfg(feature = "tokio")]
use crate::timeout::Timeout;
use cortex_core::Clock;
use std::sync::Arc;

/// Says whether a policy has to stay in its [`Registry`](super::Registry), however long nobody asked for it.
///
/// It is asked while a part of the registry is locked, and must not use it.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::Breaker;
/// use cortex_resilience::registry::Keep;
///
/// let breaker = Breaker::builder("payments").build()?;
/// assert!(!breaker.keep()); // closed, and nobody else has it: as good as a new one
/// let other = breaker.clone();
/// assert!(breaker.keep());
/// drop(other);
/// breaker.force_open();
/// assert!(breaker.keep());
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub trait Keep {
    /// Says whether it has to stay: somebody uses it, or a new one would behave otherwise.
    fn keep(&self) -> bool;

    /// Does what is due by now, without being used; by default, nothing is. A registry calls this for what stays though it is
    /// idle, with nothing locked.
    fn settle(&self) {}
}

/// Policies that stay as long as somebody uses them: of what they learned, nothing counts that is as old as that.
macro_rules! keep_while_shared {
    ($($(#[$feature:meta])? $policy:ident<$($generic:ident),+>,)*) => {$(
        $(#[$feature])?
        impl<$($generic),+> Keep for $policy<$($generic),+> {
            fn keep(&self) -> bool {
                self.is_shared()
            }
        }
    )*};
}

keep_while_shared! {
    AdaptiveLimit<L, C, O, K>,
    AdaptiveThrottle<C, O, K>,
    Bulkhead<O, K>,
    #[cfg(feature = "tokio")] Hedge<C, O, K>,
    LoadShed<P, O>,
    Retry<C, O, K>,
    #[cfg(feature = "tokio")] Timeout<O, K>,
}

/// One whose bucket is not full stays, too: a new one would let more calls through.
impl<O: Observer, K: Clock> Keep for RateLimiter<O, K> {
    fn keep(&self) -> bool {
        self.is_shared() || !self.is_full()
    }
}

/// One that somebody else has, or that holds what has to stay.
impl<P: Keep + ?Sized> Keep for Arc<P> {
    fn keep(&self) -> bool {
        is_shared(self) || (**self).keep()
    }

    fn settle(&self) {
        (**self).settle();
    }
}
