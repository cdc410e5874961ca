use std::ops::AddAssign;

/// What became of finished spans: `enqueued = exported + rejected + failed + dropped() + in_flight`, at every moment.
///
/// # Examples
///
/// ```
/// use cortex_trace::Tracer;
///
/// let tracer = Tracer::builder("shop").build()?;
/// tracer.span("restock").start().end();
/// assert_eq!(tracer.stats().enqueued, 0); // there is no exporter
/// # Ok::<(), cortex_trace::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Spans that ended.
    pub enqueued: u64,
    /// Spans that the exporter took.
    pub exported: u64,
    /// Spans that the destination refused out of batches that it took: a partial success of OTLP.
    pub rejected: u64,
    /// Spans that the exporter failed to take.
    pub failed: u64,
    /// Spans that found the queue full, in number or in bytes.
    pub dropped_queue_full: u64,
    /// Spans that ended after the shutdown.
    pub dropped_after_shutdown: u64,
    /// Spans in the queue or in the exporter's hands.
    pub in_flight: u64,
    /// Of those, spans in the queue.
    pub queued: u64,
    /// About how many bytes those take.
    pub queued_bytes: u64,
    /// Spans that the queue can take.
    pub queue_capacity: u64,
    /// Calls of the exporter that panicked.
    pub panics: u64,
    /// Spans of the `tracing` crate that found so many others open that they were not traced. No exporter has a share in
    /// them, and they are not among the `enqueued`.
    pub untracked: u64,
}

impl Stats {
    /// Returns the spans that no exporter has seen.
    pub const fn dropped(&self) -> u64 {
        self.dropped_queue_full + self.dropped_after_shutdown
    }
}

impl AddAssign for Stats {
    fn add_assign(&mut self, other: Self) {
        self.enqueued += other.enqueued;
        self.exported += other.exported;
        self.rejected += other.rejected;
        self.failed += other.failed;
        self.dropped_queue_full += other.dropped_queue_full;
        self.dropped_after_shutdown += other.dropped_after_shutdown;
        self.in_flight += other.in_flight;
        self.queued += other.queued;
        self.queued_bytes += other.queued_bytes;
        self.queue_capacity += other.queue_capacity;
        self.panics += other.panics;
        self.untracked += other.untracked;
    }
}
