use super::kind::Kind;
use crate::policy_error::Cause;
use crate::rejected::{Reason, Rejected};
use std::fmt;
use std::time::Duration;

/// A call was given up because its time was over.
///
/// # Examples
///
/// ```
/// use cortex_resilience::timeout::{Kind, TimedOut};
/// use std::time::Duration;
///
/// let timed_out = TimedOut::new(Kind::Attempt, Duration::from_millis(200));
/// assert_eq!(timed_out.to_string(), "the time for the attempt was over after 200ms");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimedOut {
    kind: Kind,
    after: Duration,
}

impl TimedOut {
    /// Says which time was over, and how long the call had been given.
    #[inline]
    pub const fn new(kind: Kind, after: Duration) -> Self {
        Self { kind, after }
    }

    /// Returns which time it was.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns how long the call had been given; zero if it was not tried.
    pub const fn after(&self) -> Duration {
        self.after
    }

    /// Says what it is for those who judge: that the caller's deadline came first says nothing of the dependency, and is a refusal.
    pub(crate) const fn cause<'a, E>(self) -> Cause<'a, E> {
        match self.kind {
            Kind::Deadline => Cause::Rejected(Rejected::new(Reason::Deadline, None)),
            Kind::Attempt | Kind::Total => Cause::TimedOut,
        }
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, after } = self;
        match kind {
            Kind::Attempt => write!(f, "the time for the attempt was over after {after:?}"),
            Kind::Total => write!(f, "the time for all attempts was over after {after:?}"),
            Kind::Deadline if after.is_zero() => f.write_str("the deadline of the caller was past"),
            Kind::Deadline => write!(f, "the deadline of the caller came after {after:?}"),
        }
    }
}

impl std::error::Error for TimedOut {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_time_it_was() {
        let text = |kind, millis| TimedOut::new(kind, Duration::from_millis(millis)).to_string();
        assert_eq!(
            text(Kind::Total, 1500),
            "the time for all attempts was over after 1.5s"
        );
        assert_eq!(text(Kind::Deadline, 0), "the deadline of the caller was past");
        assert_eq!(
            text(Kind::Deadline, 3),
            "the deadline of the caller came after 3ms"
        );
        assert_eq!(format!("{:>9}", Kind::Total), "    total");
    }
}
