use std::fmt;
use std::sync::Arc;

use cortex_core::{Context, Guard};

use super::current::{self, Carrier};
use crate::propagation::{Baggage, TraceState};

/// Everything that work takes along when it moves to another thread, task or queue: its [`Context`], the `tracestate`
/// of its trace, and its baggage.
///
/// A [`Context`] is `Copy` and has no room for the last two. They stand beside it, in a carrier of their own, and move
/// only if there are any. [`Traced`](crate::Traced) wraps a value together with this.
///
/// A context that is attached alone leaves the carrier where it is: the baggage stays, and the `tracestate` counts only
/// for spans of its own trace.
///
/// # Performance
///
/// If there is neither `tracestate` nor baggage it is a [`Context`] and a null pointer, and attaching it is attaching a
/// context. Otherwise capturing and attaching add to a reference count. Neither allocates.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Captured, Tracer};
/// use cortex_trace::propagation::Baggage;
///
/// let span = Tracer::propagate_only().span("import").start();
/// let captured = span.captured().with_baggage("tenant=acme".parse()?);
/// let elsewhere = std::thread::spawn(move || {
///     let _guard = captured.attach();
///     (Captured::current().context(), Baggage::current().to_string())
/// });
/// assert_eq!(elsewhere.join().ok(), Some((span.context(), "tenant=acme".to_owned())));
/// # Ok::<(), std::convert::Infallible>(())
/// ```
#[derive(Clone, Default)]
pub struct Captured {
    context: Context,
    carrier: Option<Arc<Carrier>>,
}

impl Captured {
    /// Makes one of a context alone, with nothing beside it.
    pub const fn new(context: Context) -> Self {
        Self {
            context,
            carrier: None,
        }
    }

    /// Returns what is current on this thread.
    #[inline]
    pub fn current() -> Self {
        Self {
            context: Context::current(),
            carrier: current::current(),
        }
    }

    #[inline]
    pub(crate) fn of(context: Context, tracestate: &TraceState, baggage: &Baggage) -> Self {
        if tracestate.is_empty() && baggage.is_absent() {
            return Self::new(context);
        }
        Self {
            context,
            carrier: Carrier::of(context.trace_id(), tracestate, baggage),
        }
    }

    /// Puts another context of the same trace in place of this one's.
    #[inline]
    pub(crate) fn set_context(&mut self, context: Context) {
        self.context = context;
    }

    #[cfg(feature = "bridge")]
    pub(crate) fn into_carrier(self) -> Option<Arc<Carrier>> {
        self.carrier
    }

    /// Makes one of the context of a span and what carries its `tracestate`, with the baggage of this thread.
    #[cfg(feature = "bridge")]
    pub(crate) fn entered(context: Context, carrier: &Arc<Carrier>) -> Self {
        Self {
            context,
            carrier: carrier.with_current_baggage(),
        }
    }

    /// Makes this what is current on the thread until the guard is dropped, which brings back what was before.
    ///
    /// Drop guards in the reverse order of their making, as they do by themselves, also in a panic. One that is dropped
    /// too early brings back what it replaced; later ones do the same, so that in the end what the last one replaced
    /// is current. Whatever the order, context, `tracestate` and baggage stay together.
    ///
    /// Never hold one across an `.await`: wrap the future with [`Traced`](crate::Traced) instead.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_trace::Captured;
    /// use cortex_trace::propagation::Baggage;
    ///
    /// let guard = Captured::default().with_baggage("tier=gold".parse()?).attach();
    /// assert_eq!(Baggage::current().len(), 1);
    /// drop(guard);
    /// assert!(Baggage::current().is_empty());
    /// # Ok::<(), std::convert::Infallible>(())
    /// ```
    #[inline]
    pub fn attach(&self) -> CapturedGuard {
        CapturedGuard {
            carrier: current::replace(self.carrier.clone()),
            _context: self.context.attach(),
        }
    }

    /// Runs `work` under this.
    pub fn in_scope<R>(&self, work: impl FnOnce() -> R) -> R {
        let _guard = self.attach();
        work()
    }

    /// Returns the context.
    pub const fn context(&self) -> Context {
        self.context
    }

    /// Returns the `tracestate` of the context's trace, if there is one.
    pub fn tracestate(&self) -> Option<&TraceState> {
        self.carrier.as_deref()?.tracestate(self.context.trace_id())
    }

    /// Returns the baggage.
    pub fn baggage(&self) -> &Baggage {
        const NONE: &Baggage = &Baggage::EMPTY;
        self.carrier.as_deref().map_or(NONE, Carrier::baggage)
    }

    /// Returns this with another context, such as that of a span inside it; the `tracestate` stays with its trace.
    #[must_use]
    pub fn with_context(self, context: Context) -> Self {
        Self { context, ..self }
    }

    /// Returns this with another `tracestate` for the context's trace.
    #[must_use]
    pub fn with_tracestate(self, tracestate: TraceState) -> Self {
        let baggage = self.baggage().clone();
        Self {
            carrier: Carrier::new(self.context.trace_id(), tracestate, baggage),
            ..self
        }
    }

    /// Returns this with other baggage.
    ///
    /// ```
    /// use cortex_trace::Captured;
    ///
    /// let captured = Captured::current();
    /// let mut baggage = captured.baggage().clone();
    /// baggage.set("tier", "gold")?;
    /// let inner = captured.with_baggage(baggage);
    /// assert_eq!(inner.baggage().get("tier").as_deref(), Some("gold"));
    /// # Ok::<(), cortex_trace::propagation::InvalidBaggage>(())
    /// ```
    #[must_use]
    pub fn with_baggage(self, baggage: Baggage) -> Self {
        let tracestate = self.tracestate().cloned().unwrap_or_default();
        Self {
            carrier: Carrier::new(self.context.trace_id(), tracestate, baggage),
            ..self
        }
    }
}

impl From<Context> for Captured {
    fn from(context: Context) -> Self {
        Self::new(context)
    }
}

impl fmt::Debug for Captured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captured")
            .field("context", &self.context)
            .field("tracestate", &self.tracestate())
            .field("baggage", &self.baggage())
            .finish_non_exhaustive()
    }
}

/// Brings back what was current before [`Captured::attach`] when dropped.
///
/// Not `Send`: it belongs to the thread that made it. Forgotten, it leaves its [`Captured`] current, and what that
/// carries is freed with the thread.
///
/// ```compile_fail
/// fn send(_: impl Send) {}
/// send(cortex_trace::Captured::current().attach());
/// ```
#[must_use = "what was captured is detached when the guard is dropped"]
pub struct CapturedGuard {
    carrier: Option<Arc<Carrier>>,
    _context: Guard,
}

impl Drop for CapturedGuard {
    #[inline]
    fn drop(&mut self) {
        current::replace(self.carrier.take());
    }
}

impl fmt::Debug for CapturedGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CapturedGuard").finish_non_exhaustive()
    }
}
