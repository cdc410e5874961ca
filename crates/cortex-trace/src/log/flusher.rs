use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::background::NAME;
use super::handle::Output;
use crate::ExportError;
use crate::export::{Completion, Waiting};

/// Flushes a writer that has no thread on one of its own, which lives as long as that takes: who asks waits no longer
/// than it wants to, whatever the writer does.
#[derive(Debug, Default)]
pub(super) struct Flusher {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: Waiting,
    /// There is one at most, so that a writer that hangs holds no more.
    has_thread: bool,
}

impl Flusher {
    pub(super) fn ask(self: &Arc<Self>, output: &Arc<dyn Output>) -> Arc<Completion> {
        let completion = Completion::new(vec![NAME], Vec::new());
        let mut state = self.state();
        state.waiting.add(&completion);
        if !state.has_thread {
            let (flusher, output) = (Arc::clone(self), Arc::clone(output));
            let thread = std::thread::Builder::new()
                .name("cortex-logs-flush".into())
                .spawn(move || flusher.run(&*output));
            match thread {
                Ok(_) => state.has_thread = true,
                Err(error) => {
                    let waiting = std::mem::take(&mut state.waiting);
                    drop(state);
                    waiting.report(NAME, &Err(error.into()));
                }
            }
        }
        completion
    }

    fn run(&self, output: &dyn Output) {
        loop {
            let waiting = {
                let mut state = self.state();
                if state.waiting.is_empty() {
                    state.has_thread = false;
                    return;
                }
                std::mem::take(&mut state.waiting)
            };
            // The writer is foreign, and so is the clock; whoever waits has to hear of it.
            let flush = AssertUnwindSafe(|| output.flush().map_err(ExportError::from));
            let result = catch_unwind(flush).unwrap_or_else(|_| Err(ExportError::panicked("the log writer")));
            let _ = catch_unwind(AssertUnwindSafe(|| waiting.report(NAME, &result)));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
