//! What the tests share.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use cortex_testkit::ManualClock;
use cortex_trace::{InMemory, SpanData, Tracer, TracerBuilder};

/// Longer than any machine needs; only a test that fails waits that long.
pub(crate) const AGES: Duration = Duration::from_mins(2);

/// A tracer whose finished spans can be looked at.
pub(crate) struct Fixture {
    pub(crate) tracer: Tracer,
    pub(crate) clock: ManualClock,
    spans: InMemory,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(configure: impl FnOnce(TracerBuilder) -> TracerBuilder) -> Self {
        let (clock, spans) = (ManualClock::new(), InMemory::new());
        let builder = Tracer::builder("shop").clock(clock.clone()).export(spans.clone());
        Self {
            tracer: configure(builder).build().unwrap(),
            clock,
            spans,
        }
    }

    /// Returns the spans that have ended since the last call.
    pub(crate) fn ended(&self) -> Vec<SpanData> {
        self.tracer.flush_blocking(AGES).unwrap();
        self.spans.take()
    }

    /// Returns the spans that were exported since the last call, without a flush.
    pub(crate) fn taken(&self) -> Vec<SpanData> {
        self.spans.take()
    }

    /// Returns the one span that has ended since the last call.
    pub(crate) fn one(&self) -> SpanData {
        let mut ended = self.ended();
        assert_eq!(ended.len(), 1, "{ended:?}");
        ended.remove(0)
    }
}

/// Runs a future on no runtime at all.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
