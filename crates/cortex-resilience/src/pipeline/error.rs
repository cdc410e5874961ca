use crate::policy_error::{Cause, PolicyError};
use crate::rejected::Rejected;
use crate::retry::GaveUp;
use crate::timeout::TimedOut;
use std::fmt;
use std::time::Duration;

/// Why a call through a pipeline has no result, whichever policy it was.
///
/// # Examples
///
/// ```
/// use cortex_resilience::pipeline::Error;
/// use cortex_resilience::{Reason, Rejected};
/// use std::time::Duration;
///
/// let error: Error<std::io::Error> =
///     Error::Rejected(Rejected::new(Reason::Open, Some(Duration::from_secs(3))));
/// assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
/// assert_eq!(error.to_string(), "the circuit is open; try again in 3s");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// A policy refused the call, or its last attempt after others that had no error of their own.
    Rejected(Rejected),
    /// The call took too long, or its last attempt did.
    TimedOut(TimedOut),
    /// The last of several attempts failed.
    #[non_exhaustive]
    GaveUp {
        /// Why there are no more.
        reason: GaveUp,
        /// How many attempts were made.
        attempts: u32,
        /// The error of the last attempt that had one: a policy may have refused those after it.
        error: E,
        /// What a policy inside said to the last attempt, if it refused that.
        refusal: Option<Rejected>,
    },
    /// The only attempt failed.
    Inner(E),
    /// The service was called without having said that it is ready; only a misused layer does that.
    NotReady,
}

impl<E> Error<E> {
    /// Returns the call's own error.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::GaveUp { error, .. } | Self::Inner(error) => Some(error),
            Self::Rejected(_) | Self::TimedOut(_) | Self::NotReady => None,
        }
    }

    /// Returns the refusal, if a policy refused the call.
    pub const fn rejected(&self) -> Option<Rejected> {
        match self {
            Self::Rejected(rejected) => Some(*rejected),
            _ => None,
        }
    }

    /// Returns which time was over, if one was.
    pub const fn timed_out(&self) -> Option<TimedOut> {
        match self {
            Self::TimedOut(timed_out) => Some(*timed_out),
            _ => None,
        }
    }

    /// Returns when to try again, if the policy knows that refused the call, or its last attempt.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected(rejected)
            | Self::GaveUp {
                refusal: Some(rejected),
                ..
            } => rejected.retry_after(),
            _ => None,
        }
    }
}

impl<E> PolicyError for Error<E> {
    type Error = E;

    fn why(&self) -> Cause<'_, E> {
        match self {
            Self::GaveUp { error, .. } | Self::Inner(error) => Cause::Inner(error),
            Self::Rejected(rejected) => Cause::Rejected(*rejected),
            Self::TimedOut(timed_out) => timed_out.cause(),
            Self::NotReady => Cause::NotReady,
        }
    }
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejected) => rejected.fmt(f),
            Self::TimedOut(timed_out) => timed_out.fmt(f),
            Self::GaveUp { reason, attempts, .. } => {
                write!(f, "the call failed after {attempts} attempts: {}", reason.text())?;
                match self.retry_after() {
                    Some(wait) => write!(f, "; try again in {wait:?}"),
                    None => Ok(()),
                }
            }
            Self::Inner(_) => f.write_str("the call failed"),
            Self::NotReady => f.write_str("the service was called before it was ready"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::GaveUp { error, .. } | Self::Inner(error) => Some(error),
            Self::Rejected(rejected) => rejected.source(),
            Self::TimedOut(timed_out) => timed_out.source(),
            Self::NotReady => None,
        }
    }
}
