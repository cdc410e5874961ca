use crate::observer::{Event, RunResult};
use crate::status::Status;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Both times of one moment: schedules and ages go by the first, output by the second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    pub(crate) wall: SystemTime,
}

/// The settings of a check that the machine needs.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
    pub(crate) stale_after: Duration,
    pub(crate) fall: u32,
    pub(crate) rise: u32,
    /// Not even a failing ancestor keeps it from running.
    pub(crate) always_run: bool,
    /// It keeps its worst status while it flaps.
    pub(crate) hold_down: bool,
}

/// What a run found.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) status: Status,
    pub(crate) message: Option<Arc<str>>,
    pub(crate) result: RunResult,
    pub(crate) latency: Duration,
}

/// What the thread has to do.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) actions: Vec<Action>,
    pub(crate) events: Vec<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start this run of the check.
    Start { check: usize, run: u64 },
    /// Abort the run of the check, and report when it is gone.
    Abort { check: usize },
}

/// Adds, and stops short of what an `Instant` can hold.
pub(super) fn after(at: Instant, by: Duration) -> Instant {
    const FAR: Duration = Duration::from_hours(24 * 365 * 30);
    at + by.min(FAR)
}
