use super::inner::Inner;
use crate::link::Link;
use crate::observer::Observer;
use cortex_core::Clock;
use std::fmt;
use std::sync::Arc;

/// The right to run a call; dropping it passes it on.
///
/// # Examples
///
/// ```
/// use cortex_resilience::bulkhead::Bulkhead;
///
/// let search = Bulkhead::builder("search").max_concurrent(1).build()?;
/// let permit = search.try_acquire_owned()?; // outlives the handle, on any thread
/// assert!(search.try_acquire().is_err());
/// drop(permit);
/// assert!(search.try_acquire().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a permit that is dropped is passed on at once"]
pub struct Permit<'a, O: Observer, K: Clock> {
    bulkhead: Link<'a, Arc<Inner<O, K>>>,
}

impl<'a, O: Observer, K: Clock> Permit<'a, O, K> {
    /// Makes a permit of one that was taken.
    #[inline]
    pub(super) const fn new(bulkhead: Link<'a, Arc<Inner<O, K>>>) -> Self {
        Self { bulkhead }
    }
}

impl<O: Observer, K: Clock> Drop for Permit<'_, O, K> {
    #[inline]
    fn drop(&mut self) {
        self.bulkhead.give_back();
    }
}

impl<O: Observer, K: Clock> fmt::Debug for Permit<'_, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("bulkhead", &*self.bulkhead)
            .finish_non_exhaustive()
    }
}
