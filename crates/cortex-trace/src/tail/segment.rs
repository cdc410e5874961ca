use std::time::Duration;

use crate::SpanData;

/// A local trace, as the rules of a [`Tail`](crate::Tail) see it: the spans of this process below one that was started
/// by a call from outside, or by nobody.
///
/// # Examples
///
/// ```
/// use cortex_trace::Tail;
///
/// let tail = Tail::new().keep_if(|segment| {
///     segment.root().is_some_and(|root| root.name == "POST /orders") && segment.spans().len() > 100
/// });
/// # drop(cortex_trace::Tracer::builder("shop").tail(tail).build()?);
/// # Ok::<(), cortex_trace::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Segment<'a> {
    pub(super) spans: &'a [SpanData],
    pub(super) root: Option<&'a SpanData>,
    pub(super) elapsed: Duration,
}

impl<'a> Segment<'a> {
    /// Returns the spans that have ended, in the order of their ends.
    pub const fn spans(&self) -> &'a [SpanData] {
        self.spans
    }

    /// Returns the root; `None` if the decision cannot wait for its end.
    pub const fn root(&self) -> Option<&'a SpanData> {
        self.root
    }

    /// Returns how long the root took, or has taken by now.
    pub fn duration(&self) -> Duration {
        self.root.map_or(self.elapsed, SpanData::duration)
    }

    /// Says whether any of the spans ended with an error.
    pub fn has_error(&self) -> bool {
        self.spans.iter().any(|span| span.status.is_error())
    }
}
