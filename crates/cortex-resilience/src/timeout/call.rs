use super::error::Error;
use super::inner::{Due, Inner, Limit};
use super::kind::Kind;
use super::timed_out::TimedOut;
use crate::link::Link;
use crate::observer::Observer;
use crate::timer::Timer;
use crate::total::{Total, is_policy_deadline};
use cortex_core::{Clock, Context, Deadline};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};
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
        // The end of the time for all attempts, which what is inside sees.
        total: Option<Deadline>,
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
    Begun(Begun),
    Waiting(Option<Due>),
    #[cfg(feature = "tower")]
    Refused(Option<TimedOut>),
    Done,
}

/// What is known when a call begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begun {
    pub(super) limit: Limit,
    /// When its time began, if the clock was read.
    pub(super) start: Option<Instant>,
    /// That of the context which nobody else keeps, and which time is over then.
    pub(super) deadline: Option<(Deadline, Kind)>,
}

impl Begun {
    /// Looks for the deadline of the context, and begins the time for all attempts.
    ///
    /// # Errors
    ///
    /// The deadline is past.
    #[inline]
    pub(super) fn now<O: Observer, K: Clock>(
        timeout: &Inner<O, K>,
        start: Option<Instant>,
    ) -> Result<Self, TimedOut> {
        let clock = &timeout.clock;
        let (deadline, now) = match Context::current().deadline() {
            None => (None, None),
            Some(deadline) => look(deadline, clock)?,
        };
        let limit = timeout.limit();
        let mut start = start.or(now);
        if limit.total().is_some() && start.is_none() {
            start = Some(clock.now());
        }
        Ok(Self {
            limit,
            start,
            deadline,
        })
    }

    /// Returns the end of the time for all attempts.
    #[inline]
    pub(super) fn total(&self) -> Option<Deadline> {
        let after = self.limit.total()?;
        self.start.map(|start| Deadline::after(start, after))
    }
}

type Looked = (Option<(Deadline, Kind)>, Option<Instant>);

/// Returns the [deadline to keep](to_keep) and when it was looked at.
#[inline(never)]
fn look(deadline: Deadline, clock: &impl Clock) -> Result<Looked, TimedOut> {
    let deadline_to_keep = to_keep(deadline);
    if deadline_to_keep.is_none() && !Total::is_past(deadline, clock) {
        return Ok((None, None));
    }
    let now = clock.now();
    if deadline.is_past(now) {
        return Err(TimedOut::new(Kind::Deadline, Duration::ZERO));
    }
    Ok((deadline_to_keep, Some(now)))
}

/// Returns the deadline of the context with which time is over then: that of the caller, or that of a policy outside, for all
/// attempts. There is none to keep if that policy keeps it itself.
pub(super) fn to_keep(deadline: Deadline) -> Option<(Deadline, Kind)> {
    if Total::of(deadline).is_some() {
        return None;
    }
    let kind = if is_policy_deadline(deadline) {
        Kind::Total
    } else {
        Kind::Deadline
    };
    Some((deadline, kind))
}

impl<'a, F, O, K> Call<'a, F, O, K> {
    #[inline]
    pub(super) const fn new(timeout: Link<'a, Arc<Inner<O, K>>>, inner: F) -> Self {
        Self::at(Stage::Idle, timeout, inner)
    }

    /// Makes a call whose time has begun, and whose deadline is known not to be past.
    #[cfg(feature = "tower")]
    pub(super) const fn begun(timeout: Link<'a, Arc<Inner<O, K>>>, inner: F, begun: Begun) -> Self {
        Self::at(Stage::Begun(begun), timeout, inner)
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
            total: None,
            inner,
            timer: Timer::new(),
        }
    }
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
    fn poll(self: Pin<&mut Self>, cx: &mut Task<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let timed_out = |stage: &mut Stage, timeout: &Inner<O, K>, why| {
            *stage = Stage::Done;
            timeout.expired(why);
            Poll::Ready(Err(Error::TimedOut(why)))
        };
        let begun = match *this.stage {
            Stage::Waiting(due) => {
                let poll = {
                    let _inside = this.total.map(|end| Total::enter(end, false));
                    this.inner.poll(cx)
                };
                if let Poll::Ready(result) = poll {
                    *this.stage = Stage::Done;
                    return Poll::Ready(result.map_err(Error::Inner));
                }
                let Some(due) = due else {
                    return Poll::Pending;
                };
                ready!(this.timer.poll(due.at, cx));
                return timed_out(this.stage, this.timeout, due.timed_out);
            }
            Stage::Idle => match Begun::now(this.timeout, None) {
                Ok(begun) => begun,
                Err(why) => return timed_out(this.stage, this.timeout, why),
            },
            #[cfg(feature = "tower")]
            Stage::Begun(begun) => begun,
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
        *this.total = begun.total();
        let poll = {
            let _inside = this.total.map(|end| Total::enter(end, true));
            this.inner.as_mut().poll(cx)
        };
        if let Poll::Ready(result) = poll {
            *this.stage = Stage::Done;
            return Poll::Ready(result.map_err(Error::Inner));
        }
        let start = begun.start.unwrap_or_else(|| this.timeout.clock.now());
        let due = Inner::<O, K>::due(begun.limit, start, begun.deadline);
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
