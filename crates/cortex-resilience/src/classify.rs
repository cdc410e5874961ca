use crate::outcome::Outcome;
use crate::rejected::Rejected;
use std::sync::Arc;
use std::time::Duration;

/// Judges how a call ended.
///
/// A function from `Result<&T, &E>` to [`Outcome`] is one, with the defaults for the rest. Implement it for a type of your own
/// where retries have to know more.
///
/// # Examples
///
/// ```
/// use cortex_resilience::{Classify, Outcome, Pushback};
/// use std::time::Duration;
///
/// struct Answer { status: u16, retry_after: Option<Duration> }
/// struct ByStatus;
///
/// impl<E> Classify<Answer, E> for ByStatus {
///     fn outcome(&self, result: Result<&Answer, &E>) -> Outcome {
///         match result {
///             Ok(answer) if answer.status < 500 && answer.status != 429 => Outcome::Success,
///             _ => Outcome::Failure,
///         }
///     }
///
///     fn is_throttling(&self, result: Result<&Answer, &E>) -> bool {
///         matches!(result, Ok(Answer { status: 429, .. }))
///     }
///
///     fn pushback(&self, result: Result<&Answer, &E>) -> Option<Pushback> {
///         result.ok()?.retry_after.map(Pushback::After)
///     }
/// }
///
/// let busy = Answer { status: 429, retry_after: Some(Duration::from_secs(2)) };
/// let result: Result<&Answer, &()> = Ok(&busy);
/// assert!(ByStatus.is_retryable(result) && ByStatus.is_throttling(result));
/// ```
pub trait Classify<T, E> {
    /// Says what the result means.
    fn outcome(&self, result: Result<&T, &E>) -> Outcome;

    /// Says whether another attempt may succeed; by default, whether it is a failure.
    fn is_retryable(&self, result: Result<&T, &E>) -> bool {
        self.outcome(result) == Outcome::Failure
    }

    /// Says whether the dependency refused because it has too much to do; by default, no.
    fn is_throttling(&self, result: Result<&T, &E>) -> bool {
        let _ = result;
        false
    }

    /// Says whether the attempt took too long; by default, no.
    fn is_timeout(&self, result: Result<&T, &E>) -> bool {
        let _ = result;
        false
    }

    /// Returns what the dependency said of further attempts; by default, nothing.
    fn pushback(&self, result: Result<&T, &E>) -> Option<Pushback> {
        let _ = result;
        None
    }

    /// Returns the refusal of a policy inside, such as an open breaker, if the result is one: the dependency was not asked
    /// then. By default it is none; see [`Through`](crate::Through).
    fn rejected(&self, result: Result<&T, &E>) -> Option<Rejected> {
        let _ = result;
        None
    }

    /// Says whether the result is of the call itself, and not of a policy inside, such as a timeout. By default it is; see
    /// [`Through`](crate::Through).
    fn is_own(&self, result: Result<&T, &E>) -> bool {
        let _ = result;
        true
    }
}

impl<T, E, F: Fn(Result<&T, &E>) -> Outcome> Classify<T, E> for F {
    fn outcome(&self, result: Result<&T, &E>) -> Outcome {
        self(result)
    }
}

impl<T, E, C: Classify<T, E> + ?Sized> Classify<T, E> for Arc<C> {
    fn outcome(&self, result: Result<&T, &E>) -> Outcome {
        (**self).outcome(result)
    }

    fn is_retryable(&self, result: Result<&T, &E>) -> bool {
        (**self).is_retryable(result)
    }

    fn is_throttling(&self, result: Result<&T, &E>) -> bool {
        (**self).is_throttling(result)
    }

    fn is_timeout(&self, result: Result<&T, &E>) -> bool {
        (**self).is_timeout(result)
    }

    fn pushback(&self, result: Result<&T, &E>) -> Option<Pushback> {
        (**self).pushback(result)
    }

    fn rejected(&self, result: Result<&T, &E>) -> Option<Rejected> {
        (**self).rejected(result)
    }

    fn is_own(&self, result: Result<&T, &E>) -> bool {
        (**self).is_own(result)
    }
}

/// Takes `Ok` for a success and `Err` for a failure: the default.
///
/// # Examples
///
/// ```
/// use cortex_resilience::{Classify, ErrIsFailure, Outcome};
///
/// assert_eq!(ErrIsFailure.outcome(Err::<&(), _>(&"refused")), Outcome::Failure);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrIsFailure;

impl<T, E> Classify<T, E> for ErrIsFailure {
    fn outcome(&self, result: Result<&T, &E>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(_) => Outcome::Failure,
        }
    }
}

/// What a dependency said of further attempts.
///
/// # Examples
///
/// ```
/// use cortex_resilience::Pushback;
/// use std::time::Duration;
///
/// let header = "120"; // of `Retry-After`
/// let pushback = header.parse().map(|secs| Pushback::After(Duration::from_secs(secs)));
/// assert_eq!(pushback, Ok(Pushback::After(Duration::from_mins(2))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pushback {
    /// The next attempt is welcome after this time, and not before.
    After(Duration),
    /// There should be no other attempt.
    Stop,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rejected::Reason;

    #[test]
    fn failures_are_retryable_unless_it_is_said_otherwise() {
        let (ok, err): (Result<&u8, &u8>, Result<&u8, &u8>) = (Ok(&1), Err(&1));
        assert!(!ErrIsFailure.is_retryable(ok) && ErrIsFailure.is_retryable(err));
        assert!(!ErrIsFailure.is_throttling(err));
        assert_eq!(ErrIsFailure.pushback(err), None);
        assert_eq!(
            (ErrIsFailure.is_timeout(err), ErrIsFailure.rejected(err)),
            (false, None)
        );
    }

    #[test]
    fn a_shared_classifier_asks_the_one_it_holds() {
        struct Busy;
        impl Classify<u8, u8> for Busy {
            fn outcome(&self, _: Result<&u8, &u8>) -> Outcome {
                Outcome::Ignore
            }

            fn is_retryable(&self, _: Result<&u8, &u8>) -> bool {
                true
            }

            fn is_throttling(&self, _: Result<&u8, &u8>) -> bool {
                true
            }

            fn is_timeout(&self, _: Result<&u8, &u8>) -> bool {
                true
            }

            fn pushback(&self, _: Result<&u8, &u8>) -> Option<Pushback> {
                Some(Pushback::Stop)
            }

            fn rejected(&self, _: Result<&u8, &u8>) -> Option<Rejected> {
                Some(Rejected::new(Reason::Open, None))
            }
        }
        let shared: Arc<dyn Classify<u8, u8>> = Arc::new(Busy);
        assert_eq!(shared.outcome(Ok(&1)), Outcome::Ignore);
        assert!(shared.is_retryable(Ok(&1)) && shared.is_throttling(Ok(&1)));
        assert!(shared.is_timeout(Ok(&1)) && shared.rejected(Ok(&1)).is_some());
        assert_eq!(shared.pushback(Ok(&1)), Some(Pushback::Stop));
    }
}
