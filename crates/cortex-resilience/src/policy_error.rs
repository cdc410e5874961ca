use crate::classify::{Classify, ErrIsFailure, Pushback};
use crate::outcome::Outcome;
use crate::rejected::Rejected;

/// An error of a policy around a call: tells policies further out what happened inside.
///
/// The errors of all the policies here are ones.
///
/// # Examples
///
/// ```
/// use cortex_resilience::{Cause, PolicyError, circuit};
///
/// let error = circuit::Error::Inner("refused");
/// assert_eq!(error.why(), Cause::Inner(&"refused"));
/// ```
pub trait PolicyError {
    /// The error of the call itself.
    type Error;

    /// Returns what happened.
    fn why(&self) -> Cause<'_, Self::Error>;
}

/// What is behind a [`PolicyError`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::{Cause, PolicyError, circuit};
///
/// fn was_tried(error: &circuit::Error<std::io::Error>) -> bool {
///     matches!(error.why(), Cause::Inner(_) | Cause::TimedOut)
/// }
/// assert!(!was_tried(&circuit::Error::NotReady));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause<'a, E> {
    /// The call failed.
    Inner(&'a E),
    /// The policy refused the call.
    Rejected(Rejected),
    /// The call took too long.
    TimedOut,
    /// A layer was misused: it was called without having said that it is ready.
    NotReady,
}

/// Judges the calls behind a policy as the classifier that it holds would without the policy.
///
/// A refusal is no vote, and not retryable by itself. That the call took too long is a failure, and retryable.
///
/// # Examples
///
/// ```
/// use cortex_resilience::{Classify, ErrIsFailure, Outcome, Reason, Rejected, Through, circuit};
///
/// type Answer = Result<u8, circuit::Error<&'static str>>;
/// let classify = Through(ErrIsFailure);
/// let refused: Answer = Err(circuit::Error::Rejected(Rejected::new(Reason::Open, None)));
/// assert_eq!(classify.outcome(refused.as_ref()), Outcome::Ignore);
/// assert_eq!(classify.rejected(refused.as_ref()).map(|why| why.reason()), Some(Reason::Open));
/// let failed: Answer = Err(circuit::Error::Inner("no route"));
/// assert!(classify.is_retryable(failed.as_ref()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Through<C = ErrIsFailure>(pub C);

impl<T, E: PolicyError, C: Classify<T, E::Error>> Classify<T, E> for Through<C> {
    fn outcome(&self, result: Result<&T, &E>) -> Outcome {
        match causes(result) {
            Ok(answer) => self.0.outcome(Ok(answer)),
            Err(Cause::Inner(error)) => self.0.outcome(Err(error)),
            Err(Cause::Rejected(_) | Cause::NotReady) => Outcome::Ignore,
            Err(Cause::TimedOut) => Outcome::Failure,
        }
    }

    fn is_retryable(&self, result: Result<&T, &E>) -> bool {
        match causes(result) {
            Ok(answer) => self.0.is_retryable(Ok(answer)),
            Err(Cause::Inner(error)) => self.0.is_retryable(Err(error)),
            Err(Cause::Rejected(_) | Cause::NotReady) => false,
            Err(Cause::TimedOut) => true,
        }
    }

    fn is_throttling(&self, result: Result<&T, &E>) -> bool {
        inner(result).is_some_and(|result| self.0.is_throttling(result))
    }

    fn is_timeout(&self, result: Result<&T, &E>) -> bool {
        match causes(result) {
            Err(Cause::TimedOut) => true,
            _ => inner(result).is_some_and(|result| self.0.is_timeout(result)),
        }
    }

    fn pushback(&self, result: Result<&T, &E>) -> Option<Pushback> {
        self.0.pushback(inner(result)?)
    }

    fn rejected(&self, result: Result<&T, &E>) -> Option<Rejected> {
        match causes(result) {
            Err(Cause::Rejected(rejected)) => Some(rejected),
            _ => self.0.rejected(inner(result)?),
        }
    }

