//! How tasks come in, and how they go without having been taken.

use super::after::{After, Offered};
use super::inner::{Inner, Life, Task};
use super::time::GROW_EVERY;
use crate::error::Discard;
use crate::job::Unstarted;
use crate::overflow::Overflow;
use crate::priority::Priority;
use crate::ticket::{NEVER, Phase, Ticket, later};
use std::sync::Arc;

impl<W: 'static> Inner<W> {
    pub(super) fn offer(
        &mut self,
        task: Task<W>,
        overflow: Overflow,
        waits: bool,
        after: &mut After<W>,
    ) -> Offered {
        if self.life != Life::Open {
            return Offered::Refused(Unstarted::Closed);
        }
        if self.failing > 0 && self.failing == self.live && !task.ticket().outlasts {
            return Offered::Refused(Unstarted::NoWorkers);
        }
        let ticket = task.ticket();
        after.at(ticket.deadline);
        // Others may wait for what is not for it to have: more than their share.
        let claim = if self.outside.len_of(ticket.submitter) == 0 {
            self.claim(ticket)
        } else if self.queued >= self.settings.capacity {
            Claim::Full
        } else {
            Claim::TooMany
        };
        if claim == Claim::Granted {
            self.enter(task, after);
            return Offered::In;
        }
        if overflow == Overflow::DropOldest
            && let Some(victim) = self.pop_for(ticket, claim)
        {
            ticket.set_share(victim.ticket().take_share());
            self.leave_line(victim.ticket(), after);
            victim.ticket().set_phase(Phase::Ended);
            self.totals.discarded += 1;
            after
                .ended
                .push((victim, Unstarted::Discarded(Discard::Overflow)));
            self.enter(task, after);
            return Offered::In;
        }
        if !waits {
            self.grow_for_refused(ticket.submitted, after);
            return Offered::Refused(match overflow {
                Overflow::DropNewest => Unstarted::Discarded(Discard::Overflow),
                _ => Unstarted::Full,
            });
        }
        let (limit, of, since) = (ticket.limit(), ticket.submitter, ticket.submitted);
        let place = self.outside.push(of, since, task);
        if let Some(task) = self.outside.get(place) {
            task.ticket().set_place(place);
        }
        self.note_limit(limit, None, place);
        self.waiting += 1;
        after.at(limit);
        self.want_thread(since, after);
        Offered::Waits
    }

    /// Takes out what gives its place to a task: whoever has too much gives up its own, and in a full queue what is least
    /// goes.
    fn pop_for(&mut self, ticket: &Ticket, claim: Claim) -> Option<Task<W>> {
        let own = match (claim, ticket.submitter) {
            (Claim::TooMany, Some(submitter)) => self.line.pop_of(ticket.priority, submitter),
            _ => None,
        };
        own.or_else(|| self.line.pop_least(ticket.priority))
    }

    /// Takes a place for a task, if there is one for it.
    ///
    /// What an idle worker will take at once does not wait, nor does what the first thread is started for. A submitter
    /// that is named has no more tasks of a priority in the queue than there are places free: one alone has half of the
    /// queue, and several leave room for one more. That is what switches do with the buffers that their ports share, as
    /// dynamic thresholds.
    fn claim(&mut self, ticket: &Ticket) -> Claim {
        let idle = if self.is_paused {
            0
        } else {
            self.idle + usize::from(self.live == 0)
        };
        let places = self.settings.capacity.saturating_add(idle);
        if self.queued >= places {
            return Claim::Full;
        }
        if let Some(submitter) = ticket.submitter
            && self.line.count_of(ticket.priority, Some(submitter)) >= places - self.queued
        {
            return Claim::TooMany;
        }
        if self.queued >= idle
            && let Some(share) = &mut self.share
        {
            if !share.take() {
                return Claim::Full;
            }
            ticket.set_share(true);
        }
        Claim::Granted
    }

    /// Adds a thread where there is no place to wait, and so nothing that shows how long tasks wait.
    fn grow_for_refused(&mut self, now: u64, after: &mut After<W>) {
        let may = self.settings.capacity == 0 && self.live < self.settings.most && !self.is_paused;
        if may && now >= self.grow_after {
            self.grow_after = later(now, GROW_EVERY);
            after.start.push(self.sit_down());
        }
    }

    pub(super) fn enter(&mut self, task: Task<W>, after: &mut After<W>) {
        let ticket = task.ticket();
        let (priority, of, since) = (ticket.priority, ticket.submitter, ticket.submitted);
        ticket.set_phase(Phase::Queued);
        let limit = ticket.limit();
        let place = self.line.push(priority, of, since, task);
        if let Some(task) = self.line.get(priority, place) {
            task.ticket().set_place(place);
        }
        self.note_limit(limit, Some(priority), place);
        self.queued += 1;
        self.wake_for(after);
        if self.idle == 0 {
            self.want_thread(since, after);
        }
    }

    /// Takes note of until when something may wait, unless it may for ever.
    fn note_limit(&mut self, limit: u64, list: Option<Priority>, place: usize) {
        if limit != NEVER {
            self.limits.insert((limit, list, place));
        }
    }

    /// Lets those in that wait for a place, as far as there are places.
    pub(super) fn admit(&mut self, after: &mut After<W>) {
        // Whoever has too much in the queue stands back; after a few of those there is another time: when the queue is
        // shorter.
        let mut skips = self.outside.lanes().min(SKIPS);
        while skips > 0
            && let Some((_, task)) = self.outside.first()
        {
            let task = Arc::clone(task);
            match self.claim(task.ticket()) {
                Claim::Granted => {
                    self.outside.pop();
                    self.leave_outside(task.ticket());
                    self.enter(task, after);
                }
                Claim::TooMany => {
                    self.outside.skip();
                    skips -= 1;
                }
                Claim::Full => return,
            }
        }
    }

    /// Says whether it has its turn at the places that pools share.
    pub(super) const fn set_turn(&mut self, has_turn: bool) {
        if let Some(share) = &mut self.share {
            share.set_turn(has_turn);
        }
    }

    /// Takes out a task that was not taken, and ends it; returns it if that was in time.
    pub(super) fn remove(&mut self, ticket: &Ticket, after: &mut After<W>) -> Option<Task<W>> {
        let task = match ticket.phase() {
            Phase::Outside => {
                let task = self.outside.remove(ticket.place())?;
                self.leave_outside(ticket);
                task
            }
            Phase::Queued => {
                let task = self.line.remove(ticket.priority, ticket.place())?;
                self.leave_line(ticket, after);
                task
            }
            Phase::Taken | Phase::Ended => return None,
        };
        ticket.set_phase(Phase::Ended);
        Some(task)
    }

    /// Takes note that a task does not wait for a place any more.
    pub(super) fn leave_outside(&mut self, ticket: &Ticket) {
        self.waiting -= 1;
        self.limits.remove(&(ticket.limit(), None, ticket.place()));
    }

    /// Takes note that a task is not in the queue any more.
    pub(super) fn leave_line(&mut self, ticket: &Ticket, after: &mut After<W>) {
        self.queued -= 1;
        if ticket.deadline != NEVER {
            let limit = (ticket.deadline, Some(ticket.priority), ticket.place());
            self.limits.remove(&limit);
        }
        if let Some(share) = &mut self.share
            && ticket.take_share()
        {
            after.gate = after.gate.take().or(share.give());
        }
    }
}

/// Whether there is a place for a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Granted,
    Full,
    /// There is, but not for one more of this submitter.
    TooMany,
}

/// So many submitters that have too much are passed over for those behind them.
const SKIPS: usize = 8;
