use std::sync::Arc;

/// A signal that there is too much to do; a function that returns whether there is, is one.
///
/// It is asked for each call, so it is to look at something that somebody else measures. A pair sheds by either.
///
/// # Examples
///
/// ```
/// use cortex_resilience::load_shed::{LoadShed, ShedPolicy};
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// let busy = Arc::new(AtomicU64::new(0)); // percent of the processors' time, written every second
/// let policy = {
///     let busy = Arc::clone(&busy);
///     move || busy.load(Ordering::Relaxed) > 90
/// };
/// let shed = LoadShed::builder("search").policy(policy).build();
/// assert!(shed.try_acquire().is_ok());
/// busy.store(97, Ordering::Relaxed);
/// assert!(shed.try_acquire().is_err());
/// ```
pub trait ShedPolicy: Send + Sync {
    /// Says whether there is too much to do.
    fn is_overloaded(&self) -> bool;
}

impl<F: Fn() -> bool + Send + Sync> ShedPolicy for F {
    fn is_overloaded(&self) -> bool {
        self()
    }
}

impl<A: ShedPolicy, B: ShedPolicy> ShedPolicy for (A, B) {
    fn is_overloaded(&self) -> bool {
        self.0.is_overloaded() || self.1.is_overloaded()
    }
}

impl<P: ShedPolicy + ?Sized> ShedPolicy for Arc<P> {
    fn is_overloaded(&self) -> bool {
        (**self).is_overloaded()
    }
}

/// Sheds calls to services that are not ready, and no others: the default.
///
/// # Examples
///
/// ```
/// use cortex_resilience::load_shed::{Busy, ShedPolicy};
///
/// assert!(!Busy.is_overloaded());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Busy;

impl ShedPolicy for Busy {
    fn is_overloaded(&self) -> bool {
        false
    }
}
