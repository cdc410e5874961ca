//! What workers do next, and what they have done.

use super::after::{After, Next};
use super::inner::{Fate, Inner, Life, Running, Sitting, Task};
use super::time::MOST_LATE;
use crate::error::Stage;
use crate::event::Event;
use crate::job::{Ran, Unstarted};
use crate::ticket::Phase;
use crate::worker::StopReason;
use std::sync::Arc;

impl<W: 'static> Inner<W> {
    pub(super) fn next(&mut self, index: usize, now: u64, ran: Option<Ran>, after: &mut After<W>) -> Next<W> {
        self.settle(index, now, ran, after);
        if let Some(why) = self.is_over(index) {
            return self.end(index, why, after);
        }
        self.arrive(index, now);
        self.admit(after);
        if !self.is_paused
            && let Some(task) = self.pop(now, after)
        {
            self.take(index, now, &task, after);
            self.wake_for(after);
            return Next::Run(task);
        }
        if self.life != Life::Open && self.queued == 0 {
            self.wake_all(after); // there is nothing more for anybody
            return self.end(index, StopReason::Shutdown, after);
        }
        if self.live > self.settings.least {
            let end = self.end_of_rest(index);
            if end <= now {
                return self.end(index, StopReason::Idle, after);
            }
            after.at(end);
        }
        self.sleepers.push(index);
        self.wake_for(after); // itself at once, if more may be late than was ended
        Next::Sleep
    }

    /// Takes what is next. What is too late is ended before it: so many at a time that nobody waits long for the lock.
    fn pop(&mut self, now: u64, after: &mut After<W>) -> Option<Task<W>> {
        for _ in 0..MOST_LATE {
            let task = self.line.pop(now)?;
            let ticket = task.ticket();
            if ticket.deadline > now {
                return Some(task);
            }
            self.leave_line(ticket, after);
            ticket.set_phase(Phase::Ended);
            self.totals.expired += 1;
            after.ended.push((task, Unstarted::Deadline(Stage::Queued)));
            self.admit(after);
        }
        None
    }

    /// Lets a worker end.
    fn end(&mut self, index: usize, why: StopReason, after: &mut After<W>) -> Next<W> {
        self.leave_crew(index);
        self.refill(after);
        Next::End(why)
    }

    /// Takes note of what a worker has done.
    pub(super) fn settle(&mut self, index: usize, now: u64, ran: Option<Ran>, after: &mut After<W>) {
        let Some(seat) = &mut self.seats[index] else {
            return;
        };
        let Some(running) = seat.running.take() else {
            return;
        };
        seat.state = Sitting::Starting;
        let (ticket, took) = (running.task.ticket(), now.saturating_sub(running.since));
        let outcome = self.totals.ended(ticket, ran, took);
        if self.settings.is_observed {
            after
                .events
                .push(Event::of_ended(outcome, ticket, running.since, now));
        }
        let waited = running.since.saturating_sub(ticket.submitted);
        self.times.add(ticket.priority, waited, took);
        if seat.fate == Fate::Stuck {
            self.stuck -= 1;
            after.at(now); // another one may be given up now
        }
    }

    /// Takes note that a thread is there, if that is new.
    pub(super) fn appear(&mut self, index: usize, now: u64) {
        if let Some(seat) = &mut self.seats[index] {
            seat.since.get_or_insert(now);
        }
    }

    /// Takes note that a worker has nothing to do, for the first time or again.
    pub(super) fn arrive(&mut self, index: usize, now: u64) {
        self.rise(index);
        if let Some(seat) = &mut self.seats[index]
            && seat.state != Sitting::Idle
        {
            seat.state = Sitting::Idle;
            seat.idle_since = now;
            self.idle += 1;
        }
    }

    /// Takes note that a worker does not sleep any more, whoever woke it.
    pub(super) fn rise(&mut self, index: usize) {
        let Some(seat) = &mut self.seats[index] else {
            return;
        };
        if std::mem::take(&mut seat.is_woken) {
            self.waking -= 1;
        } else if seat.state == Sitting::Idle
            && let Some(at) = self.sleepers.iter().rposition(|&sleeper| sleeper == index)
        {
            self.sleepers.remove(at);
        }
    }

    pub(super) fn take(&mut self, index: usize, now: u64, task: &Task<W>, after: &mut After<W>) {
        let ticket = task.ticket();
        ticket.set_phase(Phase::Taken);
        self.leave_line(ticket, after);
        self.idle -= 1;
        let (due, _) = ticket.due(now);
        after.at(due);
        if let Some(seat) = &mut self.seats[index] {
            seat.state = Sitting::Busy;
            seat.running = Some(Running {
                task: Arc::clone(task),
                since: now,
                told: None,
            });
        }
        self.admit(after);
        if self.idle == 0 && self.queued > 0 {
            self.want_thread(now, after);
        }
    }

    pub(super) fn is_over(&self, index: usize) -> Option<StopReason> {
        let seat = self.seats[index].as_ref()?;
        if seat.fate == Fate::Stuck {
            return Some(StopReason::Replaced);
        }
        if matches!(self.life, Life::Closed { .. }) {
            return Some(StopReason::Shutdown);
        }
        let drained = self.life != Life::Open && self.queued == 0;
        if drained && seat.state == Sitting::Starting && seat.running.is_none() {
            return Some(StopReason::Shutdown);
        }
        (seat.fate == Fate::Retired).then_some(StopReason::Resized)
    }

    /// Wakes a sleeper for what is queued, unless one is on its way.
    pub(super) fn wake_for(&mut self, after: &mut After<W>) {
        if self.queued == 0 || self.waking > 0 || self.is_paused {
            return;
        }
        if let Some(seat) = self.sleepers.pop() {
            self.call(seat, after);
        }
    }

    /// Wakes a sleeper that is no longer on the list.
    pub(super) fn call(&mut self, index: usize, after: &mut After<W>) {
        if let Some(seat) = &mut self.seats[index] {
            seat.is_woken = true;
            self.waking += 1;
            after.call(seat.bell.clone());
        }
    }

    pub(super) fn nudge(&self, index: usize, after: &mut After<W>) {
        let seat = self.seats[index].as_ref();
        after.call(seat.and_then(|seat| seat.bell.clone()));
    }

    pub(super) fn wake_all(&mut self, after: &mut After<W>) {
        for index in std::mem::take(&mut self.sleepers) {
            self.call(index, after);
        }
        // Those that wait to make their state again sleep, too.
        for seat in &self.seats {
            if seat.as_ref().is_some_and(|seat| seat.state == Sitting::Starting) {
                after.call(seat.as_ref().and_then(|seat| seat.bell.clone()));
            }
        }
    }
}
