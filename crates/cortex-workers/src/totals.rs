use crate::event::Outcome;
use crate::hub::Offered;
use crate::job::{Ran, Unstarted};
use crate::ticket::Ticket;

/// What became of all tasks so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) submitted: u64,
    pub(crate) rejected: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) panicked: u64,
    pub(crate) cancelled: u64,
    pub(crate) expired: u64,
    pub(crate) timed_out: u64,
    pub(crate) discarded: u64,
    pub(crate) shut_down: u64,
    /// How many ran on the thread of their caller.
    pub(crate) inline: u64,
    pub(crate) respawns: u64,
    pub(crate) replaced: u64,
    pub(crate) busy_nanos: u64,
    /// How long the threads that have ended were there.
    pub(crate) thread_nanos: u64,
}

impl Totals {
    pub(crate) fn offered(&mut self, offered: Offered) {
        self.submitted += 1;
        match offered {
            Offered::Refused(Unstarted::Discarded(_)) => self.discarded += 1,
            Offered::Refused(_) => self.rejected += 1,
            Offered::In | Offered::Waits => {}
        }
    }

    /// Takes note of a task that was taken, and is done with; returns how that was.
    pub(crate) fn ended(&mut self, ticket: &Ticket, ran: Option<Ran>, nanos: u64) -> Outcome {
        self.busy_nanos = self.busy_nanos.saturating_add(nanos);
        let outcome = Outcome::of(ticket, ran);
        let count = match outcome {
            Outcome::Completed => &mut self.completed,
            Outcome::Failed => &mut self.failed,
            Outcome::Panicked => &mut self.panicked,
            Outcome::Cancelled => &mut self.cancelled,
            Outcome::Expired => &mut self.expired,
            Outcome::TimedOut => &mut self.timed_out,
            Outcome::ShutDown => &mut self.shut_down,
        };
        *count += 1;
        outcome
    }
}
