use super::policy::Hedge;
use super::settings::Settings;
use crate::attempt::Attempt;
use crate::budget::{Budget, Cost, Running, Withdrawal};
use crate::classify::{Classify, Pushback};
use crate::error::Error;
use crate::event::Event;
use crate::observer::Observer;
use crate::outcome::Outcome;
#[cfg(feature = "tower")]
use crate::rejected::Rejected;
use cortex_core::{Clock, Deadline};
use pin_project_lite::pin_project;
use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// Makes the attempts of a [`Race`]; `Hedge::call`, the service and pipelines have one.
pub trait Make {
    /// An attempt.
    type Future: Future;

    /// Says whether the request can be sent again.
    fn is_repeatable(&self) -> bool {
        true
    }

    /// Makes an attempt, unless the request can't be sent again.
    fn make(&mut self, attempt: Attempt) -> Option<Self::Future>;

    /// Says whether an attempt waits for no readiness any more.
    fn has_begun(attempt: &Self::Future) -> bool {
        let _ = attempt;
        true
    }
}

pub(super) type Link<'a, C, O, K> = crate::link::Link<'a, Hedge<C, O, K>>;

impl<'a, C, O: Observer, K: Clock> Link<'a, C, O, K> {
    /// Takes note of a first attempt.
    #[inline]
    pub(super) fn begin(&self) -> Option<Running<'a>> {
        match self {
            Self::Borrowed(hedge) => hedge.budget().map(Budget::begin),
            Self::Owned(hedge) => hedge.budget().map(Budget::begin_owned),
        }
    }

    /// Begins an attempt beyond the first.
    ///
    /// # Errors
    ///
    /// The budget has nothing left.
    fn begin_beyond(&self) -> Result<Option<Running<'a>>, ()> {
        let withdrawal = match self {
            Self::Borrowed(hedge) => hedge.budget().map(|budget| budget.try_withdraw(Cost::Retry)),
            Self::Owned(hedge) => hedge
                .budget()
                .map(|budget| budget.try_withdraw_owned(Cost::Retry)),
        };
        match withdrawal {
            Some(withdrawal) => match withdrawal.and_then(Withdrawal::start) {
                Some(running) => Ok(Some(running)),
                None => Err(()),
            },
            None => Ok(None),
        }
    }
}

/// When the next attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// The first runs, and has not been waited for.
    Unknown,
    Now,
    At(Instant),
    Never,
}

/// What a call knows besides its attempts.
#[derive(Debug)]
pub(super) struct State {
    sent: u32,
    next: Next,
    settings: Option<Arc<Settings>>,
    pub(super) deadline: Option<Deadline>,
}

impl State {
    const fn new() -> Self {
        Self {
            sent: 0,
            next: Next::Unknown,
            settings: None,
            deadline: None,
        }
    }

    /// Plans the next attempt for a time after this one.
    fn plan(&mut self, settings: &Settings, from: Instant) {
        self.next = if self.sent >= settings.max_attempts {
            Next::Never
        } else {
            let delay = settings.delay(self.sent + 1);
            if delay.is_zero() {
                Next::Now
            } else {
                from.checked_add(delay).map_or(Next::Never, Next::At)
            }
        };
    }

    /// Says whether nobody waits any more then.
    fn is_late(&self, then: Instant) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline.is_past(then.into_std()))
    }
}

/// What an attempt's end means for the others.
enum Verdict {
    Won,
    /// It is the answer although it failed: others would repeat it.
    Ends,
    Failed(Option<Pushback>),
}

/// An attempt beyond the first.
struct Extra<'a, F> {
    number: u32,
    future: Pin<Box<F>>,
    running: Option<Running<'a>>,
}

pin_project! {
    /// All attempts of a call, whoever makes them.
    ///
    /// # Cancel safety
    ///
    /// As [`Call`](super::Call).
    pub struct Race<'a, M, F: Future, C, O, K> {
        link: Link<'a, C, O, K>,
        make: M,
        state: State,
        // Idle, or in the hands of a poll; a panic leaves it so.
        stage: Stage,
        last: Option<F::Output>,
        running: Option<Running<'a>>,
        #[pin]
        first: Option<F>,
        extra: Vec<Extra<'a, F>>,
        #[pin]
        timer: Option<Sleep>,
    }
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    Idle,
    Running,
    #[cfg(feature = "tower")]
    Refused(Option<Rejected>),
    Done,
}

impl<'a, M, F: Future, C, O, K> Race<'a, M, F, C, O, K> {
    const fn with(link: Link<'a, C, O, K>, make: M, stage: Stage) -> Self {
        Self {
            link,
            make,
            state: State::new(),
            stage,
            last: None,
            running: None,
            first: None,
            extra: Vec::new(),
            timer: None,
        }
    }

