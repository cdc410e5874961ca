use std::cell::{Cell, RefCell};

use crate::propagation::Remote;

thread_local! {
    /// Whether there is something in `NEXT`, which costs more to look at.
    static HAS_NEXT: Cell<bool> = const { Cell::new(false) };
    static NEXT: RefCell<Option<Remote>> = const { RefCell::new(None) };
}

/// Gives the span that `start` makes on this thread a parent in another process.
///
/// The sampler knows the caller before anything of the span is stored, so, other than with
/// [`SpanExt::set_remote_parent`](crate::SpanExt::set_remote_parent), nothing is recorded in vain and nothing is
/// missing. It applies to the first span that takes its parent from its surroundings and that a
/// [`TraceLayer`](crate::TraceLayer) sees.
///
/// # Examples
///
/// ```
/// use cortex_trace::{SpanExt, Tracer, propagation, with_remote_parent};
/// use tracing_subscriber::layer::SubscriberExt;
///
/// let tracer = Tracer::builder("shop").build()?;
/// let mut headers = http::HeaderMap::new();
/// headers.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse()?);
///
/// tracing::subscriber::with_default(tracing_subscriber::registry().with(tracer.layer()), || {
///     let caller = propagation::extract(&headers);
///     let span = with_remote_parent(caller, || tracing::info_span!("GET", otel.kind = "server"));
///     let trace = span.context().trace_id().map(|id| id.to_string());
///     assert_eq!(trace.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn with_remote_parent<R>(parent: impl Into<Option<Remote>>, start: impl FnOnce() -> R) -> R {
    /// Brings back what was there before, also if `start` panics.
    struct Restore(Option<Remote>);
    impl Drop for Restore {
        fn drop(&mut self) {
            swap(self.0.take());
        }
    }
    let _restore = Restore(swap(parent.into()));
    start()
}

/// Takes the parent that is meant for the next span.
#[inline]
pub(super) fn take() -> Option<Remote> {
    if HAS_NEXT.get() { swap(None) } else { None }
}

fn swap(next: Option<Remote>) -> Option<Remote> {
    // Fails in the destructors of a thread that ends: then it stays without.
    NEXT.try_with(|cell| {
        HAS_NEXT.set(next.is_some());
        cell.replace(next)
    })
    .ok()
    .flatten()
}
