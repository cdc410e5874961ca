use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Exporter;
use super::completion::lock;
use crate::{ExportError, SpanData};

/// Keeps finished spans in memory, for tests of code that makes them.
///
/// A clone is the same memory: give one to the tracer and look into the other. Spans come on a thread of the tracer, so
/// [flush](crate::Tracer::flush) before looking. They stay when the tracer shuts down.
///
/// It holds 65,536 spans unless it is [bounded](Self::bounded) otherwise. What comes when it is full is refused, and
/// counts as [`failed`](crate::Stats::failed).
///
/// # Examples
///
/// ```
/// use cortex_trace::{InMemory, Tracer, Value};
/// use std::time::Duration;
///
/// let memory = InMemory::new();
/// let tracer = Tracer::builder("shop").export(memory.clone()).build()?;
///
/// let mut span = tracer.span("restock").start();
/// span.set_attribute("items", 12);
/// drop(span);
///
/// tracer.flush_blocking(Duration::from_secs(60))?;
/// let spans = memory.take();
/// assert_eq!(spans[0].name, "restock");
/// assert_eq!(spans[0].attribute("items"), Some(&Value::Int(12)));
/// assert!(memory.spans().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct InMemory {
    spans: Arc<Mutex<Vec<SpanData>>>,
    limit: usize,
}

impl InMemory {
    /// Makes an empty memory for 65,536 spans.
    pub fn new() -> Self {
        Self::bounded(65_536)
    }

    /// Makes an empty memory for this many spans.
    pub fn bounded(spans: usize) -> Self {
        Self {
            spans: Arc::default(),
            limit: spans,
        }
    }

    /// Returns the spans that have come, in the order in which they ended on each thread.
    pub fn spans(&self) -> Vec<SpanData> {
        self.held().clone()
    }

    /// Returns the spans that have come since the last call, and forgets them.
    pub fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut *self.held())
    }

    fn held(&self) -> MutexGuard<'_, Vec<SpanData>> {
        lock(&self.spans)
    }
}

impl Exporter for InMemory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
        let mut held = self.held();
        let (fit, lost) = batch.split_at(batch.len().min(self.limit.saturating_sub(held.len())));
        held.extend(fit.iter().copied().cloned());
        if lost.is_empty() {
            return Ok(());
        }
        let full = format!("the memory is full with {} spans", held.len());
        Err(ExportError::new(full).only(lost.len() as u64, 0))
    }
}

impl Default for InMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for InMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemory")
            .field("spans", &self.held().len())
            .field("limit", &self.limit)
            .finish()
    }
}
