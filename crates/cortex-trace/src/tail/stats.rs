/// What became of the local traces that a [`Tail`](crate::Tail) has seen:
/// `begun = kept_by_rule + kept_by_sampler + discarded + pending`, when nothing is under way.
///
/// # Examples
///
/// ```
/// use cortex_trace::{AlwaysOff, Tail, Tracer};
///
/// let tail = Tail::new().keep_errors();
/// let tracer = Tracer::builder("shop").sampler(AlwaysOff).tail(tail).build()?;
/// let mut span = tracer.span("charge card").start();
/// span.set_error("declined");
/// drop(span);
/// tracer.span("restock").start().end();
/// let stats = tracer.tail_stats().ok_or("there is a tail")?;
/// assert_eq!((stats.begun, stats.kept_by_rule, stats.discarded), (2, 1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TailStats {
    /// Local traces that were recorded to be decided about later.
    pub begun: u64,
    /// Of them, those that a rule has kept.
    pub kept_by_rule: u64,
    /// Those that no rule has kept, but the sampler.
    pub kept_by_sampler: u64,
    /// Those that nobody has kept.
    pub discarded: u64,
    /// Those that are not decided yet.
    pub pending: u64,
    /// Of the decided ones, those that could not wait for their end: too old, too many spans, or a flush.
    pub cut: u64,
    /// Of the decided ones, those that could not wait because memory was short.
    pub evicted: u64,
    /// Rules that panicked; such a rule does not match.
    pub panics: u64,
    /// Spans that are held or have a place reserved.
    pub pending_spans: usize,
    /// The memory of those that are held.
    pub pending_bytes: usize,
    /// The share of what the sampler drops that is recorded now; below 1 if memory gets short.
    pub record_ratio: f64,
}
