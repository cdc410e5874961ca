use super::state::State;
use super::tally::Tally;
use std::time::Instant;

/// One of the two rates that open a breaker.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::Axis;
///
/// assert_ne!(Axis::Failures, Axis::SlowCalls);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Axis {
    /// That of failed calls.
    Failures,
    /// That of slow calls.
    SlowCalls,
}

/// A breaker at one moment.
///
/// The votes are those in the window; while it is half-open, those of the probes; while it rejects, those that led there.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{Breaker, Window};
///
/// let breaker = Breaker::builder("payments").window(Window::count(10)).min_calls(2).build()?;
/// breaker.try_acquire().expect("it is closed").failure();
/// let snapshot = breaker.snapshot();
/// assert_eq!((snapshot.total, snapshot.failed, snapshot.failure_ratio), (1, 1, 1.0));
/// assert_eq!(snapshot.failure_rate, None); // one call says nothing yet
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The state; half-open as soon as the break is over, although nothing changes before the next call.
    pub state: State,
    /// Counts the transitions, from 1.
    pub generation: u64,
    /// When the state began.
    pub since: Instant,
    /// When the break is over, or the probes have to have a verdict; `None` in other states, or if it never comes.
    pub until: Option<Instant>,
    /// The share of failed votes; `None` below the minimum of calls.
    pub failure_rate: Option<f64>,
    /// The share of slow votes; `None` below the minimum of calls.
    pub slow_rate: Option<f64>,
    /// The share of failed votes, however few there are; 0 if there are none.
    pub failure_ratio: f64,
    /// The share of slow votes, however few there are; 0 if there are none.
    pub slow_ratio: f64,
    /// The votes.
    pub total: u64,
    /// Those for the dependency.
    pub ok: u64,
    /// Those against it.
    pub failed: u64,
    /// Those for it that came slowly.
    pub slow_ok: u64,
    /// Those against it that came slowly.
    pub slow_failed: u64,
    /// Calls that gave no vote since the counters began.
    pub ignored: u64,
    /// Calls that were refused since the counters began.
    pub rejected: u64,
    /// Calls that ended after the state they began in.
    pub late: u64,
    /// Votes for the dependency since the last one against it.
    pub consecutive_ok: u64,
    /// Votes against the dependency since the last one for it.
    pub consecutive_failed: u64,
    /// How often it was half-open since it was closed last.
    pub half_open_attempts: u32,
}

impl Snapshot {
    pub(super) fn votes(&mut self, tally: Tally, min: u64) {
        let enough = tally.total >= min && tally.total > 0;
        self.failure_ratio = tally.failure_ratio();
        self.slow_ratio = tally.slow_ratio();
        self.failure_rate = enough.then_some(self.failure_ratio);
        self.slow_rate = enough.then_some(self.slow_ratio);
        self.total = tally.total;
        self.ok = tally.total - tally.failed;
        self.failed = tally.failed;
        self.slow_ok = tally.slow_ok;
        self.slow_failed = tally.slow_failed;
    }
}
