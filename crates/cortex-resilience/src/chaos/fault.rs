use std::fmt;
use std::time::Duration;

/// What a call was done to.
///
/// # Examples
///
/// ```
/// use cortex_resilience::chaos::Fault;
///
/// assert_eq!(Fault::Latency(std::time::Duration::ZERO).as_str(), "latency"); // a value for a metric label
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// It begins so much later.
    Latency(Duration),
    /// It never ends, and nothing is called.
    Hang,
    /// It fails, and nothing is called.
    Error,
    /// It is answered otherwise, and nothing is called.
    Outcome,
    /// It is made, and its answer is lost: it never ends.
    Loss,
}

impl Fault {
    /// Returns the fault as one lowercase word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Latency(_) => "latency",
            Self::Hang => "hang",
            Self::Error => "error",
            Self::Outcome => "outcome",
            Self::Loss => "loss",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
