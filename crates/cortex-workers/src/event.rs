use crate::drain::DrainReport;
use crate::error::{Discard, Stage};
use crate::job::{Ran, Unstarted};
use crate::priority::Priority;
use crate::stop::Stop;
use crate::ticket::Ticket;
use crate::worker::StopReason;
use std::fmt;
use std::io::ErrorKind;
use std::time::Duration;

/// What happens in a pool, as an [`Observer`](crate::Observer) hears it.
///
/// Of each task that was offered there is one: [`Ended`](Self::Ended), [`Refused`](Self::Refused), [`Cancelled`](Self::Cancelled),
/// [`Expired`](Self::Expired) or [`Discarded`](Self::Discarded).
///
/// # Examples
///
/// ```
/// use cortex_workers::{Event, Outcome};
/// use std::time::Duration;
///
/// fn is_slow(event: &Event) -> bool {
///     matches!(event, Event::Ended { outcome: Outcome::Completed, ran, .. } if *ran > Duration::from_secs(1))
/// }
/// # let _ = is_slow;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A task that was begun is over.
    #[non_exhaustive]
    Ended {
        /// How.
        outcome: Outcome,
        /// That of the task.
        priority: Priority,
        /// How long it waited until a worker took it.
        waited: Duration,
        /// How long it ran.
        ran: Duration,
    },
    /// A task was not accepted.
    #[non_exhaustive]
    Refused {
        /// Why.
        reason: Refusal,
        /// That of the task.
        priority: Priority,
        /// How long it waited for a place.
        waited: Duration,
    },
    /// A task was taken back before it was begun.
    #[non_exhaustive]
    Cancelled {
        /// That of the task.
        priority: Priority,
        /// How long it waited.
        waited: Duration,
    },
    /// The deadline of a task came before it was begun.
    #[non_exhaustive]
    Expired {
        /// How far it was.
        stage: Stage,
        /// That of the task.
        priority: Priority,
        /// How long it waited.
        waited: Duration,
    },
    /// A task that waited was discarded.
    #[non_exhaustive]
    Discarded {
        /// For what.
        reason: Discard,
        /// That of the task.
        priority: Priority,
        /// How long it waited.
        waited: Duration,
    },
    /// A thread begins that could not be set up as the pool says, and works without that. In a `CpuPool` it is one that
    /// computes.
    #[non_exhaustive]
    ThreadNotSet {
        /// Its number in the pool.
        thread: usize,
        /// What could not be set.
        setting: ThreadSetting,
        /// Why.
        error: ErrorKind,
    },
    /// A worker has made its state, and takes tasks.
    #[non_exhaustive]
    WorkerStarted {
        /// The number of its thread in the pool.
        thread: usize,
        /// How many states this thread had before: with more than none, it was made again.
        generation: u32,
    },
    /// A worker has no state any more, and makes it again after a while.
    #[non_exhaustive]
    WorkerFailed {
        /// The number of its thread in the pool.
        thread: usize,
        /// What was the matter.
        reason: Failure,
        /// How long it waits before it tries.
        retry_after: Duration,
    },
    /// A thread ends.
    #[non_exhaustive]
    WorkerEnded {
        /// Its number in the pool.
        thread: usize,
        /// Why.
        reason: StopReason,
    },
    /// A worker was given up, as its task does not stop.
    #[non_exhaustive]
    WorkerStuck {
        /// The number of its thread in the pool.
        thread: usize,
        /// How long its task has run.
        ran: Duration,
        /// Another thread takes its place: not in a pool that ends.
        is_replaced: bool,
    },
    /// A shutdown does not wait any longer for a thread, as its task does not stop.
    #[non_exhaustive]
    WorkerLeaked {
        /// The number of the thread in the pool.
        thread: usize,
        /// How long its task has run; none if it is its state that does not end.
        ran: Option<Duration>,
    },
    /// The pool has ended.
    #[non_exhaustive]
    Drained {
        /// With what.
        report: DrainReport,
    },
}

