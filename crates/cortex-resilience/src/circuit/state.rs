use std::fmt;

/// What a breaker does with calls.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::State;
///
/// assert_eq!(State::HalfOpen.as_str(), "half_open"); // a value for a metric label
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Lets all calls through, counts how they end, and opens when too many fail or are slow.
    Closed,
    /// Rejects all calls until its break is over.
    Open,
    /// Lets a few calls through, and closes or opens by how they end.
    HalfOpen,
    /// Lets all calls through and counts nothing.
    Disabled,
    /// Lets all calls through and counts how they end, but never opens.
    MetricsOnly,
    /// Rejects all calls until somebody says otherwise.
    ForcedOpen,
}

impl State {
    /// Returns the state as one lowercase word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Disabled => "disabled",
            Self::MetricsOnly => "metrics_only",
            Self::ForcedOpen => "forced_open",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
