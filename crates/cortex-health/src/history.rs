use crate::observer::{Event, RunResult};
use crate::status::Status;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How many runs of a check are remembered.
const RUNS: usize = 64;

/// How many transitions of all checks are remembered.
const TRANSITIONS: usize = 256;

/// One run of a check, as far as it is remembered: 16 bytes.
///
/// # Examples
///
/// ```
/// use cortex_health::{Check, Health, RunResult};
///
/// let runtime = tokio::runtime::Runtime::new()?;
/// let health = Health::builder().check(Check::from_fn("db", || async { true })).build()?;
/// let running = health.start(runtime.handle())?;
/// while health.snapshot().check("db").unwrap().runs().len() == 0 {
///     std::thread::yield_now();
/// }
/// let report = health.snapshot();
/// let run = report.check("db").unwrap().runs().next().unwrap();
/// assert_eq!(run.result(), RunResult::Ok);
/// running.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Of its end, in milliseconds since 1970.
    at: u64,
    /// In microseconds; what takes longer than 71 minutes is cut.
    latency: u32,
    status: Status,
    result: RunResult,
}

impl Run {
    pub(crate) fn new(at: SystemTime, status: Status, result: RunResult, latency: Duration) -> Self {
        let unix = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            at: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
            latency: u32::try_from(latency.as_micros()).unwrap_or(u32::MAX),
            status,
            result,
        }
    }

    /// Returns when it ended or was given up, to the millisecond.
    pub fn at(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.at)
    }

    /// Returns how long it took, to the microsecond and 71 minutes at most.
    pub fn latency(&self) -> Duration {
        Duration::from_micros(self.latency.into())
    }

    /// Returns what it found, before `fall` and `rise`.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns how it ended.
    pub fn result(&self) -> RunResult {
        self.result
    }
}

/// Adds a run, and forgets the oldest if they are too many.
pub(crate) fn remember(runs: &[Run], run: Run) -> Arc<[Run]> {
    let forgotten = (runs.len() + 1).saturating_sub(RUNS);
    runs[forgotten..].iter().copied().chain([run]).collect()
}

/// A change of the status of a check.
///
/// # Examples
///
/// ```
/// use cortex_health::{Status, Transition};
///
/// fn line(transition: &Transition) -> String {
///     let cause = transition.message().unwrap_or("no reason given");
///     format!("{} is {} after {:?}: {cause}", transition.check(), transition.to(), transition.after())
/// }
///
/// fn pages_somebody(transition: &Transition) -> bool {
///     transition.to() == Status::Down && transition.causes().len() == 0 // it fails by itself
/// }
/// # let _ = (line, pages_somebody);
/// ```
#[derive(Clone, Debug)]
pub struct Transition {
    check: Arc<str>,
    from: Status,
    to: Status,
    at: SystemTime,
    after: Duration,
    latency: Option<Duration>,
    message: Option<Arc<str>>,
    causes: Arc<[Arc<str>]>,
    flapping: bool,
}

impl Transition {
    /// Makes one of an event, if it tells of one.
    pub(crate) fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Transition {
                check,
                from,
                to,
                at,
                after,
                latency,
                message,
                causes,
                flapping,
            } => Some(Self {
                check: Arc::clone(check),
                from: *from,
                to: *to,
                at: *at,
                after: *after,
                latency: *latency,
                message: message.clone(),
                causes: Arc::clone(causes),
                flapping: *flapping,
            }),
            _ => None,
        }
    }

    /// Returns the name of the check.
    pub fn check(&self) -> &str {
        &self.check
    }

    pub(crate) const fn name(&self) -> &Arc<str> {
        &self.check
    }

    /// Returns the status before.
    pub fn from(&self) -> Status {
        self.from
    }

    /// Returns the status since.
    pub fn to(&self) -> Status {
        self.to
    }

    /// Returns when it changed.
    pub fn at(&self) -> SystemTime {
        self.at
    }

    /// Returns how long the check had the status before.
    pub fn after(&self) -> Duration {
        self.after
    }

    /// Returns how long the last run took; `None` before the first.
    pub fn latency(&self) -> Option<Duration> {
        self.latency
    }

    /// Returns what the last result said; passwords of URLs are masked.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Returns the names of the checks that it fails for.
    pub fn causes(&self) -> impl ExactSizeIterator<Item = &str> + Clone {
        self.causes.iter().map(|name| &**name)
    }

    /// Says whether the check flaps, so that one change more tells little.
    pub fn is_flapping(&self) -> bool {
        self.flapping
    }
}

/// The last transitions of all checks, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Transitions(Arc<[Arc<Transition>]>);

impl Transitions {
    /// Adds those of one moment, and forgets the oldest if they are too many.
    pub(crate) fn extend(&mut self, transitions: &[Arc<Transition>]) {
        if transitions.is_empty() {
            return;
        }
        let all = self.0.iter().chain(transitions);
        let forgotten = (self.0.len() + transitions.len()).saturating_sub(TRANSITIONS);
        self.0 = all.skip(forgotten).cloned().collect();
    }

    pub(crate) fn to_shared(&self) -> Arc<[Arc<Transition>]> {
        Arc::clone(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(at: u64) -> Run {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at);
        Run::new(at, Status::Down, RunResult::Failed, Duration::from_millis(3))
    }

    #[test]
    fn a_run_is_small_and_bounded() {
        assert_eq!(size_of::<Run>(), 16);
        let end = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        let longest = Run::new(end, Status::Up, RunResult::Ok, Duration::MAX);
        assert_eq!(longest.at(), SystemTime::UNIX_EPOCH);
        assert_eq!(longest.latency(), Duration::from_micros(u32::MAX.into()));
        assert_eq!((longest.status(), longest.result()), (Status::Up, RunResult::Ok));
        assert_eq!(run(7).latency(), Duration::from_millis(3));
    }

    #[test]
    fn the_last_runs_are_kept() {
        let mut runs: Arc<[Run]> = Arc::default();
        for at in 0..200 {
            runs = remember(&runs, run(at));
            assert_eq!(runs.len() as u64, (at + 1).min(64));
        }
        let expected: Vec<_> = (136..200).map(run).collect();
        assert_eq!(&*runs, expected);
    }

    #[test]
    fn the_last_transitions_are_kept() {
        let mut transitions = Transitions::default();
        for after in 0..300 {
            let event = Event::Transition {
                check: "db".into(),
                from: Status::Up,
                to: Status::Down,
                at: SystemTime::UNIX_EPOCH,
                after: Duration::from_secs(after),
                latency: None,
                message: Some("refused".into()),
                causes: Arc::default(),
                flapping: false,
            };
            transitions.extend(&[]);
            transitions.extend(&[Arc::new(Transition::of(&event).unwrap())]);
        }
        let kept = transitions.to_shared();
        let ends = (kept[0].after().as_secs(), kept[255].after().as_secs());
        assert_eq!((kept.len(), ends), (256, (44, 299)));
        assert_eq!(
            (kept[0].check(), kept[0].message(), kept[0].latency()),
            ("db", Some("refused"), None)
        );
    }
}
