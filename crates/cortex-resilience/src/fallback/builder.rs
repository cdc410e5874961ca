use super::handler::{AsyncFunction, Function, Unset, Value};
use super::policy::{Fallback, Inner};
use crate::classify::ErrIsFailure;
use crate::observer::Observer;
use crate::outcome::Outcome;
use std::sync::Arc;

/// Sets up a [`Fallback`]; made by [`Fallback::builder`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::fallback::Fallback;
/// use std::io;
///
/// # let done = async {
/// let missing = |result: Result<&String, &io::Error>| result.is_err_and(|why| why.kind() == io::ErrorKind::NotFound);
/// let config = Fallback::builder("config").value(String::new()).when(missing).build();
/// let read = |kind| async move { Err::<String, _>(io::Error::from(kind)) };
/// assert_eq!(config.call(read(io::ErrorKind::NotFound)).await.unwrap(), "");
/// assert!(config.call(read(io::ErrorKind::PermissionDenied)).await.is_err());
/// # };
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(Box::pin(done).as_mut().poll(&mut cx).is_ready());
/// ```
#[derive(Clone, Debug)]
pub struct Builder<H = Unset, C = ErrIsFailure, O = ()> {
    name: String,
    handler: H,
    classify: C,
    observer: O,
}

impl Builder {
    pub(super) const fn new(name: String) -> Self {
        Self {
            name,
            handler: Unset,
            classify: ErrIsFailure,
            observer: (),
        }
    }
}

impl<H, C, O> Builder<H, C, O> {
    /// Answers with clones of a value.
    #[must_use]
    pub fn value<T: Clone>(self, value: T) -> Builder<Value<T>, C, O> {
        self.handler(Value(value))
    }

    /// Answers by a function of what the call came to.
    #[must_use]
    pub fn function<T, E, F>(self, function: F) -> Builder<Function<F>, C, O>
    where
        F: Fn(Result<T, E>) -> Result<T, E>,
    {
        self.handler(Function(function))
    }

    /// Answers by an async function of what the call came to.
    #[must_use]
    pub fn async_function<T, E, F, R>(self, function: F) -> Builder<AsyncFunction<F>, C, O>
    where
        F: Fn(Result<T, E>) -> R,
        R: Future<Output = Result<T, E>>,
    {
        self.handler(AsyncFunction(function))
    }

    /// Answers by a [`Handler`](super::Handler).
    #[must_use]
    pub fn handler<H2>(self, handler: H2) -> Builder<H2, C, O> {
        Builder {
            name: self.name,
            handler,
            classify: self.classify,
            observer: self.observer,
        }
    }

    /// Sets what judges results: failures are covered. By default an `Err` is one.
    #[must_use]
    pub fn classify<C2>(self, classify: C2) -> Builder<H, C2, O> {
        Builder {
            name: self.name,
            handler: self.handler,
            classify,
            observer: self.observer,
        }
    }

    /// Covers the results for which this is true, and no others.
    #[must_use]
    pub fn when<T, E>(
        self,
        covers: impl Fn(Result<&T, &E>) -> bool,
    ) -> Builder<H, impl Fn(Result<&T, &E>) -> Outcome, O> {
        self.classify(move |result: Result<&T, &E>| {
            if covers(result) {
                Outcome::Failure
            } else {
                Outcome::Success
            }
        })
    }

    /// Sets who hears of events; by default nobody.
    #[must_use]
    pub fn observe<O2: Observer>(self, observer: O2) -> Builder<H, C, O2> {
        Builder {
            name: self.name,
            handler: self.handler,
            classify: self.classify,
            observer,
        }
    }

    /// Makes the fallback.
    #[must_use]
    pub fn build(self) -> Fallback<H, C, O> {
        Fallback {
            inner: Arc::new(Inner {
                handler: self.handler,
                classify: self.classify,
                observer: self.observer,
                name: self.name.into_boxed_str(),
            }),
        }
    }
}
