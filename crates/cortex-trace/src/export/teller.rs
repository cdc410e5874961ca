//! Telling of what is lost while an exporter hangs, when its worker cannot.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::queue::{Queue, Rest};
use super::queued::Queued;
use super::worker;

/// Starts a thread that tells what a queue drops, and ends when that is over: not even one line is written on the thread
/// of the service that lost something.
#[cold]
pub(super) fn start<T: Queued>(queue: &Arc<Queue<T>>) {
    let queue = Arc::clone(queue);
    let thread = std::thread::Builder::new()
        .name("cortex-trace-tell".into())
        .spawn(move || run(&queue));
    drop(thread); // where none starts, it is left to the worker, when the exporter returns
}

fn run<T>(queue: &Queue<T>) {
    worker::be_one();
    loop {
        // Whoever listens is foreign code.
        let _ = catch_unwind(AssertUnwindSafe(|| queue.complaints.consider(queue)));
        match queue.rest_from_telling() {
            Rest::Over => {}
            Rest::Closed => {
                let _ = catch_unwind(AssertUnwindSafe(|| queue.complaints.finish(queue)));
                return;
            }
            Rest::Settled => return,
        }
    }
}
