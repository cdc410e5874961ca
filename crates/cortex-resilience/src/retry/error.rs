use crate::policy_error::{Cause, PolicyError};
use crate::rejected::{Reason, Rejected};
use std::fmt;
use std::time::Duration;

/// Why a call with retries has no result.
///
/// # Examples
///
/// ```
/// use cortex_resilience::retry::{Error, GaveUp, Retry};
/// use std::time::Duration;
///
/// let retry = Retry::builder("payments").max_attempts(2).build()?;
/// let result = retry.call_blocking(|_| Err::<(), _>("no route"), &|_: Duration| ());
/// let error = result.unwrap_err();
/// assert_eq!((error.gave_up(), error.attempts()), (Some(GaveUp::Attempts), 2));
/// assert_eq!(error.into_inner(), Some("no route"));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// There are no more attempts, and the last one failed.
    #[non_exhaustive]
    GaveUp {
        /// Why there are no more.
        reason: GaveUp,
        /// How many attempts were made, one that was refused included.
        attempts: u32,
        /// The error of the last attempt. If a policy inside refused that, or the deadline cut it short, it is the call's own error
        /// before, if there is one.
        error: E,
        /// The refusal of a policy inside that the last attempt ended with, such as that of an open breaker. It may not be in the
        /// error, which then is of an attempt before. What the call has waited since is taken off.
        refusal: Option<Rejected>,
    },
    /// The deadline had passed before the first attempt: nothing was tried.
    Rejected(Rejected),
    /// The service failed to become ready for the first attempt.
    Inner(E),
    /// The service was called without having said that it is ready; only a misused layer does that.
    NotReady,
}

impl<E> Error<E> {
    /// Returns the call's own error, which is that of the last attempt.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::GaveUp { error, .. } | Self::Inner(error) => Some(error),
            Self::Rejected(_) | Self::NotReady => None,
        }
    }

    /// Returns why there are no more attempts, if there were some.
    pub const fn gave_up(&self) -> Option<GaveUp> {
        match self {
            Self::GaveUp { reason, .. } => Some(*reason),
            Self::Rejected(_) | Self::Inner(_) | Self::NotReady => None,
        }
    }

    /// Returns how many attempts were made and ended, as far as it is known: 0 where the service was not ready.
    pub const fn attempts(&self) -> u32 {
        match self {
            Self::GaveUp { attempts, .. } => *attempts,
            Self::Rejected(_) | Self::Inner(_) | Self::NotReady => 0,
        }
    }

    /// Returns when to try again, if the policy knows that refused the call or its last attempt.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_resilience::circuit::Breaker;
    /// use cortex_resilience::retry::{GaveUp, Retry};
    /// use std::time::Duration;
    ///
    /// let breaker = Breaker::builder("payments").min_calls(1).break_for(Duration::from_secs(60)).build()?;
    /// let retry = Retry::builder("payments").through().build()?;
    /// let result = retry.call_blocking(|_| breaker.run(|| Err::<(), _>("no route")), &|_: Duration| ());
    /// let error = result.unwrap_err(); // "no route", and then the breaker was open
    /// assert_eq!((error.gave_up(), error.attempts()), (Some(GaveUp::CircuitOpen), 2));
    /// assert!(error.retry_after() > Some(Duration::from_secs(59)));
    /// # Ok::<(), cortex_resilience::BuildError>(())
    /// ```
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected(rejected)
            | Self::GaveUp {
                refusal: Some(rejected),
                ..
            } => rejected.retry_after(),
            Self::GaveUp { refusal: None, .. } | Self::Inner(_) | Self::NotReady => None,
        }
    }

    /// Returns the refusal, if it is one.
    pub const fn rejected(&self) -> Option<Rejected> {
        match self {
            Self::Rejected(rejected) => Some(*rejected),
            Self::GaveUp { .. } | Self::Inner(_) | Self::NotReady => None,
        }
    }
}

impl<E> PolicyError for Error<E> {
    type Error = E;

    fn why(&self) -> Cause<'_, E> {
        match self {
            Self::GaveUp { error, .. } | Self::Inner(error) => Cause::Inner(error),
            Self::Rejected(rejected) => Cause::Rejected(*rejected),
            Self::NotReady => Cause::NotReady,
        }
    }
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GaveUp { reason, attempts, .. } => {
                write!(f, "the call failed after {attempts} attempts: {}", reason.text())?;
                match self.retry_after() {
                    Some(wait) => write!(f, "; try again in {wait:?}"),
                    None => Ok(()),
                }
            }
            Self::Rejected(rejected) => rejected.fmt(f),
            Self::Inner(_) => f.write_str("the service failed to become ready"),
            Self::NotReady => f.write_str("the service was called before it was ready"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::GaveUp { error, .. } | Self::Inner(error) => Some(error),
            Self::Rejected(rejected) => rejected.source(),
            Self::NotReady => None,
        }
    }
}

