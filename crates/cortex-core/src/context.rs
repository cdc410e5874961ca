use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use crate::{Deadline, SpanId, TraceId};

/// Who a piece of work belongs to: its trace, its span, and until when somebody waits for it.
///
/// Written once, by whoever starts the work (the HTTP service, a span); read by everyone below: logs and exemplars
/// take the ids, policies take the deadline, workers, actors and events carry it across threads. Forty-eight bytes,
/// `Copy`, without a reference count.
///
/// # Performance
///
/// [`current`](Self::current) copies a thread-local value; [`attach`](Self::attach) swaps it. Neither allocates.
///
/// # Examples
///
/// ```
/// use cortex_core::{Context, Flags, SpanId, TraceId};
///
/// let trace = TraceId::new(0x4bf9).ok_or("zero")?;
/// let span = SpanId::new(0x00f0).ok_or("zero")?;
/// let context = Context::new().with_span(trace, span, Flags::SAMPLED);
/// {
///     let _guard = context.attach();
///     assert_eq!(Context::current().trace_id(), Some(trace));
/// }
/// assert_eq!(Context::current(), Context::new());
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    trace_id: Option<TraceId>,
    span_id: Option<SpanId>,
    deadline: Option<Deadline>,
    flags: Flags,
}

thread_local! {
    static CURRENT: Cell<Context> = const { Cell::new(Context::new()) };
}

impl Context {
    /// Makes the empty context: no trace, no span, no deadline.
    pub const fn new() -> Self {
        Self {
            trace_id: None,
            span_id: None,
            deadline: None,
            flags: Flags::NONE,
        }
    }

    /// Returns the context attached to this thread, or the empty one.
    #[inline]
    pub fn current() -> Self {
        CURRENT.get()
    }

    /// Makes this the thread's current context and returns the one before, which the caller brings back: for those that
    /// learn of the beginning and the end in two calls, as subscribers of `tracing` do.
    ///
    /// Nothing else brings it back, not even a panic: use [`attach`](Self::attach) where one call sees both ends. Neither
    /// may be in effect across an `.await`.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_core::{Context, Flags, SpanId, TraceId};
    ///
    /// let ids = TraceId::new(7).zip(SpanId::new(9)).ok_or("zero")?;
    /// let entered = Context::new().with_span(ids.0, ids.1, Flags::SAMPLED);
    /// let previous = entered.replace();
    /// assert_eq!(Context::current(), entered);
    /// assert_eq!(previous.replace(), entered);
    /// assert_eq!(Context::current(), previous);
    /// # Ok::<(), &str>(())
    /// ```
    #[inline]
    #[must_use = "it is what to bring back"]
    pub fn replace(self) -> Self {
        CURRENT.replace(self)
    }

    /// Makes this the thread's current context until the guard is dropped, which brings back the one before.
    ///
    /// Drop guards in the reverse order of their making, and never hold one across an `.await`: wrap the future with
    /// [`FutureExt::with_context`](crate::FutureExt::with_context) instead.
    #[inline]
    pub fn attach(self) -> Guard {
        Guard {
            previous: CURRENT.replace(self),
            not_send: PhantomData,
        }
    }

    /// Returns this context as part of the given span.
    #[must_use]
    #[inline]
    pub const fn with_span(self, trace_id: TraceId, span_id: SpanId, flags: Flags) -> Self {
        Self {
            trace_id: Some(trace_id),
            span_id: Some(span_id),
            flags,
            deadline: self.deadline,
        }
    }

    /// Returns this context with a deadline, which can only move closer: the earlier of the two stays.
    ///
    /// ```
    /// use cortex_core::{Clock, Context, Deadline, SystemClock};
    /// use std::time::Duration;
    ///
    /// let now = SystemClock.now();
    /// let [soon, late] = [1, 9].map(|secs| Deadline::after(now, Duration::from_secs(secs)));
    /// let context = Context::new().with_deadline(soon).with_deadline(late);
    /// assert_eq!(context.deadline(), Some(soon));
    /// ```
    #[must_use]
    pub fn with_deadline(self, deadline: Deadline) -> Self {
        let deadline = self.deadline.map_or(deadline, |earlier| earlier.min(deadline));
        Self {
            deadline: Some(deadline),
            ..self
        }
    }

    /// Returns this context without a deadline: for work that goes on once its caller has been answered, such as the rest
    /// of a stream, or what is done in the background.
    ///
    /// ```
    /// use cortex_core::{Clock, Context, Deadline, SystemClock};
    ///
    /// let context = Context::new().with_deadline(Deadline::at(SystemClock.now()));
    /// assert_eq!(context.without_deadline(), Context::new());
    /// ```
    #[must_use]
    #[inline]
    pub const fn without_deadline(self) -> Self {
        Self {
            deadline: None,
            ..self
        }
    }

