use crate::status::Status;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Hears what happens to the checks; `()` hears nothing, a pair tells both.
///
/// Each observer is called on a thread of its own, made when there is something to tell, in the order of the events and
/// after the report that tells of them is published. One that blocks holds up no check and no other observer, except that
/// of its pair: some thousand events wait, then the oldest ends of runs are left out, and changes only where there is
/// nothing else ([`Event::Missed`], [`Health::missed_events`](crate::Health::missed_events)). A panic is caught and
/// logged.
///
/// # Examples
///
/// ```
/// use cortex_health::{Event, Health, Observer};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Default)]
/// struct Runs(AtomicU64);
///
/// impl Observer for Runs {
///     fn on_event(&self, event: &Event) {
///         if let Event::RunFinished { .. } = event {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
///
/// let runs = std::sync::Arc::new(Runs::default());
/// let health = Health::builder().observer(runs.clone()).build()?;
/// assert_eq!(runs.0.load(Ordering::Relaxed), 0); // not started
/// # Ok::<(), cortex_health::BuildError>(())
/// ```
pub trait Observer: Send + Sync {
    /// Takes note of an event.
    fn on_event(&self, event: &Event) {
        let _ = event;
    }
}

impl Observer for () {}

impl<A: Observer, B: Observer> Observer for (A, B) {
    fn on_event(&self, event: &Event) {
        self.0.on_event(event);
        self.1.on_event(event);
    }
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn on_event(&self, event: &Event) {
        (**self).on_event(event);
    }
}

/// Something that happened to a check.
///
/// # Examples
///
/// ```
/// use cortex_health::{Event, Status};
///
/// fn pages_somebody(event: &Event) -> bool {
///     matches!(event, Event::Transition { to: Status::Down | Status::Unknown, .. })
/// }
/// # let _ = pages_somebody;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A run ended, or was given up at its timeout.
    #[non_exhaustive]
    RunFinished {
        /// The name of the check.
        check: Arc<str>,
        /// How it ended.
        result: RunResult,
        /// How long it took, or the timeout.
        latency: Duration,
    },
    /// The status of a check changed.
    #[non_exhaustive]
    Transition {
        /// The name of the check.
        check: Arc<str>,
        /// The status before.
        from: Status,
        /// The status now.
        to: Status,
        /// When it changed.
        at: SystemTime,
        /// How long it had the status before.
        after: Duration,
        /// How long the last run took; `None` before the first.
        latency: Option<Duration>,
        /// What the last result said; passwords of URLs are masked.
        message: Option<Arc<str>>,
        /// The checks that it fails for: the topmost failing ones of those that it depends on.
        causes: Arc<[Arc<str>]>,
        /// Whether it flaps: it has changed often of late, and this change tells little.
        flapping: bool,
    },
    /// A run took more than half of the timeout, and did end in time. It is told once a minute and check at most.
    #[non_exhaustive]
    Slow {
        /// The name of the check.
        check: Arc<str>,
        /// How long it took.
        latency: Duration,
        /// How long it may take.
        timeout: Duration,
    },
    /// A check began to flap, or has been steady for long enough.
    #[non_exhaustive]
    Flapping {
        /// The name of the check.
        check: Arc<str>,
        /// Whether it flaps from now on.
        flapping: bool,
        /// The [score](crate::CheckReport::flap_score).
        score: f64,
        /// Its status now.
        status: Status,
    },
    /// Events were left out here: the observer took too long. It is logged when it begins.
    #[non_exhaustive]
    Missed {
        /// How many.
        events: u64,
    },
}

/// How a run ended.
///
/// # Examples
///
/// ```
/// use cortex_health::RunResult;
///
/// assert_eq!(RunResult::TimedOut.as_str(), "timeout"); // a value for a metric label
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunResult {
    /// It found [`Status::Up`].
    Ok,
    /// It found [`Status::Degraded`].
    Degraded,
    /// It found [`Status::Down`], or it was dropped before its end.
    Failed,
    /// It did not end in time.
    TimedOut,
    /// It panicked.
    Panicked,
    /// It was due, and was not started: something that the check depends on fails.
    Skipped,
}

impl RunResult {
    /// Returns the result as one lowercase word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "fail",
            Self::TimedOut => "timeout",
            Self::Panicked => "panic",
            Self::Skipped => "skipped",
        }
    }
}

impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
