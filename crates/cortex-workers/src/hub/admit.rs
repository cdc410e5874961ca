//! How tasks come in, and how they go without having been taken.

use super::after::{After, Offered};
use super::inner::{Inner, Life, Task, is_alive};
use super::time::GROW_EVERY;
use crate::error::Discard;
use crate::job::Unstarted;
use crate::overflow::Overflow;
use crate::ticket::{Phase, Ticket, later};

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
        after.at(task.ticket().deadline);
        self.next_limit = self.next_limit.min(task.ticket().deadline);
        if self.waiting == 0 && self.has_place() {
            self.enter(task, after);
            return Offered::In;
        }
        if overflow == Overflow::DropOldest
            && let Some(victim) = self.line.pop_least(task.ticket().priority, is_alive)
        {
            victim.ticket().set_phase(Phase::Ended);
            self.queued -= 1;
            self.totals.discarded += 1;
            after
                .ended
                .push((victim, Unstarted::Discarded(Discard::Overflow)));
            self.enter(task, after);
            return Offered::In;
        }
        if !waits {
            self.grow_for_refused(task.ticket().submitted, after);
            return Offered::Refused(match overflow {
                Overflow::DropNewest => Unstarted::Discarded(Discard::Overflow),
                _ => Unstarted::Full,
            });
        }
        let (patience, submitted) = (task.ticket().patience, task.ticket().submitted);
        self.outside.push_back(task);
        self.waiting += 1;
        after.at(patience);
        self.next_limit = self.next_limit.min(patience);
        self.want_thread(submitted, after);
        Offered::Waits
    }

    /// What an idle worker will take at once does not wait, nor does what the first thread is started for.
    pub(super) fn has_place(&self) -> bool {
        let idle = if self.is_paused {
            0
        } else {
            self.idle + usize::from(self.live == 0)
        };
        self.queued < self.settings.capacity.saturating_add(idle)
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
        let (priority, submitted) = (ticket.priority, ticket.submitted);
        ticket.set_phase(Phase::Queued);
        self.line.push(priority, submitted, task);
        self.queued += 1;
        self.wake_for(after);
        if self.idle == 0 {
            self.want_thread(submitted, after);
        }
    }

    /// Lets those in that wait for a place, as far as there are places.
    pub(super) fn admit(&mut self, after: &mut After<W>) {
        while let Some(task) = self.outside.front() {
            if !is_alive(task) {
                self.outside.pop_front();
                self.dead -= 1;
                continue;
            }
            if !self.has_place() {
                return;
            }
            if let Some(task) = self.outside.pop_front() {
                self.waiting -= 1;
                self.enter(task, after);
            }
        }
    }

    /// Ends a task that was not taken; what stands for it is dropped later.
    pub(super) fn remove(&mut self, ticket: &Ticket) -> bool {
        match ticket.phase() {
            Phase::Outside => self.waiting -= 1,
            Phase::Queued => self.queued -= 1,
            Phase::Taken | Phase::Ended => return false,
        }
        ticket.set_phase(Phase::Ended);
        self.dead += 1;
        true
    }

    /// Drops what stands for tasks that have ended once that is most of what is there.
    pub(super) fn sweep(&mut self) {
        if self.dead > 32 && self.dead > self.queued + self.waiting {
            self.line.sweep(is_alive);
            self.outside.retain(is_alive);
            self.dead = 0;
        }
    }
}
