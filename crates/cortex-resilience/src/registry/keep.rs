use crate::adaptive::AdaptiveLimit;
use crate::load_shed::LoadShed;
use crate::shared::is_shared;
use crate::throttle::AdaptiveThrottle;
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
}

impl<L, C, O, K> Keep for AdaptiveLimit<L, C, O, K> {
    fn keep(&self) -> bool {
        self.is_shared()
    }
}

impl<C, O, K> Keep for AdaptiveThrottle<C, O, K> {
    fn keep(&self) -> bool {
        self.is_shared()
    }
}

impl<P, O> Keep for LoadShed<P, O> {
    fn keep(&self) -> bool {
        self.is_shared()
    }
}

/// One that somebody else has, or that holds what has to stay.
impl<P: Keep + ?Sized> Keep for Arc<P> {
    fn keep(&self) -> bool {
        is_shared(self) || (**self).keep()
    }
}
