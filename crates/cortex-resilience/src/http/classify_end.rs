use crate::classify::{Classify, ErrIsFailure, Pushback};
use crate::outcome::Outcome;
use crate::policy_error::{PolicyError, Through};
use http::HeaderMap;
use std::any::Any;
use std::sync::Arc;

/// Judges how the body of an answer ended that was a success by its head, for policies that
/// [wait for that](crate::circuit::BreakerLayer::until_body_end).
///
/// By default a body that has ended is a success, whatever its trailers are. What was a failure by its head, or told nothing,
/// is judged by that: nobody asks then. A body that breaks off is a failure, unless its error is said to be something else.
///
/// # Examples
///
/// ```
/// use cortex_resilience::http::ClassifyEnd;
/// use cortex_resilience::{Classify, Outcome};
/// use http::{HeaderMap, HeaderValue, Response};
///
/// /// Of a server that says at the end whether what it sent is all there was.
/// #[derive(Clone)]
/// struct Complete;
///
/// impl<B, E> Classify<Response<B>, E> for Complete {
///     fn outcome(&self, result: Result<&Response<B>, &E>) -> Outcome {
///         if result.is_ok() { Outcome::Success } else { Outcome::Failure }
///     }
/// }
///
/// impl<B, E> ClassifyEnd<Response<B>, E> for Complete {
///     fn end(&self, trailers: &HeaderMap) -> Outcome {
///         if trailers.contains_key("x-complete") { Outcome::Success } else { Outcome::Failure }
///     }
/// }
///
/// let judge = |trailers: &HeaderMap| ClassifyEnd::<Response<()>, ()>::end(&Complete, trailers);
/// let mut trailers = HeaderMap::new();
/// assert_eq!(judge(&trailers), Outcome::Failure);
/// trailers.insert("x-complete", HeaderValue::from_static("yes"));
/// assert_eq!(judge(&trailers), Outcome::Success);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how bodies end",
    note = "implement `ClassifyEnd` for it, which may be empty: then a body that has ended is a success"
)]
pub trait ClassifyEnd<T, E>: Classify<T, E> {
    /// Says whether the end is to be judged by what comes after the body, of an answer with these headers; by default, yes.
    /// If not, a body that has ended is a success, and one of known length has ended with its last byte.
    fn needs_trailers(&self, headers: &HeaderMap) -> bool {
        let _ = headers;
        true
    }

    /// Judges an end by its trailers, which are empty if there were none; by default it is a success.
    fn end(&self, trailers: &HeaderMap) -> Outcome {
        let _ = trailers;
        Outcome::Success
    }

    /// Returns what the trailers of a failure say of further attempts; by default, nothing.
    fn end_pushback(&self, trailers: &HeaderMap) -> Option<Pushback> {
        let _ = trailers;
        None
    }

    /// Judges a body that broke off with this error; by default it is a failure.
    ///
    /// Not every such error is one of who sent the body: the time of the caller may have been over. The error is that of the body,
    /// which may be of another type than that of the call: see what it is by `downcast_ref`.
    fn broke(&self, error: &dyn Any) -> Outcome {
        let _ = error;
        Outcome::Failure
    }
}

impl<T, E, F: Fn(Result<&T, &E>) -> Outcome> ClassifyEnd<T, E> for F {
    fn needs_trailers(&self, _: &HeaderMap) -> bool {
        false
    }
}

impl<T, E> ClassifyEnd<T, E> for ErrIsFailure {
    fn needs_trailers(&self, _: &HeaderMap) -> bool {
        false
    }
}

impl<T, E, C: ClassifyEnd<T, E> + ?Sized> ClassifyEnd<T, E> for Arc<C> {
    fn needs_trailers(&self, headers: &HeaderMap) -> bool {
        (**self).needs_trailers(headers)
    }

    fn end(&self, trailers: &HeaderMap) -> Outcome {
        (**self).end(trailers)
    }

    fn end_pushback(&self, trailers: &HeaderMap) -> Option<Pushback> {
        (**self).end_pushback(trailers)
    }

    fn broke(&self, error: &dyn Any) -> Outcome {
        (**self).broke(error)
    }
}

impl<T, E: PolicyError, C: ClassifyEnd<T, E::Error>> ClassifyEnd<T, E> for Through<C> {
    fn needs_trailers(&self, headers: &HeaderMap) -> bool {
        self.0.needs_trailers(headers)
    }

    fn end(&self, trailers: &HeaderMap) -> Outcome {
        self.0.end(trailers)
    }

    fn end_pushback(&self, trailers: &HeaderMap) -> Option<Pushback> {
        self.0.end_pushback(trailers)
    }

    fn broke(&self, error: &dyn Any) -> Outcome {
        self.0.broke(error)
    }
}

/// Judges an end, and returns what it says of further attempts.
#[cfg(feature = "tower")]
pub(crate) fn judge_end<T, E, C: ClassifyEnd<T, E>>(
    classify: &C,
    trailers: Option<&HeaderMap>,
) -> (Outcome, Option<Pushback>) {
    let none = HeaderMap::new(); // allocates nothing
    let trailers = trailers.unwrap_or(&none);
    let outcome = classify.end(trailers);
    let failed = outcome == Outcome::Failure;
    let pushback = failed.then(|| classify.end_pushback(trailers)).flatten();
    (outcome, pushback)
}
