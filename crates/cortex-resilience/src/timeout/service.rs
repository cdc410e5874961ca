use super::call::{self, Call};
use super::error::Error;
use super::inner::Due;
use super::kind::Kind;
use super::policy::Timeout;
use super::timed_out::TimedOut;
use crate::link::Link;
use crate::maybe::Maybe;
use crate::observer::Observer;
use crate::timer::Timer;
use cortex_core::{Clock, Deadline, SystemClock};
use pin_project_lite::pin_project;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tower_service::Service;

/// A service whose calls have so much time; made by [`TimeoutLayer`](super::TimeoutLayer).
///
/// The time for all attempts and the deadline begin when the service is first waited for; that for one attempt begins with the
/// call. When the time is over before the inner service is ready, this one is, and answers the call with the error. A call
/// without readiness is answered with [`Error::NotReady`].
///
/// # Examples
///
/// ```
/// use cortex_resilience::timeout::{Timeout, TimeoutLayer, TimeoutService};
/// use tower::Layer;
///
/// let layer = TimeoutLayer::new(Timeout::builder("search").build()?);
/// let service: TimeoutService<&str> = layer.layer("anything, until it is called");
/// assert!(format!("{service:?}").contains("anything"));
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub struct TimeoutService<S, O = (), K = SystemClock> {
    inner: S,
    timeout: Timeout<O, K>,
    ready: Readiness,
}

/// What the last look at readiness found; a clone has not looked.
enum Readiness {
    Unknown,
    Waiting(Wait),
    /// The inner service waits for a call, and since then the time runs.
    Inner(Option<Instant>),
    /// The time was over before.
    TimedOut(TimedOut),
}

struct Wait {
    start: Instant,
    /// Another deadline means another caller: the one who began to wait has gone.
    deadline: Option<Deadline>,
    due: Option<Due>,
    timer: Pin<Box<Timer>>,
}

impl<S, O, K> TimeoutService<S, O, K> {
    pub(super) const fn new(inner: S, timeout: Timeout<O, K>) -> Self {
        Self {
            inner,
            timeout,
            ready: Readiness::Unknown,
        }
    }
}

impl<S, O: Observer, K: Clock> TimeoutService<S, O, K> {
    fn wait(&self) -> Wait {
        let deadline = cortex_core::Context::current().deadline();
        let start = self.timeout.inner.clock.now();
        let due = self.timeout.inner.due(start, deadline);
        Wait {
            start,
            deadline,
            due: due.filter(|due| due.timed_out.kind() != Kind::Attempt),
            timer: Box::pin(Timer::new()),
        }
    }

    /// Says when the time of a call began whose readiness was waited for; nothing if it begins with the call.
    fn began(&self, wait: &Wait) -> Option<Instant> {
        let is_total = matches!(self.timeout.inner.limit().0, Some((Kind::Total, _)));
        // Whoever waited beyond the end was told of it. This is somebody else, who begins now.
        let is_over = wait
            .due
            .is_some_and(|due| due.at <= self.timeout.inner.clock.now());
        (is_total && !is_over).then_some(wait.start)
    }
}

impl<S, R, O, K> Service<R> for TimeoutService<S, O, K>
where
    S: Service<R>,
    O: Observer + 'static,
    K: Clock + 'static,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S::Future, O, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let ready = mem::replace(&mut self.ready, Readiness::Unknown);
        match self.inner.poll_ready(cx) {
            Poll::Ready(Ok(())) => {
                let start = match ready {
                    Readiness::Waiting(wait) => self.began(&wait),
                    Readiness::Inner(start) => start,
                    Readiness::Unknown | Readiness::TimedOut(_) => None,
                };
                self.ready = Readiness::Inner(start);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Error::Inner(error))),
            // Once ready, always ready until it is called.
            Poll::Pending if matches!(ready, Readiness::TimedOut(_)) => {
                self.ready = ready;
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                let deadline = cortex_core::Context::current().deadline();
                let mut wait = match ready {
                    Readiness::Waiting(wait) if wait.deadline == deadline => wait,
                    _ => self.wait(),
                };
                if let Some(due) = wait.due
                    && wait.timer.as_mut().poll(due.at, cx).is_ready()
                {
                    self.ready = Readiness::TimedOut(due.timed_out);
                    return Poll::Ready(Ok(()));
                }
                self.ready = Readiness::Waiting(wait);
                Poll::Pending
            }
        }
    }

    fn call(&mut self, request: R) -> Self::Future {
        let shared = Link::Owned(Arc::clone(&self.timeout.inner));
        let refused = |why| ResponseFuture {
            call: Call::refused(shared.clone(), Maybe { future: None }, why),
        };
        match mem::replace(&mut self.ready, Readiness::Unknown) {
            Readiness::Inner(start) => {
                let (deadline, now) = match call::deadline(&self.timeout.inner.clock) {
                    Ok(found) => found.unzip(),
                    Err(why) => {
                        self.ready = Readiness::Inner(None); // the next call takes that up
                        return refused(Some(why));
                    }
                };
                let future = Some(self.inner.call(request));
                ResponseFuture {
                    call: Call::begun(shared, Maybe { future }, start.or(now), deadline),
                }
            }
            Readiness::TimedOut(why) => refused(Some(why)),
            waiting @ (Readiness::Waiting(_) | Readiness::Unknown) => {
                self.ready = waiting;
                refused(None)
            }
        }
    }
}

impl<S: Clone, O, K> Clone for TimeoutService<S, O, K> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.timeout.clone())
    }
}

impl<S: fmt::Debug, O, K> fmt::Debug for TimeoutService<S, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimeoutService")
            .field("inner", &self.inner)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The answer of a [`TimeoutService`].
    ///
    /// # Cancel safety
    ///
    /// As [`Call`].
    #[must_use = "futures do nothing unless they are polled"]
    pub struct ResponseFuture<F, O, K>
    where
        O: 'static,
        K: 'static,
    {
        #[pin]
        call: Call<'static, Maybe<F>, O, K>,
    }
}

impl<F, T, E, O, K> Future for ResponseFuture<F, O, K>
where
    F: Future<Output = Result<T, E>>,
    O: Observer + 'static,
    K: Clock + 'static,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().call.poll(cx)
    }
}

impl<F, O: 'static, K: 'static> fmt::Debug for ResponseFuture<F, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}
