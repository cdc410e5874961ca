/// What makes the answers of calls that are not made.
///
/// # Examples
///
/// ```
/// use cortex_resilience::chaos::{Source, Unset};
///
/// assert_eq!(Source::<u8, u8>::answer(&Unset), None);
/// ```
pub trait Source<T, E> {
    /// Returns an answer; `None` if there is none to be made.
    fn answer(&self) -> Option<Result<T, E>>;
}

/// Says which calls faults may hit, by what the calls are about.
///
/// # Examples
///
/// ```
/// use cortex_resilience::chaos::{Target, Unset};
///
/// assert!(Unset.may_hit("any"));
/// ```
pub trait Target<R: ?Sized> {
    /// Says whether this one may be hit.
    fn may_hit(&self, request: &R) -> bool;
}

/// Nothing: no answers, and all calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unset;

impl<T, E> Source<T, E> for Unset {
    fn answer(&self) -> Option<Result<T, E>> {
        None
    }
}

impl<R: ?Sized> Target<R> for Unset {
    fn may_hit(&self, _: &R) -> bool {
        true
    }
}

/// Errors by a function; set by [`Builder::error`](super::Builder::error).
#[derive(Clone, Copy, Debug)]
pub struct Errors<F>(pub(super) F);

impl<T, E, F: Fn() -> E> Source<T, E> for Errors<F> {
    fn answer(&self) -> Option<Result<T, E>> {
        Some(Err((self.0)()))
    }
}

/// Answers by a function; set by [`Builder::outcome`](super::Builder::outcome).
#[derive(Clone, Copy, Debug)]
pub struct Answers<F>(pub(super) F);

impl<T, E, F: Fn() -> Result<T, E>> Source<T, E> for Answers<F> {
    fn answer(&self) -> Option<Result<T, E>> {
        Some((self.0)())
    }
}

/// Calls by a predicate; set by [`Builder::when`](super::Builder::when).
#[derive(Clone, Copy, Debug)]
pub struct When<F>(pub(super) F);

impl<R: ?Sized, F: Fn(&R) -> bool> Target<R> for When<F> {
    fn may_hit(&self, request: &R) -> bool {
        (self.0)(request)
    }
}
