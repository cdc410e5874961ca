use std::fmt;

/// Says why a span did not get its remote parent.
///
/// # Examples
///
/// ```
/// use cortex_core::{SpanId, TraceId, Flags};
/// use cortex_trace::propagation::{Remote, TraceState};
/// use cortex_trace::{SetParentError, SpanExt};
///
/// let ids = TraceId::new(7).zip(SpanId::new(7)).ok_or("zero")?;
/// let caller = Remote::new(ids.0, ids.1, Flags::SAMPLED, TraceState::EMPTY);
/// let nobody_listens = tracing::Span::none();
/// assert_eq!(nobody_listens.set_remote_parent(caller), Err(SetParentError::NotTraced));
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetParentError {
    /// No [`TraceLayer`](crate::TraceLayer) knows the span: it is disabled, filtered out, or of another subscriber.
    NotTraced,
    /// The span was entered, had a child or was asked for its context: somebody knows its ids.
    AlreadyStarted,
}

impl fmt::Display for SetParentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTraced => "set the parent of a span that is not traced",
            Self::AlreadyStarted => "set the parent of a span that has started",
        })
    }
}

impl std::error::Error for SetParentError {}
