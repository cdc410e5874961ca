use crate::context::CheckCtx;
use crate::heartbeat::Pulse;
use crate::outcome::Outcome;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the result of a run comes from.
pub(crate) enum Source {
    /// A future on the application's runtime.
    Async(Arc<dyn Fn(CheckCtx) -> Run + Send + Sync>),
    /// A call on a thread of its own.
    Blocking(Arc<dyn Fn(&CheckCtx) -> Outcome + Send + Sync>),
    /// A look at a counter, on the scheduler's thread.
    Pulse(Pulse),
    /// A look at a state that is there already, on the scheduler's thread.
    Inline(Arc<dyn Fn(Glance) -> Outcome + Send + Sync>),
}

/// When the scheduler looks at a state that ages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Glance {
    pub(crate) now: Instant,
    /// For how long the scheduler itself could not run since it began. It grows when the whole process was stopped, and
    /// who did not run then is not to blame.
    pub(crate) lost: Duration,
}

/// One run of an async check.
pub(crate) type Run = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Async(_) => "Async",
            Self::Blocking(_) => "Blocking",
            Self::Pulse(_) => "Pulse",
            Self::Inline(_) => "Inline",
        })
    }
}
