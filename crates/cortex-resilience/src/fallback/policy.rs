use super::builder::Builder;
use super::call::Call;
use super::handler::{Handler, Unset};
use crate::classify::{Classify, ErrIsFailure};
use crate::event::Event;
use crate::link::Link;
use crate::observer::Observer;
use crate::outcome::Outcome;
use crate::shared::is_shared;
use std::fmt;
use std::sync::Arc;

/// Gives another answer where a call fails; clones are the same one.
///
/// # Examples
///
/// ```
/// use cortex_resilience::fallback::Fallback;
///
/// # let done = async {
/// # async fn recommend() -> Result<Vec<u32>, std::io::Error> { Err(std::io::ErrorKind::TimedOut.into()) }
/// let best_sellers = vec![3, 1, 4];
/// let fallback = Fallback::builder("recommendations").value(best_sellers).build();
/// assert_eq!(fallback.call(recommend()).await?, [3, 1, 4]); // it timed out
/// # Ok::<(), std::io::Error>(())
/// # };
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(matches!(Box::pin(done).as_mut().poll(&mut cx), std::task::Poll::Ready(Ok(()))));
/// ```
pub struct Fallback<H = Unset, C = ErrIsFailure, O = ()> {
    pub(super) inner: Arc<Inner<H, C, O>>,
}

pub(super) struct Inner<H, C, O> {
    pub(super) handler: H,
    pub(super) classify: C,
    pub(super) observer: O,
    pub(super) name: Box<str>,
}

impl Fallback {
    /// Begins to set up a fallback with this name, which its observer is told.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }
}

impl<H, C, O> Fallback<H, C, O> {
    /// Has a future's failure answered otherwise.
    ///
    /// # Errors
    ///
    /// Those of the future that are not covered, and those of what answers instead.
    ///
    /// # Cancel safety
    ///
    /// See [`Call`].
    #[inline]
    pub const fn call<T, E, F>(&self, future: F) -> Call<'_, F, H::Future, Self>
    where
        F: Future<Output = Result<T, E>>,
        H: Handler<T, E>,
    {
        Call::new(Link::Borrowed(self), future)
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }
}

impl<H, C, O: Observer> Fallback<H, C, O> {
    /// Takes a result on, or answers it otherwise.
    #[inline]
    pub(super) fn take<T, E>(&self, result: Result<T, E>) -> Result<Result<T, E>, H::Future>
    where
        H: Handler<T, E>,
        C: Classify<T, E>,
    {
        if self.inner.classify.outcome(result.as_ref()) != Outcome::Failure {
            return Ok(result);
        }
        self.inner.observer.on_event(&self.inner.name, &Event::FellBack);
        Err(self.inner.handler.handle(result))
    }
}

impl<H, C, O> Fallback<H, C, O> {
    /// Says whether there is another handle.
    pub(crate) fn is_shared(&self) -> bool {
        is_shared(&self.inner)
    }
}

impl<H, C, O> Clone for Fallback<H, C, O> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<H, C, O> fmt::Debug for Fallback<H, C, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}
