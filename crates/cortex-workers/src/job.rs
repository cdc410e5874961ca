use crate::cancel::Enrolment;
use crate::error::{Discard, Error, Stage};
use crate::event::Outcome;
use crate::panics;
use crate::stop::Stop;
use crate::sync::{Mutex, lock};
use crate::task_cx::TaskCx;
use crate::ticket::{Phase, Ticket};
use crate::worker::Worker;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What is to be done with the state of a worker: a request, or a closure.
pub trait Work<W>: Send + 'static {
    /// What comes out.
    type Answer: Send + 'static;
    /// What the worker says where nothing does.
    type Failure: Send + 'static;
    /// What the caller gets back of work that was not begun.
    type Back;

    /// Does it.
    ///
    /// # Errors
    ///
    /// The worker says so.
    fn run(self, state: &mut W, cx: &TaskCx<'_>) -> Result<Self::Answer, Self::Failure>;

    /// Returns what the caller gave.
    fn back(self) -> Self::Back;

    /// Returns the request that it is, which can be kept for later.
    ///
    /// # Errors
    ///
    /// It is none, and comes back.
    fn into_request(self) -> Result<W::Request, Self>
    where
        W: Worker,
        Self: Sized,
    {
        Err(self)
    }
}

/// A request to a worker.
pub struct Request<Q>(pub(crate) Q);

impl<W: Worker> Work<W> for Request<W::Request> {
    type Answer = W::Response;
    type Failure = W::Error;
    type Back = W::Request;

    #[inline]
    fn run(self, state: &mut W, cx: &TaskCx<'_>) -> Result<W::Response, W::Error> {
        state.run(self.0, cx)
    }

    fn back(self) -> W::Request {
        self.0
    }

    fn into_request(self) -> Result<W::Request, Self> {
        Ok(self.0)
    }
}

impl<Q> fmt::Debug for Request<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

/// A closure that is run with the state of a worker.
pub struct Closure<F>(pub(crate) F);

impl<W, F, T> Work<W> for Closure<F>
where
    F: FnOnce(&mut W, &TaskCx<'_>) -> T + Send + 'static,
    T: Send + 'static,
{
    type Answer = T;
    type Failure = std::convert::Infallible;
    type Back = F;

    #[inline]
    fn run(self, state: &mut W, cx: &TaskCx<'_>) -> Result<T, Self::Failure> {
        Ok((self.0)(state, cx))
    }

    fn back(self) -> F {
        self.0
    }
}

impl<F> fmt::Debug for Closure<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closure").finish_non_exhaustive()
    }
}

/// A task as a pool sees it.
pub(crate) trait Entry<W>: Send + Sync {
    fn ticket(&self) -> &Ticket;

    /// Runs it, and tells the caller; nothing unwinds out of it.
    fn run(&self, state: &mut W, cx: &TaskCx<'_>) -> Ran;

    /// Gives up the request of what was not taken, if it is one that nobody gets back: before it is ended, and so the caller told.
    fn give_up(&self, why: Unstarted) -> Option<W::Request>
    where
        W: Worker;

    /// Ends what was not taken, and tells the caller.
    fn end(&self, why: Unstarted);

    /// Releases the caller of what runs: its answer will be dropped.
    fn release(&self, why: Stop, ran: Duration);
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    Completed,
    Failed,
    Panicked,
}

/// Why a task was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unstarted {
    Full,
    Closed,
    NoWorkers,
    Deadline(Stage),
    Discarded(Discard),
    /// By its token, or by a caller who has gone.
    Cancelled(Stage),
}

/// A task, with what is to be done and what came of it.
pub(crate) struct Job<W, P: Work<W>> {
    ticket: Ticket,
    slot: Mutex<Slot<W, P>>,
}

struct Slot<W, P: Work<W>> {
    content: Content<W, P>,
    waker: Option<Waker>,
    /// Somebody has the answer to come. If nobody has, what comes is dropped at once: never by whoever happens to be the last one
    /// that knows of the task, who may hold a lock.
    is_awaited: bool,
    /// It is cancelled with a token, until it has ended.
    enrolment: Option<Enrolment>,
}

type Answer<W, P> = Result<<P as Work<W>>::Answer, Error<P, <P as Work<W>>::Failure>>;

