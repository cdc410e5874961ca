//! What runs on the thread of whoever calls and awaits.

use crate::adaptive::Adaptive;
use crate::call::{Answer, Call};
use crate::cancel::Cancel;
use crate::error::{Error, Stage};
use crate::event::{Event, Outcome};
use crate::job::{Closure, Ran, Work, drop_quietly};
use crate::panics;
use crate::stop::Stop;
use crate::task_cx::TaskCx;
use crate::ticket::{Phase, Ticket};
use crate::worker::{Closures, Worker};
#[cfg(feature = "tokio")]
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

impl<F, T> Call<'_, Closures, Closure<F>>
where
    F: FnOnce(&mut Closures, &TaskCx<'_>) -> T + Send + 'static,
    T: Send + 'static,
{
    /// Has it run on this thread, if those of the same place in the code have shown that they are tiny: see
    /// [`Adaptive`].
    ///
    /// To await in a loop what is always ready would keep others on the thread from their turns: every 64th call goes
    /// to the pool, which mostly gives it up, and with the feature `tokio` each one takes of the budget that tokio gives
    /// its tasks.
    pub fn adaptive(mut self, site: &'static Adaptive) -> Self {
        self.options.site = Some(site);
        self
    }
}

impl<W: Worker, P: Work<W>> Call<'_, W, P> {
    /// Runs the task on this thread: its context is attached already.
    pub(crate) fn run_now(&self, mut ticket: Ticket, state: W, work: P) -> Answer<W, P> {
        ticket.set_phase(Phase::Taken);
        ticket.looks_itself = true;
        let Some(token) = &self.token else {
            return self.run_as(&ticket, state, work);
        };
        let ticket = Arc::new(ticket);
        let Ok(enrolment) = token.enrol(Box::new(Here(Arc::downgrade(&ticket)))) else {
            self.refused(&ticket, true);
            return Err(Error::Cancelled {
                stage: Stage::Submitting,
                work: Some(work.back()),
            });
        };
        let answer = self.run_as(&ticket, state, work);
        drop_quietly(enrolment);
        answer
    }

    fn run_as(&self, ticket: &Ticket, mut state: W, work: P) -> Answer<W, P> {
        let (shared, span) = (self.shared(), &ticket.span);
        let taken = ticket.submitted;
        let cx = TaskCx {
            ticket,
            clock: &*shared.clock,
            taken,
        };
        let attached = (!span.is_none()).then(|| {
            span.taken(cx.queued_for());
            span.attach(ticket.context)
        });
        let result = panics::catch(|| work.run(&mut state, &cx));
        drop(attached);
        let now = shared.clock.nanos();
        let (ran, answer) = match result {
            Ok(Ok(answer)) => (Ran::Completed, Ok(answer)),
            Ok(Err(failure)) => (Ran::Failed, Err(Error::Failed(failure))),
            Err(panic) => (Ran::Panicked, Err(Error::Panicked(panic))),
        };
        let (due, why) = ticket.due(taken);
        if due <= now {
            ticket.tell(why);
        }
        let took = now.saturating_sub(taken);
        if let Some(site) = ticket.site {
            site.note(took, now);
        }
        let outcome = shared.hub.ran_elsewhere(ticket, ran, took);
        let panic = match &answer {
            Err(Error::Panicked(panic)) => Some(panic),
            _ => None,
        };
        span.end(outcome, panic);
        shared.tell(|| Event::of_ended(outcome, ticket, taken, now));
        let (when, work) = (Stage::Running, None);
        let late = match outcome {
            Outcome::Completed | Outcome::Failed | Outcome::Panicked | Outcome::ShutDown => return answer,
            Outcome::Cancelled => Error::Cancelled { stage: when, work },
            Outcome::Expired => Error::Deadline { stage: when, work },
            Outcome::TimedOut => Error::RunTimeout {
                ran: Duration::from_nanos(took),
            },
        };
        drop_quietly(answer);
        Err(late)
    }
}

/// A task that runs on the thread of its caller, as a token sees it.
struct Here(Weak<Ticket>);

impl Cancel for Here {
    fn cancel(&self) {
        if let Some(ticket) = self.0.upgrade() {
            ticket.tell(Stop::Cancelled);
        }
    }
}

/// Runs what may block on a thread that others wait for, if the runtime of this thread can let another one do its other
/// tasks. If not, the work comes back.
#[cfg(feature = "tokio")]
pub(crate) fn in_place<P, T>(work: P, run: impl FnOnce(P) -> T) -> Result<T, P> {
    use tokio::runtime::{Handle, RuntimeFlavor, worker_index};
    let is_multi = |runtime: Handle| runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
    if worker_index().is_none() || !Handle::try_current().is_ok_and(is_multi) {
        return Err(work);
    }
    let mut left = Some(work);
    let place = AssertUnwindSafe(|| tokio::task::block_in_place(|| left.take().map(run)));
    match catch_unwind(place) {
        Ok(Some(done)) => Ok(done),
        Ok(None) => unreachable!("it was there"),
        // It refuses to within a `LocalSet` of such a thread; nobody else knows of one.
        Err(payload) => match left {
            Some(work) => {
                drop_quietly(payload);
                Err(work)
            }
            None => std::panic::resume_unwind(payload),
        },
    }
}
