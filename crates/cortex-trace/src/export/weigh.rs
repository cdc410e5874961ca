/// Says about how many bytes something holds, itself and on the heap: what a queue counts.
pub(crate) trait Weigh {
    fn weight(&self) -> usize;
}

impl Weigh for crate::SpanData {
    fn weight(&self) -> usize {
        crate::tail::size::of(self)
    }
}
