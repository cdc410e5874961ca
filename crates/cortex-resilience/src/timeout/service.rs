use super::call::{Begun, Call, to_keep};
use super::error::Error;
use super::inner::{Due, Inner};
use super::kind::Kind;
use super::policy::Timeout;
use super::timed_out::TimedOut;
use crate::link::Link;
use crate::maybe::Maybe;
use crate::observer::Observer;
use crate::timer::Timer;
use crate::total::Total;
use cortex_core::{Clock, Deadline, TscClock};
use pin_project_lite::pin_project;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tower_service::Service;

/// A service whose calls have so much time; made by [`TimeoutLayer`](super::TimeoutLayer).
///
/// For the time of all attempts counts how long the service was waited for, but not how long it was ready before the call; that
/// of one attempt begins with the call. When the time is over before the inner service is ready, this one is, and answers the call with the error. A call
/// without readiness is answered with [`Error::NotReady`].
///
/// Who waits is told from others by the task, by the deadline of the context, and by being there when the time is over: whoever
/// looks at the readiness in another task, with another deadline, or long after the end, begins anew. So does a look at a service that is ready already.
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
pub struct TimeoutService<S, O = (), K = TscClock> {
    inner: S,
    timeout: Timeout<O, K>,
    ready: Readiness,
}

/// What the last look at readiness found; a clone has not looked.
enum Readiness {
    Unknown,
    Waiting(Wait),
    /// The inner service waits for a call, whose caller waited so long for it.
    Inner(Duration),
    /// The time was over before.
    TimedOut(Wait, TimedOut),
}

struct Wait {
    start: Instant,
    /// Another deadline means another caller: the one who began to wait has gone.
    deadline: Option<Deadline>,
    /// So does another task.
    waker: Waker,
    /// The end of the time for all attempts.
    total: Option<Deadline>,
    due: Option<Due>,
    timer: Pin<Box<Timer>>,
}

/// Whoever waits is woken at the end. Who comes so much later is somebody else.
const LATE: Duration = Duration::from_millis(100);

impl Wait {
    /// Says whether it is of whoever looks now.
    fn is_of(&self, deadline: Option<Deadline>, clock: &impl Clock) -> bool {
        self.deadline == deadline
            && self
                .due
                .is_none_or(|due| clock.now().saturating_duration_since(due.at) < LATE)
    }
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
    fn wait(&self, deadline: Option<Deadline>, waker: &Waker) -> Wait {
        let limit = self.timeout.inner.limit();
        let start = self.timeout.inner.clock.now();
        // Whoever is called was not asked yet: a time that somebody else set is not theirs to keep, whoever set it.
        let others = deadline.and_then(to_keep);
        let others = others.map(|(deadline, _)| (deadline, Kind::Deadline));
        let due = Inner::<O, K>::due(limit, start, others);
        Wait {
            start,
            deadline,
            waker: waker.clone(),
            total: limit.total().map(|after| Deadline::after(start, after)),
            due: due.filter(|due| due.timed_out.kind() != Kind::Attempt),
            timer: Box::pin(Timer::new()),
        }
    }

    /// Says how long the caller waited who finds the inner service ready now, if that counts.
    fn waited(&self, wait: &Wait) -> Duration {
        let now = self.timeout.inner.clock.now();
        // Whoever waited beyond the end was told of it. This is somebody else, who begins now.
        let is_over = wait.due.is_some_and(|due| due.at <= now);
        if wait.total.is_none() || is_over {
            return Duration::ZERO;
        }
        now.saturating_duration_since(wait.start)
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
        let deadline = cortex_core::Context::current().deadline();
        let clock = &self.timeout.inner.clock;
        let ready = match mem::replace(&mut self.ready, Readiness::Unknown) {
            Readiness::Waiting(wait) if !wait.waker.will_wake(cx.waker()) || !wait.is_of(deadline, clock) => {
                Readiness::Unknown
            }
            Readiness::TimedOut(wait, _) if !wait.is_of(deadline, clock) => Readiness::Unknown,
            ready => ready,
        };
        let poll = {
            let total = match &ready {
                Readiness::Waiting(wait) => wait.total,
                _ => None,
            };
            let _inside = total.map(|end| Total::enter(end, false));
            self.inner.poll_ready(cx)
        };
        match poll {
            Poll::Ready(Ok(())) => {
                let waited = match ready {
                    Readiness::Waiting(wait) => self.waited(&wait),
                    Readiness::Inner(_) | Readiness::Unknown | Readiness::TimedOut(..) => Duration::ZERO,
                };
                self.ready = Readiness::Inner(waited);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Error::Inner(error))),
            // Once ready, always ready until it is called.
            Poll::Pending if matches!(ready, Readiness::TimedOut(..)) => {
                self.ready = ready;
                Poll::Ready(Ok(()))
            }
            Poll::Pending => {
                let mut wait = match ready {
                    Readiness::Waiting(wait) => wait,
                    _ => self.wait(deadline, cx.waker()),
                };
                if let Some(due) = wait.due
                    && wait.timer.as_mut().poll(due.at, cx).is_ready()
                {
                    self.ready = Readiness::TimedOut(wait, due.timed_out);
                    return Poll::Ready(Ok(()));
                }
                self.ready = Readiness::Waiting(wait);
                Poll::Pending
            }
        }
    }

    fn call(&mut self, request: R) -> Self::Future {
        let shared: Link<'_, Arc<_>> = Link::Owned(Arc::clone(&self.timeout.inner));
        let refused = |why| ResponseFuture {
            call: Call::refused(shared.clone(), Maybe { future: None }, why),
        };
        match mem::replace(&mut self.ready, Readiness::Unknown) {
            Readiness::Inner(waited) => {
                let now = || self.timeout.inner.clock.now();
                let start = (!waited.is_zero())
                    .then(now)
                    .and_then(|now| now.checked_sub(waited));
                let begun = match Begun::now(&self.timeout.inner, start) {
                    Ok(begun) => begun,
                    Err(why) => {
                        self.ready = Readiness::Inner(Duration::ZERO); // the next call takes that up
                        return refused(Some(why));
                    }
                };
                let future = {
                    let _inside = begun.total().map(|end| Total::enter(end, true));
                    Some(self.inner.call(request))
                };
                ResponseFuture {
                    call: Call::begun(shared, Maybe { future }, begun),
                }
            }
            Readiness::TimedOut(_, why) => refused(Some(why)),
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
