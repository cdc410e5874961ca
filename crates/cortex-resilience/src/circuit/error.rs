use super::state::State;
use std::fmt;

/// A transition that makes no sense: from closed to half-open, or from metrics-only to open or half-open.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::Breaker;
///
/// let breaker = Breaker::builder("payments").build()?;
/// let error = breaker.half_open().unwrap_err();
/// assert_eq!(error.to_string(), "go from closed to half_open");
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalTransition {
    pub(super) from: State,
    pub(super) to: State,
}

impl IllegalTransition {
    /// Returns the state, which has not changed.
    pub const fn from(&self) -> State {
        self.from
    }

    /// Returns the state that was asked for.
    pub const fn to(&self) -> State {
        self.to
    }
}

impl fmt::Display for IllegalTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "go from {} to {}", self.from, self.to)
    }
}

impl std::error::Error for IllegalTransition {}
