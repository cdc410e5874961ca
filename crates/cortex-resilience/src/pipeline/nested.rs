use super::around::Around;
use super::error::Error;
use super::operation::Operation;
use super::repeat::Repeat;
use crate::policy_error::PolicyError;
use crate::rejected::Rejected;
use crate::retry::{self, GaveUp};
use crate::timeout::{self, TimedOut};

/// An error of policies around a call, as deep as there are policies.
pub trait Nested<S> {
    /// The call's own error.
    type Own;

    /// Makes it one that does not say how deep that was.
    fn flatten(self) -> Error<Self::Own>;
}

impl<E> Nested<Operation> for E {
    type Own = E;

    #[inline]
    fn flatten(self) -> Error<E> {
        Error::Inner(self)
    }
}

impl<X: Peel<Error: Nested<Rest>>, P, Rest> Nested<Around<P, Rest>> for X {
    type Own = <X::Error as Nested<Rest>>::Own;

    #[inline]
    fn flatten(self) -> Error<Self::Own> {
        self.peel().flatten()
    }
}

impl<X: Peel<Error: Nested<Rest>>, P, Rest> Nested<Repeat<P, Rest>> for X {
    type Own = <X::Error as Nested<Rest>>::Own;

    #[inline]
    fn flatten(self) -> Error<Self::Own> {
        self.peel().flatten()
    }
}

/// The error of one policy.
pub trait Peel: PolicyError + Sized {
    /// Takes the policy off.
    fn peel(self) -> Peeled<Self::Error>;
}

/// What a policy says, or what is inside.
#[derive(Clone, Copy, Debug)]
pub enum Peeled<E> {
    /// The error of what is inside.
    Inner(E),
    /// The policy refused the call.
    Rejected(Rejected),
    /// The call took too long.
    TimedOut(TimedOut),
    /// The last of several attempts failed.
    GaveUp {
        /// Why there are no more.
        reason: GaveUp,
        /// How many were made.
        attempts: u32,
        /// The error of the last one.
        error: E,
        /// What a policy inside said to the last attempt, if it refused that.
        refusal: Option<Rejected>,
    },
    /// A layer was misused.
    NotReady,
}

impl<E> Peeled<E> {
    #[inline]
    fn flatten<Rest>(self) -> Error<E::Own>
    where
        E: Nested<Rest>,
    {
        match self {
            Self::Inner(error) => error.flatten(),
            Self::Rejected(rejected) => Error::Rejected(rejected),
            Self::TimedOut(timed_out) => Error::TimedOut(timed_out),
            Self::GaveUp {
                reason,
                attempts,
                error,
                refusal,
            } => match error.flatten() {
                Error::Inner(error) if attempts > 1 => Error::GaveUp {
                    reason,
                    attempts,
                    error,
                    refusal,
                },
                other => other, // which policy it was says more than that there were several attempts
            },
            Self::NotReady => Error::NotReady,
        }
    }
}

impl<E> Peel for crate::error::Error<E> {
    #[inline]
    fn peel(self) -> Peeled<E> {
        match self {
            Self::Inner(error) => Peeled::Inner(error),
            Self::Rejected(rejected) => Peeled::Rejected(rejected),
            Self::NotReady => Peeled::NotReady,
        }
    }
}

impl<E> Peel for timeout::Error<E> {
    #[inline]
    fn peel(self) -> Peeled<E> {
        match self {
            Self::Inner(error) => Peeled::Inner(error),
            Self::TimedOut(timed_out) => Peeled::TimedOut(timed_out),
            Self::NotReady => Peeled::NotReady,
        }
    }
}

impl<E> Peel for retry::Error<E> {
    fn peel(self) -> Peeled<E> {
        match self {
            Self::Inner(error) => Peeled::Inner(error),
            Self::GaveUp {
                reason,
                attempts,
                error,
                refusal,
            } => Peeled::GaveUp {
                reason,
                attempts,
                error,
                refusal,
            },
            Self::Rejected(rejected) => Peeled::Rejected(rejected),
            Self::NotReady => Peeled::NotReady,
        }
    }
}