enum Content<W, P: Work<W>> {
    /// Not begun.
    Pending(P),
    Running,
    Over(Answer<W, P>),
    /// The caller has its answer, or has gone.
    Gone,
}

impl<W, P: Work<W>> Job<W, P> {
    pub(crate) fn new(ticket: Ticket, work: P, waker: Option<Waker>, is_awaited: bool) -> Self {
        let slot = Slot {
            content: Content::Pending(work),
            waker,
            is_awaited,
            enrolment: None,
        };
        Self {
            ticket,
            slot: Mutex::new(slot),
        }
    }

    /// Takes the answer, if it is there.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Answer<W, P>> {
        let mut new = None; // wakers are not ours: they are cloned and dropped without the lock
        loop {
            let mut slot = lock(&self.slot);
            match &slot.content {
                Content::Over(_) => {
                    let Content::Over(answer) = std::mem::replace(&mut slot.content, Content::Gone) else {
                        unreachable!("it was looked at");
                    };
                    return Poll::Ready(answer);
                }
                Content::Gone => panic!("a call was polled after it was ready"),
                Content::Pending(_) | Content::Running => {}
            }
            let known = slot.waker.as_ref();
            if known.is_some_and(|waker| waker.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            if let Some(waker) = new.take() {
                let old = slot.waker.replace(waker);
                drop(slot);
                drop(old);
                return Poll::Pending;
            }
            drop(slot);
            new = Some(cx.waker().clone());
        }
    }

    /// Has the answer dropped as soon as it comes, or now.
    pub(crate) fn detach(&self) {
        let mut slot = lock(&self.slot);
        slot.is_awaited = false;
        let waker = slot.waker.take();
        let over = match &slot.content {
            Content::Over(_) => Some(std::mem::replace(&mut slot.content, Content::Gone)),
            Content::Pending(_) | Content::Running | Content::Gone => None,
        };
        drop(slot);
        drop_quietly((waker, over));
    }

    /// Takes its place below a token, and leaves it once it has ended.
    pub(crate) fn enrolled(&self, enrolment: Enrolment) {
        let mut slot = lock(&self.slot);
        let is_under_way = matches!(slot.content, Content::Pending(_) | Content::Running);
        let over = if is_under_way {
            slot.enrolment.replace(enrolment)
        } else {
            Some(enrolment)
        };
        drop(slot);
        drop_quietly(over);
    }

    /// Has the answer kept, whoever awaits it.
    pub(crate) fn keep(&self) {
        lock(&self.slot).is_awaited = true;
    }

    /// Takes the answer of a task that has ended.
    pub(crate) fn answer(&self) -> Option<Answer<W, P>> {
        match self.poll(&Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => None,
        }
    }

    /// Takes back what was to be done, if it was not begun. The caller of a task that was offered has withdrawn it.
    pub(crate) fn take_back(&self) -> Option<P> {
        let mut slot = lock(&self.slot);
        let waker = slot.waker.take();
        let content = std::mem::replace(&mut slot.content, Content::Gone);
        let work = match content {
            Content::Pending(work) => Some(work),
            other => {
                slot.content = other;
                None
            }
        };
        let enrolment = slot.enrolment.take();
        drop(slot);
        drop_quietly((waker, enrolment));
        if work.is_some() {
            self.ticket
                .span
                .end_unstarted(Unstarted::Cancelled(Stage::Queued));
        }
        work
    }

    /// Lets go of the answer, as the caller has gone. Says whether the task was running.
    pub(crate) fn leave(&self) -> bool {
        let mut slot = lock(&self.slot);
        let content = std::mem::replace(&mut slot.content, Content::Gone);
        let (waker, enrolment) = (slot.waker.take(), slot.enrolment.take());
        drop(slot);
        let runs = matches!(content, Content::Running);
        if let Content::Pending(_) = content {
            self.ticket
                .span
                .end_unstarted(Unstarted::Cancelled(Stage::Queued));
        }
        drop_quietly((content, waker, enrolment));
        runs
    }

