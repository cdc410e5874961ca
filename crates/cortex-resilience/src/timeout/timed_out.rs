use super::kind::Kind;
use crate::policy_error::Cause;
use crate::rejected::{Reason, Rejected};
use std::error::Error as StdError;
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
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimedOut(Said);

/// The end of the causes of an error of a policy, whatever the policies around it are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Said {
    kind: Kind,
    after: Duration,
}

impl TimedOut {
    /// Says which time was over, and how long the call had been given.
    #[inline]
    pub const fn new(kind: Kind, after: Duration) -> Self {
        Self(Said { kind, after })
    }

    /// Returns the timeout that an error is the end of: the last cause of an error of policies, however many are around the one
    /// that gave the call up, is such an end.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_resilience::timeout::{self, Kind, TimedOut};
    /// use cortex_resilience::circuit;
    /// use std::error::Error;
    /// use std::time::Duration;
    ///
    /// let late = TimedOut::new(Kind::Attempt, Duration::from_secs(1));
    /// let error: circuit::Error<timeout::Error<std::io::Error>> = circuit::Error::Inner(timeout::Error::TimedOut(late));
    /// let causes = std::iter::successors(Some(&error as &(dyn Error + 'static)), |cause| (*cause).source());
    /// assert_eq!(causes.last().and_then(TimedOut::at_end), Some(late));
    /// ```
    pub fn at_end(error: &(dyn StdError + 'static)) -> Option<Self> {
        error.downcast_ref().copied().map(Self)
    }

    /// Returns which time it was.
    pub const fn kind(&self) -> Kind {
        self.0.kind
    }

    /// Returns how long the call had been given; zero if it was not tried.
    pub const fn after(&self) -> Duration {
        self.0.after
    }

    /// Says what it is for those who judge: that the caller's deadline came first says nothing of the dependency, and is a refusal.
    pub(crate) const fn cause<'a, E>(self) -> Cause<'a, E> {
        match self.0.kind {
            Kind::Deadline => Cause::Rejected(Rejected::new(Reason::Deadline, None)),
            Kind::Attempt | Kind::Total => Cause::TimedOut,
        }
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Said { kind, after } = &self.0;
        match kind {
            Kind::Attempt => write!(f, "the time for the attempt was over after {after:?}"),
            Kind::Total => write!(f, "the time for all attempts was over after {after:?}"),
            Kind::Deadline if after.is_zero() => f.write_str("the deadline of the caller was past"),
            Kind::Deadline => write!(f, "the deadline of the caller came after {after:?}"),
        }
    }
}

impl fmt::Debug for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedOut")
            .field("kind", &self.0.kind)
            .field("after", &self.0.after)
            .finish()
    }
}

impl StdError for TimedOut {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a policy here gave the call up")
    }
}

impl StdError for Said {}

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
