use crate::observer::{Event, RunResult};
use crate::outcome::Outcome;
use crate::redact::{MESSAGE, redact};
use crate::report::Observed;
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
    /// A run is a look, on the thread of the scheduler, and there is a result when it is over.
    pub(crate) is_look: bool,
}

/// What a run found.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    pub(crate) status: Status,
    pub(crate) message: Option<Arc<str>>,
    pub(crate) observed: Option<Observed>,
    pub(crate) details: Arc<[(Box<str>, Box<str>)]>,
    pub(crate) result: RunResult,
    pub(crate) latency: Duration,
}

impl Finding {
    /// Makes a finding of an outcome: cut, and with secrets masked before it goes anywhere.
    pub(crate) fn new(outcome: &Outcome, result: RunResult, latency: Duration) -> Self {
        let cut = |text: &str, longest| redact(text, longest).into_boxed_str();
        let details = outcome.details();
        Self {
            status: outcome.status(),
            message: outcome.message().map(|message| redact(message, MESSAGE).into()),
            observed: outcome.observation().map(|(value, unit)| Observed {
                value,
                unit: redact(unit, 32).into(),
            }),
            details: details
                .map(|(key, value)| (cut(key, 64), cut(value, 256)))
                .collect(),
            result,
            latency,
        }
    }

    /// Makes the finding of a run that did not tell of its end.
    pub(crate) fn failed(message: &str, result: RunResult, latency: Duration) -> Self {
        Self {
            status: Status::Down,
            message: Some(message.into()),
            observed: None,
            details: Arc::default(),
            result,
            latency,
        }
    }
}

/// What the thread has to do.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) actions: Vec<Action>,
    pub(crate) events: Vec<Event>,
    /// Checks of which a run ended, or will not come.
    pub(crate) concluded: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start this run of the check.
    Start { check: usize, run: u64 },
    /// Abort the run of the check, and report when it is gone.
    Abort { check: usize },
}

/// Adds, and stops short of what an `Instant` can hold.
pub(crate) fn after(at: Instant, by: Duration) -> Instant {
    const FAR: Duration = Duration::from_hours(24 * 365 * 30);
    at + by.min(FAR)
}
