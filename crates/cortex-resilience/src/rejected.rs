use std::fmt;
use std::time::Duration;

/// A refusal by a policy: why, and when to try again.
///
/// # Examples
///
/// ```
/// use cortex_resilience::{Reason, Rejected};
/// use std::time::Duration;
///
/// fn header(rejected: &Rejected) -> Option<u64> {
///     rejected.retry_after().map(|wait| wait.as_secs() + 1) // `Retry-After` has whole seconds: none too few
/// }
/// let rejected = Rejected::new(Reason::Open, Some(Duration::from_millis(1500)));
/// assert_eq!(header(&rejected), Some(2));
/// assert_eq!(rejected.to_string(), "the circuit is open; try again in 1.5s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rejected {
    reason: Reason,
    retry_after: Option<Duration>,
}

impl Rejected {
    /// Makes a refusal.
    #[inline]
    pub const fn new(reason: Reason, retry_after: Option<Duration>) -> Self {
        Self { reason, retry_after }
    }

    /// Returns why.
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// Returns how long to wait before another call can be let through; `None` where nobody knows.
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.reason {
            Reason::Open => "the circuit is open",
            Reason::HalfOpen => "the circuit is half-open and every probe is under way",
            Reason::Forced => "the circuit is forced open",
            Reason::Ramp => "the circuit has closed of late and lets a share of the calls through",
        })?;
        match self.retry_after {
            Some(wait) => write!(f, "; try again in {wait:?}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Rejected {}

/// Why a policy refused a call.
///
/// # Examples
///
/// ```
/// use cortex_resilience::Reason;
///
/// assert_eq!(Reason::HalfOpen.as_str(), "half_open"); // a value for a metric label
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The circuit is open.
    Open,
    /// The circuit is half-open, and as many probes as may are under way.
    HalfOpen,
    /// Somebody opened the circuit until further notice.
    Forced,
    /// The circuit has closed a short time ago, and lets only a share of the calls through.
    Ramp,
}

impl Reason {
    /// Returns the reason as one lowercase word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Forced => "forced",
            Self::Ramp => "ramp",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_why_and_when() {
        let text =
            |reason, wait: Option<u64>| Rejected::new(reason, wait.map(Duration::from_secs)).to_string();
        assert_eq!(text(Reason::Forced, None), "the circuit is forced open");
        assert!(text(Reason::HalfOpen, Some(3)).ends_with("; try again in 3s"));
        assert!(text(Reason::Ramp, None).contains("a share of the calls"));
        for reason in [Reason::Open, Reason::HalfOpen, Reason::Forced, Reason::Ramp] {
            assert_eq!(format!("{reason:>9}"), format!("{:>9}", reason.as_str()));
        }
    }
}
