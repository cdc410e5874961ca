use std::future::{Ready, ready};

/// What gives the answer where a call failed.
///
/// # Examples
///
/// ```
/// use cortex_resilience::fallback::Handler;
/// use std::future::{Ready, ready};
///
/// /// Says what failed.
/// struct Explain;
///
/// impl Handler<String, std::fmt::Error> for Explain {
///     type Future = Ready<Result<String, std::fmt::Error>>;
///
///     fn handle(&self, failed: Result<String, std::fmt::Error>) -> Self::Future {
///         ready(Ok(format!("{failed:?}")))
///     }
/// }
/// # let mut answer = std::pin::pin!(Explain.handle(Err(std::fmt::Error)));
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert_eq!(answer.as_mut().poll(&mut cx), std::task::Poll::Ready(Ok("Err(Error)".into())));
/// ```
pub trait Handler<T, E> {
    /// Gives the answer.
    type Future: Future<Output = Result<T, E>>;

    /// Begins to answer, instead of what the call came to.
    fn handle(&self, failed: Result<T, E>) -> Self::Future;
}

/// No answer: a failure stays what it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unset;

impl<T, E> Handler<T, E> for Unset {
    type Future = Ready<Result<T, E>>;

    fn handle(&self, failed: Result<T, E>) -> Self::Future {
        ready(failed)
    }
}

/// Answers with a value; set by [`Builder::value`](super::Builder::value).
#[derive(Clone, Copy, Debug)]
pub struct Value<T>(pub(super) T);

impl<T: Clone, E> Handler<T, E> for Value<T> {
    type Future = Ready<Result<T, E>>;

    fn handle(&self, _: Result<T, E>) -> Self::Future {
        ready(Ok(self.0.clone()))
    }
}

/// Answers by a function; set by [`Builder::function`](super::Builder::function).
#[derive(Clone, Copy, Debug)]
pub struct Function<F>(pub(super) F);

impl<T, E, F: Fn(Result<T, E>) -> Result<T, E>> Handler<T, E> for Function<F> {
    type Future = Ready<Result<T, E>>;

    fn handle(&self, failed: Result<T, E>) -> Self::Future {
        ready((self.0)(failed))
    }
}

/// Answers by an async function; set by [`Builder::async_function`](super::Builder::async_function).
#[derive(Clone, Copy, Debug)]
pub struct AsyncFunction<F>(pub(super) F);

impl<T, E, F, R> Handler<T, E> for AsyncFunction<F>
where
    F: Fn(Result<T, E>) -> R,
    R: Future<Output = Result<T, E>>,
{
    type Future = R;

    fn handle(&self, failed: Result<T, E>) -> R {
        (self.0)(failed)
    }
}
