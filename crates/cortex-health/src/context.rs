use crate::status::Status;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// What a run of a check may want to know.
///
/// # Examples
///
/// ```
/// use cortex_health::{Check, Outcome, RunReason};
///
/// let check = Check::with_context("db", |cx| async move {
///     // a look that costs more, where there is a reason for it
///     let thorough = cx.reason() != RunReason::Scheduled;
///     Outcome::up().detail("thorough", thorough).detail("attempt", cx.attempt())
/// });
/// # let _ = check;
/// ```
#[derive(Clone, Debug)]
pub struct CheckCtx {
    pub(crate) name: Arc<str>,
    pub(crate) deadline: Instant,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) last: Status,
    pub(crate) attempt: u64,
    pub(crate) reason: RunReason,
}

impl CheckCtx {
    /// Returns the name of the check.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns when the run is given up. It is the deadline of [`Context`](cortex_core::Context), too.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Says whether nobody waits for the run any more: its time is over, or the scheduler has stopped.
    ///
    /// An async run is dropped then; a blocking one should look here between its steps, and return.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Returns the status of the check when the run started.
    pub fn last(&self) -> Status {
        self.last
    }

    /// Returns the number of the run, from 1.
    pub fn attempt(&self) -> u64 {
        self.attempt
    }

    /// Returns why it runs.
    pub fn reason(&self) -> RunReason {
        self.reason
    }
}

/// Why a check runs.
///
/// # Examples
///
/// ```
/// assert_eq!(cortex_health::RunReason::ParentRecovered.as_str(), "parent_recovered");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunReason {
    /// It is its turn.
    Scheduled,
    /// The last result differed from the status, and is to be confirmed soon.
    Confirm,
    /// Somebody asked, with [`Health::run_now`](crate::Health::run_now).
    Manual,
    /// What it depends on has recovered.
    ParentRecovered,
}

impl RunReason {
    /// Returns the reason as one lowercase word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Confirm => "confirm",
            Self::Manual => "manual",
            Self::ParentRecovered => "parent_recovered",
        }
    }
}

impl fmt::Display for RunReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