    fn is_own(&self, result: Result<&T, &E>) -> bool {
        inner(result).is_some_and(|result| self.0.is_own(result))
    }
}

fn causes<'a, T, E: PolicyError>(result: Result<&'a T, &'a E>) -> Result<&'a T, Cause<'a, E::Error>> {
    result.map_err(PolicyError::why)
}

/// Returns the result of the call itself, if it ended.
fn inner<'a, T, E: PolicyError>(result: Result<&'a T, &'a E>) -> Option<Result<&'a T, &'a E::Error>> {
    match causes(result) {
        Ok(answer) => Some(Ok(answer)),
        Err(Cause::Inner(error)) => Some(Err(error)),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejected::Reason;

    /// An error of two policies.
    enum Outer {
        Inner(crate::circuit::Error<u8>),
        TooSlow,
        NotReady,
    }

    impl PolicyError for Outer {
        type Error = crate::circuit::Error<u8>;

        fn why(&self) -> Cause<'_, Self::Error> {
            match self {
                Self::Inner(error) => Cause::Inner(error),
                Self::TooSlow => Cause::TimedOut,
                Self::NotReady => Cause::NotReady,
            }
        }
    }

    struct ByNumber;

    impl Classify<u8, u8> for ByNumber {
        fn outcome(&self, result: Result<&u8, &u8>) -> Outcome {
            match result {
                Ok(0) | Err(0) => Outcome::Ignore,
                Ok(_) => Outcome::Success,
                Err(_) => Outcome::Failure,
            }
        }

        fn is_throttling(&self, result: Result<&u8, &u8>) -> bool {
            result == Err(&29)
        }

        fn is_timeout(&self, result: Result<&u8, &u8>) -> bool {
            result == Err(&8)
        }

        fn pushback(&self, result: Result<&u8, &u8>) -> Option<Pushback> {
            (result == Err(&29)).then_some(Pushback::Stop)
        }
    }

    #[test]
    fn two_policies_are_looked_through() {
        let classify = Through(Through(ByNumber));
        let inner = |error| Outer::Inner(crate::circuit::Error::Inner(error));
        let outcomes = [
            (Ok(1), Outcome::Success),
            (Ok(0), Outcome::Ignore),
            (Err(inner(0)), Outcome::Ignore),
            (Err(inner(1)), Outcome::Failure),
            (Err(Outer::TooSlow), Outcome::Failure),
            (Err(Outer::NotReady), Outcome::Ignore),
            (
                Err(Outer::Inner(crate::circuit::Error::NotReady)),
                Outcome::Ignore,
            ),
        ];
        for (result, outcome) in outcomes {
            let result = result.as_ref();
            assert_eq!(classify.outcome(result), outcome);
            assert_eq!(classify.is_retryable(result), outcome == Outcome::Failure);
            assert_eq!(classify.rejected(result), None);
            let is_of_policy = matches!(
                result,
                Err(Outer::TooSlow | Outer::NotReady | Outer::Inner(crate::circuit::Error::NotReady))
            );
            assert_eq!(classify.is_own(result), !is_of_policy);
        }
        let is = |error: Outer| {
            let result: Result<&u8, &Outer> = Err(&error);
            (
                classify.is_throttling(result),
                classify.is_timeout(result),
                classify.pushback(result),
            )
        };
        assert_eq!(is(inner(29)), (true, false, Some(Pushback::Stop)));
        assert_eq!(is(inner(8)), (false, true, None));
        assert_eq!(is(Outer::TooSlow), (false, true, None));
        let rejected = Rejected::new(Reason::Forced, None);
        let refused: Result<&u8, &Outer> = Err(&Outer::Inner(crate::circuit::Error::Rejected(rejected)));
        assert_eq!(classify.rejected(refused), Some(rejected));
        assert!(!classify.is_retryable(refused));
    }
}
