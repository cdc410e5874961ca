use std::fmt;

/// What the end of a call means to a policy.
///
/// # Examples
///
/// ```
/// use cortex_resilience::Outcome;
///
/// assert_eq!(Outcome::Failure.as_str(), "failure"); // a value for a metric label
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The dependency did its work: a vote for it.
    Success,
    /// The dependency did not do its work: a vote against it.
    Failure,
    /// It says nothing about the dependency: no vote, as for a request that was wrong or a caller who went away.
    Ignore,
}

impl Outcome {
    /// Returns the outcome as one lowercase word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Ignore => "ignore",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
