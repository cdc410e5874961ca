use crate::overflow::Overflow;
use std::time::Duration;

/// How a pool is set up.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) least: usize,
    pub(crate) most: usize,
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
    pub(crate) ageing: Option<Duration>,
    /// How long a thread stays that is one too many and has nothing to do.
    pub(crate) idle: Option<Duration>,
    pub(crate) run_timeout: Option<Duration>,
    pub(crate) stuck_after: Option<Duration>,
    /// How many may be given up at a time; as many as there may be threads, if nothing is said.
    pub(crate) max_stuck: Option<usize>,
    /// The first delay after a panic, and the longest.
    pub(crate) respawn: (Duration, Duration),
    /// Delays are spread by random numbers that begin with this.
    pub(crate) seed: u64,
    /// How long what runs may take to stop at the end of a shutdown.
    pub(crate) grace: Duration,
    pub(crate) stack_size: Option<usize>,
    #[cfg(feature = "affinity")]
    pub(crate) placement: crate::placement::Placement,
    /// Somebody hears of what happens.
    pub(crate) is_observed: bool,
    /// Tasks have spans.
    pub(crate) is_traced: bool,
}

impl Settings {
    /// Returns how many workers may be given up at a time.
    pub(crate) fn most_stuck(&self) -> usize {
        self.max_stuck.unwrap_or(self.most)
    }
}
