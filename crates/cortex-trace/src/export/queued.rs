use crate::SpanData;
use crate::span::{Record, spare};

/// What lies in a queue.
pub(crate) trait Queued: Clone + Send + 'static {
    /// What the exporter gets.
    type Item;

    /// Says about how many bytes it holds, itself and on the heap.
    fn weight(&self) -> usize;

    /// Takes out of everything what the exporter gets.
    fn unpack(queued: &mut Vec<Self>, batch: &mut Vec<Self::Item>);

    /// Empties both, after the export.
    fn dispose(queued: &mut Vec<Self>, batch: &mut Vec<Self::Item>);
}

/// In a box, as it was recorded: who ends a span moves a pointer.
impl Queued for Box<Record> {
    type Item = SpanData;

    fn weight(&self) -> usize {
        crate::tail::size::of(self.data())
    }

    fn unpack(queued: &mut Vec<Self>, batch: &mut Vec<SpanData>) {
        batch.extend(queued.iter_mut().map(|record| record.take_data()));
    }

    fn dispose(queued: &mut Vec<Self>, batch: &mut Vec<SpanData>) {
        for (record, span) in queued.iter_mut().zip(batch.drain(..)) {
            record.reuse(span);
        }
        spare::keep(queued);
    }
}