    /// Answers for a task that runs, unless that was done.
    fn finish(&self, answer: Answer<W, P>) {
        let mut slot = lock(&self.slot);
        if !matches!(slot.content, Content::Running) {
            drop(slot);
            drop_quietly(answer); // nobody waits for it
            return;
        }
        let enrolment = slot.enrolment.take();
        if !slot.is_awaited {
            slot.content = Content::Gone;
            drop(slot);
            drop_quietly((answer, enrolment));
            return;
        }
        slot.content = Content::Over(answer);
        let waker = slot.waker.take();
        drop(slot);
        forget(enrolment);
        if let Some(waker) = waker {
            quietly(|| waker.wake());
        }
    }
}

impl<W, P> Entry<W> for Job<W, P>
where
    P: Work<W>,
{
    fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    fn run(&self, state: &mut W, cx: &TaskCx<'_>) -> Ran {
        debug_assert_eq!(self.ticket.phase(), Phase::Taken, "what is run was taken");
        let mut slot = lock(&self.slot);
        let work = match std::mem::replace(&mut slot.content, Content::Running) {
            Content::Pending(work) => work,
            other => {
                // The caller has gone, and took the work along.
                slot.content = other;
                return Ran::Completed;
            }
        };
        // Who hears of it looks again, and says then whom to wake for the answer.
        let bell = if self.ticket.pass() {
            slot.waker.take()
        } else {
            None
        };
        drop(slot);
        if let Some(bell) = bell {
            quietly(|| bell.wake());
        }
        if let Some(why) = self.ticket.stop() {
            // Between being taken and now: who told it could not release the caller yet.
            self.release(why, Duration::ZERO);
            if why != Stop::Shutdown {
                drop_quietly(work);
                let ran = Ran::Completed;
                self.ticket.span.end(Outcome::of(&self.ticket, Some(ran)), None);
                return ran;
            } // what was taken at the end of the pool is not to be lost
        }
        let span = &self.ticket.span;
        span.taken(cx.queued_for());
        let attached = span.attach(self.ticket.context);
        let result = panics::catch(|| work.run(state, cx));
        drop(attached);
        let (ran, answer) = match result {
            Ok(Ok(answer)) => (Ran::Completed, Ok(answer)),
            Ok(Err(failure)) => (Ran::Failed, Err(Error::Failed(failure))),
            Err(panic) => (Ran::Panicked, Err(Error::Panicked(panic))),
        };
        let panic = match &answer {
            Err(Error::Panicked(panic)) => Some(panic),
            _ => None,
        };
        let told = self.ticket.answer();
        span.end(Outcome::of(&self.ticket, Some(ran)), panic);
        if let Some(why) = told {
            // Who told it may not have released the caller yet.
            let ran = cx.clock.nanos().saturating_sub(cx.taken);
            self.release(why, Duration::from_nanos(ran));
            drop_quietly(answer);
        } else {
            self.finish(answer);
        }
        ran
    }

    fn give_up(&self, why: Unstarted) -> Option<W::Request>
    where
        W: Worker,
    {
        let reason = Discard::of(why)?;
        let at_end = why == Unstarted::Discarded(Discard::Shutdown) && !self.ticket.is_fed;
        let mut slot = lock(&self.slot);
        if slot.is_awaited && !at_end {
            return None;
        }
        let work = match std::mem::replace(&mut slot.content, Content::Gone) {
            Content::Pending(work) => work,
            other => {
                slot.content = other;
                return None;
            }
        };
        match work.into_request() {
            Ok(request) => {
                if slot.is_awaited {
                    let work = None;
                    slot.content = Content::Over(Err(Error::Discarded { reason, work }));
                }
                Some(request)
            }
            Err(work) => {
                slot.content = Content::Pending(work);
                None
            }
        }
    }

    fn end(&self, why: Unstarted) {
        self.ticket.span.end_unstarted(why);
        let mut slot = lock(&self.slot);
        let work = match std::mem::replace(&mut slot.content, Content::Gone) {
            Content::Pending(work) => work,
            other => {
                // The caller has gone, or has an answer without it.
                slot.content = other;
                let (waker, enrolment) = (slot.waker.take(), slot.enrolment.take());
                drop(slot);
                forget(enrolment);
                if let Some(waker) = waker {
                    quietly(|| waker.wake());
                }
                return;
            }
        };
        let error = match why {
            Unstarted::Full => Error::Full(work),
            Unstarted::Closed => Error::Closed(work),
            Unstarted::NoWorkers => Error::NoWorkers(work),
            Unstarted::Deadline(stage) => Error::Deadline {
                stage,
                work: Some(work),
            },
            Unstarted::Discarded(reason) => Error::Discarded {
                reason,
                work: Some(work),
            },
            Unstarted::Cancelled(stage) => Error::Cancelled {
                stage,
                work: Some(work),
            },
        };
        let enrolment = slot.enrolment.take();
        if !slot.is_awaited {
            drop(slot);
            drop_quietly((error, enrolment));
            return;
        }
        slot.content = Content::Over(Err(error));
        let waker = slot.waker.take();
        drop(slot);
        forget(enrolment);
        if let Some(waker) = waker {
            quietly(|| waker.wake());
        }
    }

    fn release(&self, why: Stop, ran: Duration) {
        let error = match why {
            Stop::Deadline => Error::Deadline {
                stage: Stage::Running,
                work: None,
            },
            Stop::RunTimeout => Error::RunTimeout { ran },
            Stop::Shutdown => Error::Shutdown,
            Stop::Cancelled => Error::Cancelled {
                stage: Stage::Running,
                work: None,
            },
        };
        self.finish(Err(error));
    }
}

