use crate::SpanData;
use crate::span::{Record, spare};

/// What lies in a queue.
pub(crate) trait Queued: Clone + Send + 'static {
    /// What the exporter sees.
    type Item;

    /// Says about how many bytes it holds, itself and on the heap.
    fn weight(&self) -> usize;

    /// Completes what the exporter sees, and shows it.
    fn item(&mut self) -> &Self::Item;

    /// Empties what was exported.
    fn dispose(queued: &mut Vec<Self>);
}

/// In a box, as it was recorded: who ends a span moves a pointer, and who exports it moves nothing.
impl Queued for Box<Record> {
    type Item = SpanData;

    fn weight(&self) -> usize {
        crate::tail::size::of(self.data())
    }

    fn item(&mut self) -> &SpanData {
        self.complete()
    }

    fn dispose(queued: &mut Vec<Self>) {
        spare::keep(queued);
    }
}