    /// Returns the trace this work belongs to.
    #[inline]
    pub const fn trace_id(&self) -> Option<TraceId> {
        self.trace_id
    }

    /// Returns the span this work is done in.
    #[inline]
    pub const fn span_id(&self) -> Option<SpanId> {
        self.span_id
    }

    /// Returns until when somebody waits for the result.
    #[inline]
    pub const fn deadline(&self) -> Option<Deadline> {
        self.deadline
    }

    /// Returns the trace flags.
    #[inline]
    pub const fn flags(&self) -> Flags {
        self.flags
    }
}

/// Brings back the thread's previous [`Context`] when dropped.
///
/// Not `Send`: it belongs to the thread that made it.
///
/// ```compile_fail
/// fn send(_: impl Send) {}
/// send(cortex_core::Context::new().attach());
/// ```
#[must_use = "the context is detached when the guard is dropped"]
pub struct Guard {
    previous: Context,
    not_send: PhantomData<*const ()>,
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        CURRENT.set(self.previous);
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("previous", &self.previous)
            .finish_non_exhaustive()
    }
}

/// The trace flags of a context: those of the wire and one of our own.
///
/// W3C Trace Context Level 2, section 3.2.2.5.
///
/// # Examples
///
/// ```
/// use cortex_core::Flags;
///
/// let flags = Flags::from_wire(0xff);
/// assert!(flags.contains(Flags::SAMPLED) && flags.contains(Flags::RANDOM));
/// assert!(!flags.contains(Flags::RECORDING)); // never taken from the wire
/// assert_eq!((flags | Flags::RECORDING).to_wire(), 0x03); // nor sent
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The trace is recorded, and the caller may have recorded its part.
    pub const SAMPLED: Self = Self(0x01);
    /// The low 56 bits of the trace id are random.
    pub const RANDOM: Self = Self(0x02);
    /// The span of this context is recorded in this process; never on the wire.
    pub const RECORDING: Self = Self(0x80);

    /// Takes the bits that this version knows from a received flags byte.
    #[inline]
    pub const fn from_wire(byte: u8) -> Self {
        Self(byte & 0x03)
    }

    /// Returns the byte to send: unknown and local bits are zero.
    #[inline]
    pub const fn to_wire(self) -> u8 {
        self.0 & 0x03
    }

    /// Says whether all of `flags` are set.
    #[inline]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({:#04x})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(n: u64) -> Context {
        let (trace, span) = (TraceId::new(n.into()).unwrap(), SpanId::new(n).unwrap());
        Context::new().with_span(trace, span, Flags::SAMPLED)
    }

    #[test]
    fn is_forty_eight_bytes() {
        assert_eq!(size_of::<Context>(), 48);
    }

    #[test]
    fn attaching_nests_and_each_thread_has_its_own() {
        let outer = numbered(1).attach();
        let inner = numbered(2).attach();
        assert_eq!(Context::current(), numbered(2));
        let elsewhere = std::thread::spawn(Context::current).join().unwrap();
        assert_eq!(elsewhere, Context::new());
        drop(inner);
        assert_eq!(Context::current(), numbered(1));
        drop(outer);
        assert_eq!(Context::current(), Context::new());
    }

    #[test]
    fn a_panic_detaches() {
        let result = std::panic::catch_unwind(|| {
            let _guard = numbered(3).attach();
            panic!("seeded");
        });
        assert!(result.is_err());
        assert_eq!(Context::current(), Context::new());
    }

    #[test]
    fn works_in_a_thread_local_destructor() {
        struct Late(std::sync::mpsc::Sender<Context>);
        impl Drop for Late {
            fn drop(&mut self) {
                let _guard = numbered(4).attach();
                let _ = self.0.send(Context::current());
            }
        }
        thread_local!(static LATE: Cell<Option<Late>> = const { Cell::new(None) });
        let (sent, received) = std::sync::mpsc::channel();
        std::thread::spawn(move || LATE.set(Some(Late(sent))))
            .join()
            .unwrap();
        assert_eq!(received.recv(), Ok(numbered(4)));
    }

    #[test]
    fn debug_names_the_parts() {
        let shown = format!("{:?}", numbered(5).attach());
        assert!(
            shown.starts_with("Guard") && shown.contains("Flags(0x00)"),
            "{shown}"
        );
        assert_eq!(numbered(5).span_id(), SpanId::new(5));
        assert_eq!(numbered(5).flags(), Flags::SAMPLED);
    }
}