    /// Makes a call of a policy that is borrowed.
    #[inline]
    pub(crate) const fn borrowed(hedge: &'a Hedge<C, O, K>, make: M) -> Self {
        Self::new(Link::Borrowed(hedge), make)
    }

    /// Makes a call that begins at its first poll.
    pub(super) const fn new(link: Link<'a, C, O, K>, make: M) -> Self {
        Self::with(link, make, Stage::Idle)
    }

    /// Makes a call whose first attempt has begun.
    #[cfg(feature = "tower")]
    pub(super) fn begun(
        link: Link<'a, C, O, K>,
        make: M,
        (first, running): (F, Option<Running<'a>>),
        deadline: Option<Deadline>,
    ) -> Self {
        let mut race = Self::with(link, make, Stage::Running);
        race.first = Some(first);
        race.running = running;
        race.state.deadline = deadline;
        race.state.sent = 1;
        race
    }

    /// Makes a call that was refused, or was not ready.
    #[cfg(feature = "tower")]
    pub(super) const fn refused(link: Link<'a, C, O, K>, make: M, why: Option<Rejected>) -> Self {
        Self::with(link, make, Stage::Refused(why))
    }
}

impl<M, F, T, E, C, O, K> Future for Race<'_, M, F, C, O, K>
where
    M: Make<Future = F>,
    F: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
    O: Observer,
    K: Clock,
{
    type Output = Result<T, Error<E>>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.as_mut().project();
        match std::mem::replace(this.stage, Stage::Done) {
            Stage::Running => {}
            Stage::Idle => {
                if let Err(answer) = self.as_mut().begin() {
                    return Poll::Ready(Err(answer));
                }
            }
            #[cfg(feature = "tower")]
            Stage::Refused(why) => {
                return Poll::Ready(Err(why.map_or(Error::NotReady, Error::Rejected)));
            }
            Stage::Done => panic!("a call was polled after it was ready, or had panicked"),
        }
        if let Some(answer) = self.as_mut().poll_first(cx) {
            return Poll::Ready(answer.map_err(Error::Inner));
        }
        let mut fresh = 0;
        loop {
            if let Some(answer) = self.as_mut().poll_extra(cx, fresh) {
                return Poll::Ready(answer.map_err(Error::Inner));
            }
            fresh = self.extra.len();
            if self.as_mut().sends(cx) {
                continue;
            }
            let this = self.as_mut().project();
            if this.first.is_none()
                && this.extra.is_empty()
                && this.state.next == Next::Never
                && let Some(last) = this.last.take()
            {
                return Poll::Ready(last.map_err(Error::Inner));
            }
            *this.stage = Stage::Running;
            return Poll::Pending;
        }
    }
}

