//! The thread of one exporter.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::queue::{Queue, Task};
use super::queued::Queued;
use super::{Exporter, ExporterStart, Untracked};
use crate::{ExportError, Resource, SpanData};

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Says whether this thread exports spans, where none may start that would be exported in turn.
#[inline]
pub(super) fn is_worker() -> bool {
    IS_WORKER.get()
}

/// Makes this a thread where nothing is recorded that would be exported in turn.
pub(super) fn be_one() {
    IS_WORKER.set(true);
}

/// Where a worker takes what it gets: an exporter of spans, or of something else.
pub(crate) trait Consumer<T>: Send + 'static {
    fn name(&self) -> &'static str;
    fn begin(&mut self, start: ExporterStart<'_>);
    fn export(&mut self, batch: &[&T]) -> Result<(), ExportError>;
    fn flush(&mut self) -> Result<(), ExportError>;
    fn shutdown(&mut self) -> Result<(), ExportError>;
}

impl Consumer<SpanData> for Box<dyn Exporter> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn begin(&mut self, start: ExporterStart<'_>) {
        (**self).begin(start);
    }

    fn export(&mut self, batch: &[&SpanData]) -> Result<(), ExportError> {
        (**self).export(batch)
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        (**self).flush()
    }

    fn shutdown(&mut self) -> Result<(), ExportError> {
        (**self).shutdown()
    }
}

/// Exports what comes out of the queue until that is closed and empty, and tells what is lost on the way. It also tells
/// what is `untracked`, together with all workers that are given that.
pub(super) fn run<T: Queued>(
    queue: &Queue<T>,
    mut exporter: impl Consumer<T::Item>,
    resource: &Resource,
    untracked: Option<&Untracked>,
) {
    be_one();
    let mut ending = Ending {
        queue,
        result: Err(ExportError::panicked("the worker")),
    };
    let named = guarded(queue, || {
        exporter.begin(ExporterStart::new(resource, &queue.abort, &queue.reporter));
        Ok(())
    });
    let mut taken = Vec::new();
    loop {
        let due = untracked.and_then(Untracked::due);
        match queue.next(&mut taken, due) {
            Task::Export => {
                let batch: Vec<_> = taken.iter_mut().map(Queued::item).collect();
                let result = guarded(queue, || exporter.export(&batch));
                queue.exported(batch.len(), &result);
                Queued::dispose(&mut taken);
                #[cfg(any(feature = "bridge", feature = "logs"))]
                // Whoever listens is foreign code, too; it is not the exporter that panics.
                let _ = catch_unwind(AssertUnwindSafe(|| queue.complaints.consider(queue)));
                with(untracked, Untracked::tell);
            }
            Task::Flush(waiting) => {
                let result = guarded(queue, || exporter.flush());
                with(untracked, Untracked::tell);
                waiting.report(queue.name, &result);
            }
            Task::Look => with(untracked, Untracked::tell),
            Task::End => {
                #[cfg(any(feature = "bridge", feature = "logs"))]
                let _ = catch_unwind(AssertUnwindSafe(|| queue.complaints.finish(queue)));
                with(untracked, Untracked::finish);
                break;
            }
        }
    }
    let result = guarded(queue, || exporter.shutdown());
    // Dropped before anybody hears of the end, so that its files and sockets are closed by then.
    let dropped = guarded(queue, || {
        drop(exporter);
        Ok(())
    });
    ending.result = named.and(result).and(dropped);
}

/// Tells through `tracing` what is untracked; whoever listens is foreign code.
fn with(untracked: Option<&Untracked>, tell: fn(&Untracked)) {
    if let Some(untracked) = untracked {
        let _ = catch_unwind(AssertUnwindSafe(|| tell(untracked)));
    }
}

/// Tells everybody who waits that the worker has ended, even if it panics.
struct Ending<'a, T> {
    queue: &'a Queue<T>,
    result: Result<(), ExportError>,
}

impl<T> Drop for Ending<'_, T> {
    fn drop(&mut self) {
        self.queue.ended(&self.result);
    }
}

/// Runs foreign code; a panic becomes an error and is counted.
fn guarded<T>(queue: &Queue<T>, call: impl FnOnce() -> Result<(), ExportError>) -> Result<(), ExportError> {
    // What a panic leaves half done belongs to the exporter, which gets the next batch all the same.
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        queue.count_panic();
        Err(ExportError::panicked(message(&*panic)))
    })
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("something that is no text")
}
