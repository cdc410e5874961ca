//! The thread-local beside that of [`Context`](cortex_core::Context).

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use cortex_core::{Context, TraceId};

use crate::propagation::{Baggage, TraceState};

/// What a [`Context`](cortex_core::Context) has no room for; not made if both are empty.
#[derive(Debug)]
pub(crate) struct Carrier {
    /// Whose `tracestate` it is: a context that was attached alone may be one of another trace.
    trace_id: Option<TraceId>,
    tracestate: TraceState,
    baggage: Baggage,
}

thread_local! {
    // Without a destructor, so that a thread that carries nothing never registers one.
    static IS_CARRYING: Cell<bool> = const { Cell::new(false) };
    static CURRENT: RefCell<Option<Arc<Carrier>>> = const { RefCell::new(None) };
}

impl Carrier {
    /// Makes what carries these parts; none if there is nothing to carry.
    pub(super) fn new(
        trace_id: Option<TraceId>,
        tracestate: TraceState,
        baggage: Baggage,
    ) -> Option<Arc<Self>> {
        let is_something = !tracestate.is_empty() || !baggage.is_absent();
        is_something.then(|| {
            Arc::new(Self {
                trace_id,
                tracestate,
                baggage,
            })
        })
    }

    /// Returns what carries this `tracestate` beside the baggage of this thread: the current one or this one, if one of
    /// them does, else a new one.
    #[cfg(feature = "bridge")]
    pub(super) fn with_current_baggage(self: &Arc<Self>) -> Option<Arc<Self>> {
        let baggage = current().map_or(Baggage::EMPTY, |current| current.baggage.clone());
        if self.baggage.is_same(&baggage) {
            return Some(Arc::clone(self));
        }
        Self::of(self.trace_id, &self.tracestate, &baggage)
    }

    /// Returns what carries these parts: the current one if it does, else a new one.
    pub(crate) fn of(
        trace_id: Option<TraceId>,
        tracestate: &TraceState,
        baggage: &Baggage,
    ) -> Option<Arc<Self>> {
        let current = current().filter(|current| {
            current.trace_id == trace_id
                && current.baggage.is_same(baggage)
                && current.tracestate == *tracestate
        });
        current.or_else(|| Self::new(trace_id, tracestate.clone(), baggage.clone()))
    }

    /// Returns the `tracestate`, if it belongs to this trace and is not empty.
    pub(crate) fn tracestate(&self, trace_id: Option<TraceId>) -> Option<&TraceState> {
        Some(&self.tracestate).filter(|state| self.trace_id == trace_id && !state.is_empty())
    }

    pub(crate) const fn baggage(&self) -> &Baggage {
        &self.baggage
    }
}

/// Reads what this thread carries, if it carries something.
#[inline]
pub(crate) fn peek<R>(read: impl FnOnce(&Carrier) -> R) -> Option<R> {
    if !IS_CARRYING.get() {
        return None;
    }
    // Gone with the thread's other locals, it carries nothing more.
    let read = CURRENT.try_with(|current| current.borrow().as_deref().map(read));
    read.ok().flatten()
}

/// Returns the `tracestate` that this thread carries for the trace of `parent`.
#[inline]
pub(crate) fn tracestate_of(parent: Context) -> TraceState {
    let carried = peek(|carrier| carrier.tracestate(parent.trace_id()).cloned());
    carried.flatten().unwrap_or_default()
}

#[inline]
pub(super) fn current() -> Option<Arc<Carrier>> {
    if !IS_CARRYING.get() {
        return None;
    }
    CURRENT
        .try_with(|current| current.borrow().clone())
        .ok()
        .flatten()
}

/// Sets what this thread carries, and returns what it did; costs nothing if neither is something.
#[inline]
pub(crate) fn replace(next: Option<Arc<Carrier>>) -> Option<Arc<Carrier>> {
    if next.is_none() && !IS_CARRYING.get() {
        return None;
    }
    replace_some(next)
}

#[inline(never)] // so that the usual case is inlined
fn replace_some(next: Option<Arc<Carrier>>) -> Option<Arc<Carrier>> {
    let replaced = CURRENT.try_with(|current| {
        IS_CARRYING.set(next.is_some());
        current.replace(next)
    });
    replaced.ok().flatten()
}
