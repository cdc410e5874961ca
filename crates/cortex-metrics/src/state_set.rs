use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::LabelEnum;
use crate::gauge::Touched;

/// Which of several states something is in, each shown as a series that is 1 or 0: a breaker that is open, a lamp that
/// is red.
///
/// Mostly one is on, and [`set`](Self::set) switches; several may be, by [`put`](Self::put). The states are at most 64,
/// which is checked when compiling. Clones share them.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Registry, StateSet};
///
/// cortex_metrics::label_enum! {
///     pub enum Breaker { Closed = "closed", Open = "open", HalfOpen = "half_open" }
/// }
///
/// let state = StateSet::new(Breaker::Closed);
/// let registry = Registry::default();
/// registry.register("breaker_state", "What the breaker does.", state.clone())?;
/// state.set(Breaker::Open);
/// assert!(state.is_on(Breaker::Open) && !state.is_on(Breaker::Closed));
/// assert!(registry.to_open_metrics().contains("breaker_state{breaker_state=\"open\"} 1\n"));
/// # Ok::<(), cortex_metrics::RegisterError>(())
/// ```
pub struct StateSet<S> {
    inner: Arc<Inner>,
    states: PhantomData<fn(S)>,
}

#[derive(Debug, Default)]
struct Inner {
    bits: AtomicU64,
    touched: Touched,
}

impl<S: LabelEnum> StateSet<S> {
    const FIT: () = assert!(S::VALUES.len() <= 64, "a state set has at most 64 states");

    /// Makes a set in which one state is on.
    pub fn new(state: S) -> Self {
        let set = Self::default();
        set.set(state);
        set
    }

    /// Switches one state on and all others off.
    pub fn set(&self, state: S) {
        self.inner.bits.store(bit(state), Ordering::Relaxed);
        self.inner.touched.touch();
    }

    /// Switches one state on or off and leaves the others.
    pub fn put(&self, state: S, on: bool) {
        if on {
            self.inner.bits.fetch_or(bit(state), Ordering::Relaxed);
        } else {
            self.inner.bits.fetch_and(!bit(state), Ordering::Relaxed);
        }
        self.inner.touched.touch();
    }

    /// Whether a state is on.
    pub fn is_on(&self, state: S) -> bool {
        self.bits() & bit(state) != 0
    }

    pub(crate) fn bits(&self) -> u64 {
        self.inner.bits.load(Ordering::Relaxed)
    }

    pub(crate) fn take_touched(&self) -> bool {
        self.inner.touched.take()
    }

    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.inner) > 1
    }
}

fn bit<S: LabelEnum>(state: S) -> u64 {
    let () = StateSet::<S>::FIT;
    1 << state.index()
}

impl<S> Clone for StateSet<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            states: PhantomData,
        }
    }
}

/// All states are off.
impl<S> Default for StateSet<S> {
    fn default() -> Self {
        Self {
            inner: Arc::default(),
            states: PhantomData,
        }
    }
}

impl<S: LabelEnum> fmt::Debug for StateSet<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.bits();
        let on = S::VALUES.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        f.debug_set().entries(on.map(|(_, name)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_several_states_are_on() {
        let set = StateSet::new(false);
        assert_eq!(format!("{set:?}"), "{\"false\"}");
        set.clone().put(true, true);
        assert_eq!(format!("{set:?}"), "{\"false\", \"true\"}");
        set.put(false, false);
        assert!(set.is_on(true) && !set.is_on(false));
        set.set(false);
        assert_eq!(set.bits(), 1);
        assert_eq!(StateSet::<bool>::default().bits(), 0);
    }
}
