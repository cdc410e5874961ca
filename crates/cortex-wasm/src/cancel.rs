use crate::deadline::Stopper;
use cortex_core::Deadline;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// For whom an instance works: until when they wait, and what tells that they do no longer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Service {
    pub(crate) until: Option<Deadline>,
    pub(crate) cancel: Option<Arc<Cancel>>,
}

/// Stops what a guest does for somebody who no longer waits, from any thread.
#[derive(Default)]
pub(crate) struct Cancel {
    is_cancelled: AtomicBool,
    /// What stops the call that runs.
    running: Mutex<Option<Stopper>>,
}

impl Cancel {
    /// Stops the call that runs, if one does, and lets none begin.
    pub(crate) fn cancel(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_cancelled.store(true, Ordering::Relaxed);
        if let Some(stopper) = &*running {
            stopper.stop();
        }
    }

    /// Notes the call that begins; returns whether it may.
    pub(crate) fn begin(&self, stopper: Option<Stopper>) -> bool {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        *running = stopper;
        !self.is_cancelled()
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancel")
            .field("is_cancelled", &self.is_cancelled())
            .finish_non_exhaustive()
    }
}