impl<W, P: Work<W>> fmt::Debug for Job<W, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}

/// Has a token forget a task, if it has one.
#[inline]
fn forget(enrolment: Option<Enrolment>) {
    if enrolment.is_some() {
        drop_quietly(enrolment);
    }
}

/// Runs what is not ours, and goes on if it panics: the panic hook has told of it.
pub(crate) fn quietly(action: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(action)) {
        drop_quietly(payload);
    }
}

/// Drops what is not ours. A payload of a panic may panic in its turn; that one's payload is let go of.
pub(crate) fn drop_quietly<T>(value: T) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value)))
        && let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload)))
    {
        let _: &mut dyn std::any::Any = Box::leak(payload);
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;
    use crate::priority::Priority;
    use cortex_core::SystemClock;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// From the moment of its answer a task counts as answered, whoever comes to stop it before it is counted.
    #[test]
    fn what_is_told_to_stop_as_it_answers_counts_as_what_its_caller_hears() {
        for (is_told, outcome) in [(false, Outcome::Completed), (true, Outcome::TimedOut)] {
            let ticket = Ticket::new(Priority::Normal, cortex_core::Context::new(), 0);
            let tell =
                move |(): &mut (), cx: &TaskCx<'_>| assert!(!is_told || cx.ticket.tell(Stop::RunTimeout));
            let job = Job::new(ticket, Closure(tell), None, true);
            job.ticket.set_phase(Phase::Taken);
            let cx = TaskCx {
                ticket: &job.ticket,
                clock: &SystemClock,
                taken: 0,
            };
            let ran = job.run(&mut (), &cx);
            assert!(!job.ticket.tell(Stop::Cancelled), "it is too late");
            assert_eq!(Outcome::of(&job.ticket, Some(ran)), outcome);
            let answer = job
                .answer()
                .expect("there is one, though nobody released the caller");
            assert_eq!(answer.is_ok(), !is_told);
        }
    }

    /// What was taken runs at the end of a pool, for nobody has it any more; for other reasons it need not.
    #[test]
    fn what_is_told_to_stop_as_it_is_taken_is_begun_at_the_end_of_the_pool_only() {
        for (why, begins) in [
            (Stop::Shutdown, true),
            (Stop::Cancelled, false),
            (Stop::Deadline, false),
        ] {
            let ticket = Ticket::new(Priority::Normal, cortex_core::Context::new(), 0);
            let has_begun = Arc::new(AtomicBool::new(false));
            let begun = Arc::clone(&has_begun);
            let work = Closure(move |(): &mut (), _: &TaskCx<'_>| begun.store(true, Ordering::Relaxed));
            let job = Job::new(ticket, work, None, true);
            job.ticket.set_phase(Phase::Taken);
            job.ticket.tell(why);
            let cx = TaskCx {
                ticket: &job.ticket,
                clock: &SystemClock,
                taken: 0,
            };
            job.run(&mut (), &cx);
            assert_eq!(has_begun.load(Ordering::Relaxed), begins, "{why}");
            let answer = job.answer().expect("the caller is released");
            assert!(answer.is_err(), "{why}");
        }
    }
}
