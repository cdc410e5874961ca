use std::fmt;

/// Which time a call exceeded.
///
/// # Examples
///
/// ```
/// use cortex_resilience::timeout::Kind;
///
/// assert_eq!(Kind::Attempt.as_str(), "attempt"); // a value for a metric label
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// That of one attempt: another may be in time.
    Attempt,
    /// That of all attempts together.
    Total,
    /// The deadline of the caller, who does not wait any more: this says little about the dependency.
    Deadline,
}

impl Kind {
    /// Returns the kind as one lowercase word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempt => "attempt",
            Self::Total => "total",
            Self::Deadline => "deadline",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
