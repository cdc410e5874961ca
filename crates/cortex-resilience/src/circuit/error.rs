use super::state::State;
use crate::rejected::Rejected;
use std::fmt;

/// Why a call through a breaker has no result.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::{Breaker, Error};
///
/// let breaker = Breaker::builder("payments").build()?;
/// breaker.force_open();
/// let mut call = Box::pin(breaker.call(async { Ok::<u8, std::io::Error>(1) }));
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # let poll = call.as_mut().poll(&mut cx);
/// // poll: what the runtime does
/// assert!(matches!(poll, std::task::Poll::Ready(Err(Error::Rejected(_)))));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error<E> {
    /// The breaker refused the call, and nothing was tried.
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
            Self::Rejected(_) | Self::NotReady => None,
        }
    }
}

/// A transition that makes no sense: from closed to half-open, or from metrics-only to open or half-open.
///
/// # Examples
///
/// ```
/// use cortex_resilience::circuit::Breaker;
///
/// let breaker = Breaker::builder("payments").build()?;
/// let error = breaker.half_open().unwrap_err();
/// assert_eq!(error.to_string(), "go from closed to half_open");
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalTransition {
    pub(super) from: State,
    pub(super) to: State,
}

impl IllegalTransition {
    /// Returns the state, which has not changed.
    pub const fn from(&self) -> State {
        self.from
    }

    /// Returns the state that was asked for.
    pub const fn to(&self) -> State {
        self.to
    }
}

impl fmt::Display for IllegalTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "go from {} to {}", self.from, self.to)
    }
}

impl std::error::Error for IllegalTransition {}
