use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use super::step::{BoxError, FORCED_LIMIT, Step, StepFuture, StepResult, boxed};
use super::subsystem::Subsystem;

/// What a server starts, stops, flushes and reloads, beside itself.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) subsystems: Vec<Subsystem>,
    pub(crate) flushes: Vec<(Cow<'static, str>, Step)>,
    /// What is flushed when all else has ended and been told, in this time; it returns whether it was.
    pub(crate) last: Option<LastFlush>,
    pub(crate) reloads: Vec<Reload>,
}

pub(crate) type LastFlush = Box<dyn FnOnce(Duration) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send>;

/// What is done again at every SIGHUP.
pub(crate) struct Reload {
    pub(crate) name: Cow<'static, str>,
    pub(crate) limit: Duration,
    pub(crate) step: ReloadFn,
}

/// Makes the step anew. It is the application's, called by a task of the application: it may panic or block.
pub(crate) type ReloadFn = Arc<Mutex<dyn FnMut() -> StepFuture + Send>>;

impl Reload {
    /// Returns what one reload does; nothing of the application runs before that is polled.
    pub(crate) fn step(&self) -> Step {
        let step = Arc::clone(&self.step);
        let future = boxed(async move {
            let future = match step.try_lock() {
                Ok(mut step) => step(),
                Err(TryLockError::Poisoned(step)) => step.into_inner()(), // one that panicked may do better now
                Err(TryLockError::WouldBlock) => {
                    return Err(BoxError::from("the one before still blocks its thread"));
                }
            };
            future.await
        });
        Step {
            limit: self.limit,
            future,
        }
    }
}

impl Parts {
    pub(crate) fn flush<F>(&mut self, name: Cow<'static, str>, limit: Duration, step: F)
    where
        F: Future<Output: StepResult> + Send + 'static,
    {
        let future = boxed(step);
        self.flushes.push((name, Step { limit, future }));
    }

    pub(crate) fn reload<F>(
        &mut self,
        name: Cow<'static, str>,
        limit: Duration,
        mut step: impl FnMut() -> F + Send + 'static,
    ) where
        F: Future<Output: StepResult> + Send + 'static,
    {
        let step = Arc::new(Mutex::new(move || boxed(step())));
        self.reloads.push(Reload { name, limit, step });
    }

    /// Returns how long the subsystems may take to stop, one after the other.
    pub(crate) fn stops(&self) -> Duration {
        let stops = self.subsystems.iter().map(Subsystem::longest_stop);
        stops.fold(Duration::ZERO, Duration::saturating_add)
    }

    /// Returns how long all flushes may take, those of the tracer within this limit: they run side by side, and then comes
    /// the last one, in what is left of it, or for a moment.
    pub(crate) fn flushes(&self, limit: Duration) -> Duration {
        let steps = self.flushes.iter().map(|(_, step)| step.longest());
        let longest = steps.fold(limit, Duration::max);
        let last = if self.last.is_some() {
            FORCED_LIMIT
        } else {
            Duration::ZERO
        };
        longest.saturating_add(last)
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("subsystems", &self.subsystems)
            .finish_non_exhaustive()
    }
}
