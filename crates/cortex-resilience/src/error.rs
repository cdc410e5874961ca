use crate::policy_error::{Cause, PolicyError};
use crate::rejected::Rejected;
use std::fmt;

/// Why a call through a policy that refuses has no result: a breaker, a bulkhead, a limit, a gate of any kind.
///
/// # Examples
///
/// ```
/// use cortex_resilience::{Error, Reason, Rejected};
///
/// let error: Error<std::io::Error> = Error::Rejected(Rejected::new(Reason::Overloaded, None));
/// assert_eq!(error.rejected().map(|why| why.reason()), Some(Reason::Overloaded));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The policy refused the call, and nothing was tried.
    Rejected(Rejected),
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
            Self::Rejected(_) | Self::NotReady => None,
        }
    }

    /// Returns the refusal, if it is one.
    pub const fn rejected(&self) -> Option<Rejected> {
        match self {
            Self::Rejected(rejected) => Some(*rejected),
            Self::NotReady | Self::Inner(_) => None,
        }
    }
}

impl<E> PolicyError for Error<E> {
    type Error = E;

    fn why(&self) -> Cause<'_, E> {
        match self {
            Self::Rejected(rejected) => Cause::Rejected(*rejected),
            Self::NotReady => Cause::NotReady,
            Self::Inner(error) => Cause::Inner(error),
        }
    }
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rejected(rejected) => rejected.fmt(f),
            Self::NotReady => f.write_str("the service was called before it was ready"),
            Self::Inner(_) => f.write_str("the call failed"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Inner(error) => Some(error),
            Self::Rejected(rejected) => rejected.source(),
            Self::NotReady => None,
        }
    }
}