/// How a task ended that was begun.
///
/// # Examples
///
/// ```
/// use cortex_workers::Outcome;
///
/// assert_eq!(Outcome::TimedOut.as_str(), "timed_out");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// With an answer.
    Completed,
    /// With the worker's error.
    Failed,
    /// With a panic.
    Panicked,
    /// After its call was cancelled.
    Cancelled,
    /// After its deadline.
    Expired,
    /// After it had run for as long as it may.
    TimedOut,
    /// After a shutdown told it to stop.
    ShutDown,
}

/// What is set of a thread before it works.
///
/// # Examples
///
/// ```
/// use cortex_workers::ThreadSetting;
///
/// assert_eq!(ThreadSetting::Affinity.as_str(), "affinity");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThreadSetting {
    /// The core that it is bound to.
    Affinity,
    /// How much it gives way to others.
    Niceness,
}

/// Why a task was not accepted.
///
/// # Examples
///
/// ```
/// use cortex_workers::Refusal;
///
/// assert_eq!(Refusal::NoWorkers.to_string(), "no_workers");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The queue was full, and stayed so for as long as it would wait.
    Full,
    /// The pool ends.
    Closed,
    /// No worker was there.
    NoWorkers,
}

/// Why a worker has no state.
///
/// # Examples
///
/// ```
/// use cortex_workers::Failure;
///
/// assert_eq!(Failure::InitPanicked.as_str(), "init_panicked");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// A task panicked, and the state was not to be kept.
    TaskPanicked,
    /// Making it returned an error.
    Init,
    /// Making it panicked.
    InitPanicked,
}

impl Outcome {
    pub(crate) fn of(ticket: &Ticket, ran: Option<Ran>) -> Self {
        match (ticket.stop(), ran) {
            (_, Some(Ran::Panicked)) => Self::Panicked,
            (Some(Stop::Cancelled), _) => Self::Cancelled,
            (Some(Stop::Deadline), _) => Self::Expired,
            (Some(Stop::RunTimeout), _) => Self::TimedOut,
            (Some(Stop::Shutdown), _) => Self::ShutDown,
            (None, Some(Ran::Failed)) => Self::Failed,
            (None, _) => Self::Completed,
        }
    }

    /// Returns a name of it for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::TimedOut => "timed_out",
            Self::ShutDown => "shut_down",
        }
    }
}

impl Refusal {
    /// Returns a name of it for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Closed => "closed",
            Self::NoWorkers => "no_workers",
        }
    }
}

impl ThreadSetting {
    /// Returns a name of it for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Affinity => "affinity",
            Self::Niceness => "niceness",
        }
    }
}

impl Failure {
    /// Returns a name of it for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TaskPanicked => "task_panicked",
            Self::Init => "init",
            Self::InitPanicked => "init_panicked",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ThreadSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Event {
    /// Tells of a task that was not begun.
    pub(crate) fn of_unstarted(why: Unstarted, ticket: &Ticket, now: u64) -> Self {
        let priority = ticket.priority;
        let waited = Duration::from_nanos(now.saturating_sub(ticket.submitted));
        let refused = |reason| Self::Refused {
            reason,
            priority,
            waited,
        };
        match why {
            Unstarted::Full => refused(Refusal::Full),
            Unstarted::Closed => refused(Refusal::Closed),
            Unstarted::NoWorkers => refused(Refusal::NoWorkers),
            Unstarted::Cancelled(_) => Self::Cancelled { priority, waited },
            Unstarted::Deadline(stage) => Self::Expired {
                stage,
                priority,
                waited,
            },
            Unstarted::Discarded(reason) => Self::Discarded {
                reason,
                priority,
                waited,
            },
        }
    }

    pub(crate) fn of_ended(outcome: Outcome, ticket: &Ticket, since: u64, now: u64) -> Self {
        Self::Ended {
            outcome,
            priority: ticket.priority,
            waited: Duration::from_nanos(since.saturating_sub(ticket.submitted)),
            ran: Duration::from_nanos(now.saturating_sub(since)),
        }
    }
}
