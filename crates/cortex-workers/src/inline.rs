//! What runs on the thread of whoever calls and awaits.

use crate::adaptive::Adaptive;
use crate::call::{Answer, Call};
use crate::error::{Error, Panic, Stage};
use crate::event::Event;
use crate::job::{Closure, Ran, Work, drop_quietly};
use crate::stop::Stop;
use crate::task_cx::TaskCx;
use crate::ticket::{Phase, Ticket};
use crate::worker::{Closures, Worker};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

impl<F, T> Call<'_, Closures, Closure<F>>
where
    F: FnOnce(&mut Closures, &TaskCx<'_>) -> T + Send + 'static,
    T: Send + 'static,
{
    /// Has it run on this thread, if those of the same place in the code have shown that they are tiny: see
    /// [`Adaptive`].
    ///
    /// To await in a loop what is always ready would keep others on the thread from their turns: every 64th call gives
    /// it up, and with the feature `tokio` each one takes of the budget that tokio gives its tasks.
    pub fn adaptive(mut self, site: &'static Adaptive) -> Self {
        self.options.site = Some(site);
        self
    }
}

impl<W: Worker, P: Work<W>> Call<'_, W, P> {
    /// Runs the task on this thread: its context is attached already.
    pub(crate) fn run_now(&self, mut ticket: Ticket, mut state: W, work: P) -> Answer<W, P> {
        let shared = self.shared();
        ticket.set_phase(Phase::Taken);
        ticket.looks_itself = true;
        let taken = ticket.submitted;
        let cx = TaskCx {
            ticket: &ticket,
            clock: &*shared.clock,
            taken,
        };
        let result = catch_unwind(AssertUnwindSafe(|| work.run(&mut state, &cx)));
        let now = shared.clock.nanos();
        let (ran, answer) = match result {
            Ok(Ok(answer)) => (Ran::Completed, Ok(answer)),
            Ok(Err(failure)) => (Ran::Failed, Err(Error::Failed(failure))),
            Err(payload) => {
                let panic = Panic::new(&*payload);
                drop_quietly(payload);
                (Ran::Panicked, Err(Error::Panicked(panic)))
            }
        };
        let (due, why) = ticket.due(taken);
        if due <= now {
            ticket.tell(why);
        }
        let took = now.saturating_sub(taken);
        if let Some(site) = ticket.site {
            site.note(took, now);
        }
        let outcome = shared.hub.ran_elsewhere(&ticket, ran, took);
        shared.tell(|| Event::of_ended(outcome, &ticket, taken, now));
        let late = match ticket.stop() {
            None | Some(Stop::Cancelled | Stop::Shutdown) => return answer, // nobody else tells it
            Some(Stop::Deadline) => Error::Deadline {
                stage: Stage::Running,
                work: None,
            },
            Some(Stop::RunTimeout) => Error::RunTimeout {
                ran: Duration::from_nanos(took),
            },
        };
        drop_quietly(answer);
        Err(late)
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
