use super::timed_out::TimedOut;
use crate::policy_error::{Cause, PolicyError};
use std::fmt;

/// Why a call within a timeout has no result.
///
/// # Examples
///
/// ```
/// use cortex_resilience::timeout::{Error, Kind, TimedOut};
/// use std::time::Duration;
///
/// /// Whether it says that the dependency is slow.
/// fn is_slow<E>(error: &Error<E>) -> bool {
///     error.timed_out().is_some_and(|timed_out| timed_out.kind() != Kind::Deadline)
/// }
/// assert!(is_slow::<()>(&Error::TimedOut(TimedOut::new(Kind::Attempt, Duration::from_millis(200)))));
/// assert!(!is_slow::<()>(&Error::TimedOut(TimedOut::new(Kind::Deadline, Duration::ZERO))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The time was over.
    TimedOut(TimedOut),
    /// The service was called without having said that it is ready; only a misused layer does that.
    NotReady,
    /// The call failed.
    Inner(E),
}

impl<E> Error<E> {
    /// Returns the call's own error.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Inner(error) => Some(error),
            Self::TimedOut(_) | Self::NotReady => None,
        }
    }

    /// Returns which time was over, if one was.
    pub const fn timed_out(&self) -> Option<TimedOut> {
        match self {
            Self::TimedOut(timed_out) => Some(*timed_out),
            Self::NotReady | Self::Inner(_) => None,
        }
    }
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(timed_out) => timed_out.fmt(f),
            Self::NotReady => f.write_str("the service was called before it was ready"),
            Self::Inner(_) => f.write_str("the call failed"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Inner(error) => Some(error),
            Self::TimedOut(timed_out) => timed_out.source(),
            Self::NotReady => None,
        }
    }
}

impl<E> PolicyError for Error<E> {
    type Error = E;

    fn why(&self) -> Cause<'_, E> {
        match self {
            Self::TimedOut(timed_out) => timed_out.cause(),
            Self::NotReady => Cause::NotReady,
            Self::Inner(error) => Cause::Inner(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeout::Kind;
    use std::error::Error as _;
    use std::time::Duration;

    #[test]
    fn says_why_and_has_the_calls_own_error_for_a_source() {
        let refused: Error<fmt::Error> = Error::TimedOut(TimedOut::new(Kind::Total, Duration::from_secs(1)));
        assert_eq!(refused.to_string(), "the time for all attempts was over after 1s");
        assert_eq!(refused.source().and_then(TimedOut::at_end), refused.timed_out());
        assert!(refused.timed_out().is_some());
        assert_eq!(refused.into_inner(), None);
        let failed = Error::Inner(fmt::Error);
        assert!(
            failed.timed_out().is_none()
                && failed
                    .source()
                    .is_some_and(<dyn std::error::Error>::is::<fmt::Error>)
        );
        assert_eq!(failed.to_string(), "the call failed");
        assert_eq!(failed.into_inner(), Some(fmt::Error));
        let misused = Error::<fmt::Error>::NotReady;
        assert_eq!(misused.to_string(), "the service was called before it was ready");
        assert!(
            misused.timed_out().is_none() && misused.source().is_none() && misused.into_inner().is_none()
        );
    }
}
