use crate::adaptive::AdaptiveLimit;
use crate::bulkhead::Bulkhead;
use crate::chaos::Chaos;
use crate::fallback::Fallback;
#[cfg(feature = "tokio")]
use crate::hedge::Hedge;
use crate::load_shed::LoadShed;
use crate::observer::Observer;
#[cfg(feature = "tokio")]
use crate::pipeline::Pipeline;
#[cfg(feature = "tokio")]
use crate::pipeline::parts::{Around, Operation, Repeat};
use crate::rate_limit::{KeyedRateLimiter, RateLimiter};
use crate::retry::Retry;
use crate::shared::is_shared;
use crate::throttle::AdaptiveThrottle;
#[cfg(feature = "tokio")]
use crate::timeout::Timeout;
use cortex_core::Clock;
use std::hash::BuildHasher;
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
    Fallback<H, C, O>,
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

/// One with a key whose bucket is not full stays, too. Each is looked at: give a limiter in a registry no more keys than it needs.
impl<O: Observer, K: Clock, S: BuildHasher> Keep for KeyedRateLimiter<O, K, S> {
    fn keep(&self) -> bool {
        self.is_shared() || !self.is_full()
    }
}

/// One that is switched on stays, too: a new one is not.
impl<E, A, W, O> Keep for Chaos<E, A, W, O> {
    fn keep(&self) -> bool {
        self.is_shared() || self.is_enabled()
    }
}

/// One of whose policies one has to stay. A policy that is not made for this pipeline alone is in use, and keeps it for good: such
/// as a bulkhead that all keys share. A budget of retries may be shared.
#[cfg(feature = "tokio")]
impl<S: Keep> Keep for Pipeline<S> {
    fn keep(&self) -> bool {
        self.stages().keep()
    }

    fn settle(&self) {
        self.stages().settle();
    }
}

/// Policies around others, or around nothing.
#[cfg(feature = "tokio")]
macro_rules! keep_if_either {
    ($($around:ident,)*) => {$(
        impl<P: Keep, Rest: Keep> Keep for $around<P, Rest> {
            fn keep(&self) -> bool {
                self.policy().keep() || self.rest().keep()
            }

            fn settle(&self) {
                self.policy().settle();
                self.rest().settle();
            }
        }
    )*};
}

#[cfg(feature = "tokio")]
keep_if_either! {
    Around,
    Repeat,
}

/// What is inside of all policies has nothing to keep.
#[cfg(feature = "tokio")]
impl Keep for Operation {
    fn keep(&self) -> bool {
        false
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
