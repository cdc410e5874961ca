//! The thread of one exporter.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Exporter;
use super::queue::{Queue, Task};
use crate::{ExportError, Resource};

thread_local! {
    static IS_WORKER: Cell<bool> = const { Cell::new(false) };
}

/// Says whether this thread exports spans, where none may start that would be exported in turn.
pub(crate) fn is_worker() -> bool {
    IS_WORKER.get()
}

/// Exports what comes out of the queue until that is closed and empty.
pub(super) fn run(queue: &Queue, mut exporter: Box<dyn Exporter>, resource: &Resource) {
    IS_WORKER.set(true);
    let named = guarded(queue, || {
        exporter.set_resource(resource);
        Ok(())
    });
    let mut batch = Vec::new();
    loop {
        match queue.next(&mut batch) {
            Task::Export => {
                let result = guarded(queue, || exporter.export(&batch));
                queue.exported(batch.len(), &result);
                batch.clear();
            }
            Task::Flush(completion) => {
                let result = guarded(queue, || exporter.flush());
                completion.report(queue.name, result);
            }
            Task::End => break,
        }
    }
    let result = guarded(queue, || exporter.shutdown());
    // Dropped before anybody hears of the end, so that its files and sockets are closed by then.
    let dropped = guarded(queue, || {
        drop(exporter);
        Ok(())
    });
    queue.ended(&named.and(result).and(dropped));
}

/// Runs foreign code; a panic becomes an error and is counted.
fn guarded(queue: &Queue, call: impl FnOnce() -> Result<(), ExportError>) -> Result<(), ExportError> {
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