/// Why a retry policy makes no more attempts.
///
/// # Examples
///
/// ```
/// use cortex_resilience::retry::GaveUp;
///
/// assert_eq!(GaveUp::CircuitOpen.as_str(), "circuit_open"); // a value for a metric label
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GaveUp {
    /// Another attempt would end the same way, or the request can't be sent again.
    NotRetryable,
    /// All attempts were made.
    Attempts,
    /// The budget has nothing left.
    Budget,
    /// The next attempt would begin after the deadline, or the last one met it.
    Deadline,
    /// The dependency wants no more attempts, or none for longer than the policy waits.
    Pushback,
    /// A breaker inside refused the attempt.
    CircuitOpen,
    /// Another policy inside refused the attempt.
    Rejected,
    /// The service failed to become ready for another attempt.
    NotReady,
}

impl GaveUp {
    /// Returns the reason as one lowercase word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotRetryable => "not_retryable",
            Self::Attempts => "attempts",
            Self::Budget => "budget",
            Self::Deadline => "deadline",
            Self::Pushback => "pushback",
            Self::CircuitOpen => "circuit_open",
            Self::Rejected => "rejected",
            Self::NotReady => "not_ready",
        }
    }

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::NotRetryable => "it can't be tried again",
            Self::Attempts => "no more are allowed",
            Self::Budget => "the budget for retries has nothing left",
            Self::Deadline => "the deadline leaves no time for more",
            Self::Pushback => "the dependency wants no more, or none for too long",
            Self::CircuitOpen => "the circuit is open",
            Self::Rejected => "a policy inside refused the last one",
            Self::NotReady => "the service failed to become ready for the next one",
        }
    }

    pub(super) const fn of(rejected: Rejected) -> Self {
        match rejected.reason() {
            Reason::Open | Reason::HalfOpen | Reason::Forced | Reason::Ramp => Self::CircuitOpen,
            Reason::Deadline => Self::Deadline,
            _ => Self::Rejected,
        }
    }
}

impl fmt::Display for GaveUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error as _;

    #[test]
    fn says_why_after_how_many_and_what_it_was() {
        let all = [
            GaveUp::NotRetryable,
            GaveUp::Attempts,
            GaveUp::Budget,
            GaveUp::Deadline,
            GaveUp::Pushback,
            GaveUp::CircuitOpen,
            GaveUp::Rejected,
            GaveUp::NotReady,
        ];
        for reason in all {
            let error = Error::GaveUp {
                reason,
                attempts: 3,
                error: fmt::Error,
                refusal: None,
            };
            assert_eq!(error.retry_after(), None);
            let text = error.to_string();
            assert!(text.starts_with("the call failed after 3 attempts: ") && text.ends_with(reason.text()));
            assert_eq!(error.source().unwrap().to_string(), fmt::Error.to_string());
            assert_eq!((error.why(), error.rejected()), (Cause::Inner(&fmt::Error), None));
            assert_eq!(format!("{reason:>14}"), format!("{:>14}", reason.as_str()));
        }
        let rejected = Rejected::new(Reason::Deadline, None);
        let error: Error<fmt::Error> = Error::Rejected(rejected);
        assert_eq!(
            error.to_string(),
            "the deadline of the caller leaves no time to wait"
        );
        assert_eq!(error.source().and_then(Rejected::at_end), Some(rejected));
        assert!(error.gave_up().is_none());
        assert_eq!(error.why(), Cause::Rejected(rejected));
        assert_eq!(error.rejected(), Some(rejected));
        assert_eq!(error.into_inner(), None);
        let error: Error<fmt::Error> = Error::Inner(fmt::Error);
        assert!(error.to_string().contains("ready") && error.source().is_some());
        assert_eq!(Error::<fmt::Error>::NotReady.why(), Cause::NotReady);
        assert_eq!(
            (Error::<fmt::Error>::NotReady.attempts(), error.attempts()),
            (0, 0)
        );
        assert_eq!(GaveUp::of(Rejected::new(Reason::Ramp, None)), GaveUp::CircuitOpen);
        assert_eq!(GaveUp::of(rejected), GaveUp::Deadline);
        assert_eq!(GaveUp::of(Rejected::new(Reason::Full, None)), GaveUp::Rejected);
    }
}