impl<M, F, T, E, C, O, K> Race<'_, M, F, C, O, K>
where
    M: Make<Future = F>,
    F: Future<Output = Result<T, E>>,
    C: Classify<T, E>,
    O: Observer,
    K: Clock,
{
    /// Makes the first attempt.
    #[inline]
    fn begin(self: Pin<&mut Self>) -> Result<(), Error<E>> {
        let mut this = self.project();
        this.state.deadline = this.link.inner.deadline().map_err(Error::Rejected)?;
        this.state.sent = 1;
        *this.running = this.link.begin();
        let attempt = Attempt {
            number: 1,
            deadline: this.state.deadline,
            is_last: false,
        };
        let first = this.make.make(attempt);
        this.first.set(first);
        Ok(())
    }

    /// Looks at the first attempt; returns the answer if that is it.
    #[inline]
    fn poll_first(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<F::Output> {
        let mut this = self.as_mut().project();
        let Poll::Ready(result) = this.first.as_mut().as_pin_mut()?.poll(cx) else {
            return None;
        };
        this.first.set(None);
        let running = this.running.take();
        self.ended(1, running, result)
    }

    /// Looks at the attempts beyond the first from this one on.
    fn poll_extra(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: usize) -> Option<F::Output> {
        let mut index = from;
        loop {
            let this = self.as_mut().project();
            let extra = this.extra.get_mut(index)?;
            if !M::has_begun(&extra.future) && this.link.inner.is_late(this.state.deadline) {
                this.extra.remove(index);
                continue;
            }
            match extra.future.as_mut().poll(cx) {
                Poll::Pending => index += 1,
                Poll::Ready(result) => {
                    let Extra { number, running, .. } = this.extra.remove(index);
                    let answer = self.as_mut().ended(number, running, result);
                    if answer.is_some() {
                        return answer;
                    }
                }
            }
        }
    }

    /// Takes note of the end of an attempt; returns its result if that is the answer.
    #[inline]
    fn ended(
        self: Pin<&mut Self>,
        number: u32,
        running: Option<Running<'_>>,
        result: F::Output,
    ) -> Option<F::Output> {
        let mut this = self.project();
        let verdict = judge(&this.link.classify, running, result.as_ref());
        let inner = &this.link.inner;
        if let Verdict::Failed(pushback) = verdict {
            let settings = this.state.settings.get_or_insert_with(|| inner.settings());
            *this.last = Some(result);
            this.state.next = match (pushback, this.state.next) {
                _ if this.state.sent >= settings.max_attempts => Next::Never,
                (_, Next::Never) | (Some(Pushback::Stop), _) => Next::Never,
                (Some(Pushback::After(wait)), _) if wait > settings.max_retry_after => Next::Never,
                (Some(Pushback::After(wait)), _) => {
                    Instant::now().checked_add(wait).map_or(Next::Never, Next::At)
                }
                (None, _) => Next::Now,
            };
            // Nobody waits for an attempt that will not be made.
            if let Next::At(then) = this.state.next
                && (this.state.is_late(then) || this.link.budget().is_some_and(|budget| !budget.allows()))
            {
                this.state.next = Next::Never;
            }
            return None;
        }
        let losers = u32::from(this.first.is_some()) + u32::try_from(this.extra.len()).unwrap_or(u32::MAX);
        this.first.set(None);
        *this.running = None;
        this.extra.clear();
        this.timer.set(None);
        if losers > 0 {
            inner.tell(|| Event::HedgeCancelled { attempts: losers });
        }
        if this.state.sent > 1 && matches!(verdict, Verdict::Won) {
            inner.tell(|| Event::HedgeWon { attempt: number });
        }
        Some(result)
    }

    /// Sends the next attempt if it is time, and says whether it did.
    fn sends(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let mut this = self.project();
        let inner = &this.link.inner;
        let settings = match &this.state.settings {
            Some(settings) => Arc::clone(settings),
            None => Arc::clone(this.state.settings.insert(inner.settings())),
        };
        if !this.make.is_repeatable() {
            this.state.next = Next::Never;
        }
        if this.state.next == Next::Unknown {
            this.state.plan(&settings, Instant::now());
        }
        let from = match this.state.next {
            Next::Now => Instant::now(),
            Next::At(then) => {
                match this.timer.as_mut().as_pin_mut() {
                    None => this.timer.set(Some(sleep_until(then))),
                    Some(timer) if timer.deadline() != then => timer.reset(then),
                    Some(_) => {}
                }
                // Attempts that use up the budget of the task at every poll must not keep the timer from being heard.
                let timer = this.timer.as_mut().as_pin_mut();
                if timer.is_none_or(|timer| pin!(unconstrained(timer)).poll(cx).is_pending()) {
                    return false;
                }
                then
            }
            Next::Unknown | Next::Never => return false,
        };
        this.state.next = Next::Never; // unless one is sent
        if inner.is_late(this.state.deadline) {
            return false;
        }
        let Ok(running) = this.link.begin_beyond() else {
            return false;
        };
        let number = this.state.sent + 1;
        let attempt = Attempt {
            number,
            deadline: this.state.deadline,
            is_last: number >= settings.max_attempts,
        };
        let Some(future) = this.make.make(attempt) else {
            return false;
        };
        this.extra.push(Extra {
            number,
            future: Box::pin(future),
            running,
        });
        this.state.sent = number;
        this.state.plan(&settings, from);
        inner.tell(|| Event::HedgeSent { attempt: number });
        true
    }
}

#[inline]
fn judge<T, E>(
    classify: &impl Classify<T, E>,
    running: Option<Running<'_>>,
    result: Result<&T, &E>,
) -> Verdict {
    let outcome = classify.outcome(result);
    if outcome == Outcome::Success {
        if let Some(running) = running {
            running.succeeded();
        }
        return Verdict::Won;
    }
    if classify.rejected(result).is_some() {
        return Verdict::Failed(Some(Pushback::Stop)); // it would refuse the next one too
    }
    let retryable = classify.is_retryable(result);
    let pushback = classify.pushback(result);
    if let Some(running) = running
        && (retryable || pushback == Some(Pushback::Stop))
    {
        running.failed();
    }
    if retryable {
        Verdict::Failed(pushback)
    } else {
        Verdict::Ends
    }
}

impl<M, F: Future, C, O, K> fmt::Debug for Race<'_, M, F, C, O, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race")
            .field("hedge", &*self.link)
            .field("sent", &self.state.sent)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}
