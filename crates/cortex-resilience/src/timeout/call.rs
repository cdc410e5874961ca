use super::error::Error;
use super::inner::{Due, Inner};
use super::kind::Kind;
use super::timed_out::TimedOut;
use crate::link::Link;
use crate::observer::Observer;
use crate::timer::Timer;
use cortex_core::{Clock, Deadline};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

pin_project! {
    /// A future that has so much time; made by [`Timeout::call`](super::Timeout::call).
    ///
    /// Its first poll looks for the deadline of the context.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the inner future and the timer.
    #[must_use = "futures do nothing unless they are polled"]
    pub struct Call<'a, F, O, K> {
        timeout: Link<'a, Arc<Inner<O, K>>>,
        stage: Stage,
        #[pin]
        inner: F,
        #[pin]
        timer: Timer,
    }
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Idle,
    /// It has begun, but was not polled.
    #[cfg(feature = "tower")]
    Begun {
        start: Option<Instant>,
        deadline: Option<Deadline>,
    },
    Waiting(Option<Due>),
    #[cfg(feature = "tower")]
    Refused(Option<TimedOut>),
    Done,
}

impl<'a, F, O, K> Call<'a, F, O, K> {
    #[inline]
    pub(super) const fn new(timeout: Link<'a, Arc<Inner<O, K>>>, inner: F) -> Self {
        Self::at(Stage::Idle, timeout, inner)
    }

    /// Makes a call whose time has begun, and whose deadline is known not to be past.
    #[cfg(feature = "tower")]
    pub(super) const fn begun(
        timeout: Link<'a, Arc<Inner<O, K>>>,
        inner: F,
        start: Option<Instant>,
        deadline: Option<Deadline>,
    ) -> Self {
        Self::at(Stage::Begun { start, deadline }, timeout, inner)
    }

    /// Makes a call that came too late, or was not ready.
    #[cfg(feature = "tower")]
    pub(super) const fn refused(
        timeout: Link<'a, Arc<Inner<O, K>>>,
        inner: F,
        why: Option<TimedOut>,
    ) -> Self {
        Self::at(Stage::Refused(why), timeout, inner)
    }

    #[inline]
    const fn at(stage: Stage, timeout: Link<'a, Arc<Inner<O, K>>>, inner: F) -> Self {
        Self {
            timeout,
            stage,
            inner,
            timer: Timer::new(),
        }
    }
}

/// Returns the deadline and when it was looked at, if there is one; or says that it is past.
#[inline]
pub(super) fn deadline(clock: &impl Clock) -> Result<Option<(Deadline, Instant)>, TimedOut> {
    let Some(deadline) = cortex_core::Context::current().deadline() else {
        return Ok(None);
    };
    let now = clock.now();
    if deadline.is_past(now) {
        return Err(TimedOut::new(Kind::Deadline, Duration::ZERO));
    }
    Ok(Some((deadline, now)))
}

impl<F, T, E, O, K> Future for Call<'_, F, O, K>
where
    F: Future<Output = Result<T, E>>,
    O: Observer,
    K: Clock,
{
    type Output = Result<T, Error<E>>;

    /// # Panics
    ///
    /// It was ready before; it has to wait outside of a runtime of tokio with timers; or the inner future panics.
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let timed_out = |stage: &mut Stage, timeout: &Inner<O, K>, why| {
            *stage = Stage::Done;
            timeout.expired(why);
            Poll::Ready(Err(Error::TimedOut(why)))
        };
        let (start, until) = match *this.stage {
            Stage::Waiting(due) => {
                if let Poll::Ready(result) = this.inner.poll(cx) {
                    *this.stage = Stage::Done;
                    return Poll::Ready(result.map_err(Error::Inner));
                }
                let Some(due) = due else {
                    return Poll::Pending;
                };
                ready!(this.timer.poll(due.at, cx));
                return timed_out(this.stage, this.timeout, due.timed_out);
            }
            Stage::Idle => match deadline(&this.timeout.clock) {
                Ok(None) => (None, None),
                Ok(Some((deadline, now))) => (Some(now), Some(deadline)),
                Err(why) => return timed_out(this.stage, this.timeout, why),
            },
            #[cfg(feature = "tower")]
            Stage::Begun { start, deadline } => (start, deadline),
            #[cfg(feature = "tower")]
            Stage::Refused(why) => {
                let Some(why) = why else {
                    *this.stage = Stage::Done;
                    return Poll::Ready(Err(Error::NotReady));
                };
                return timed_out(this.stage, this.timeout, why);
            }
            Stage::Done => panic!("a call was polled after it was ready"),
        };
        if let Poll::Ready(result) = this.inner.as_mut().poll(cx) {
            *this.stage = Stage::Done;
            return Poll::Ready(result.map_err(Error::Inner));
        }
        let start = start.unwrap_or_else(|| this.timeout.clock.now());
        let due = this.timeout.due(start, until);
        *this.stage = Stage::Waiting(due);
        let Some(due) = due else {
            return Poll::Pending;
        };
        ready!(this.timer.poll(due.at, cx));
        timed_out(this.stage, this.timeout, due.timed_out)
    }
}

impl<F, O, K> fmt::Debug for Call<'_, F, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("timeout", &*self.timeout)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
