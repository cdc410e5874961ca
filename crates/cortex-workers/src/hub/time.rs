//! What is due at a time.

use super::after::After;
use super::inner::{Fate, Inner, Life, is_alive};
use crate::error::{Discard, Stage};
use crate::event::Event;
use crate::job::Unstarted;
use crate::stop::Stop;
use crate::ticket::{NEVER, Phase, later};
use std::sync::Arc;
use std::time::Duration;

/// A task that has waited for so long with no worker idle is worth another thread.
pub(super) const GROW_AFTER: Duration = Duration::from_millis(10);
/// But not more often than so.
pub(super) const GROW_EVERY: Duration = Duration::from_millis(50);

/// How many nanoseconds pass for each task that waits between two looks at all of them.
const REST: u64 = 500;

impl<W: 'static> Inner<W> {
    pub(super) fn pulse(&mut self, now: u64, after: &mut After<W>) {
        self.expire_waiting(now, after);
        self.stop_running(now, after);
        self.replace_stuck(now, after);
        self.grow(now, after);
        self.shrink(now, after);
        if let Life::Draining { until } = self.life {
            if until <= now {
                self.shut(now, after);
            } else {
                after.at(until);
            }
        }
        if let Life::Closed { until } = self.life
            && until > now
        {
            after.at(until);
        }
    }

    /// Ends what waits and is too late.
    pub(super) fn expire_waiting(&mut self, now: u64, after: &mut After<W>) {
        if now < self.next_limit {
            after.at(self.next_limit);
            return;
        }
        let mut late = Vec::new();
        let mut next = NEVER;
        let all = self
            .line
            .iter()
            .chain(&self.outside)
            .filter(|task| is_alive(task));
        for task in all {
            let ticket = task.ticket();
            let outside = ticket.phase() == Phase::Outside;
            let limit = if outside {
                ticket.deadline.min(ticket.patience)
            } else {
                ticket.deadline
            };
            if limit > now {
                next = next.min(limit);
            } else if ticket.deadline <= now {
                let stage = if outside { Stage::Admission } else { Stage::Queued };
                late.push((Arc::clone(task), Unstarted::Deadline(stage)));
            } else {
                late.push((Arc::clone(task), Unstarted::Full));
            }
        }
        // A look takes time for each that waits: not more than a tenth of all time is spent on it.
        let spacing = REST * u64::try_from(self.queued + self.waiting).unwrap_or(NEVER / REST);
        self.next_limit = next.max(now.saturating_add(spacing));
        after.at(if next == NEVER { NEVER } else { self.next_limit });
        if next == NEVER {
            self.next_limit = NEVER;
        }
        for (task, why) in late {
            self.remove(task.ticket());
            if why == Unstarted::Full {
                self.totals.rejected += 1;
            } else {
                self.totals.expired += 1;
            }
            after.ended.push((task, why));
        }
        self.admit(after);
        self.sweep();
    }

    /// Tells what runs for too long to stop, and releases the callers.
    pub(super) fn stop_running(&mut self, now: u64, after: &mut After<W>) {
        for running in self
            .seats
            .iter_mut()
            .flatten()
            .filter_map(|seat| seat.running.as_mut())
        {
            let ticket = running.task.ticket();
            let (due, why) = ticket.due(running.since);
            if due <= now && ticket.tell(why) {
                let ran = Duration::from_nanos(now.saturating_sub(running.since));
                after.told.push((Arc::clone(&running.task), why, ran));
            }
            if ticket.stop().is_none() {
                after.at(due);
            } else if running.told.is_none() {
                running.told = Some(now);
            }
        }
    }

    /// Gives up on workers that do not stop, and has others take their places.
    pub(super) fn replace_stuck(&mut self, now: u64, after: &mut After<W>) {
        let Some(patience) = self.settings.stuck_after else {
            return;
        };
        for index in 0..self.seats.len() {
            let Some(seat) = &self.seats[index] else { continue };
            let told = seat.running.as_ref().and_then(|running| running.told);
            let Some(told) = told.filter(|_| seat.fate != Fate::Stuck) else {
                continue;
            };
            let limit = later(told, patience);
            if limit > now {
                after.at(limit);
                continue;
            }
            if self.stuck >= self.settings.most_stuck() {
                continue;
            }
            if let Some(seat) = &mut self.seats[index] {
                seat.fate = Fate::Stuck;
                if self.settings.is_observed {
                    let since = seat.running.as_ref().map_or(now, |running| running.since);
                    after.events.push(Event::WorkerStuck {
                        thread: index,
                        ran: Duration::from_nanos(now.saturating_sub(since)),
                        is_replaced: self.life == Life::Open,
                    });
                }
            }
            self.stuck += 1;
            self.live -= 1;
            self.totals.replaced += 1;
            if self.life == Life::Open || self.queued > 0 && !matches!(self.life, Life::Closed { .. }) {
                let seat = self.sit_down();
                after.start.push(seat);
            }
        }
    }

    /// Adds a thread if work waits that no worker comes for.
    pub(super) fn grow(&mut self, now: u64, after: &mut After<W>) {
        if self.idle > 0 || self.is_paused || self.live >= self.settings.most || self.life != Life::Open {
            return;
        }
        let outside = self.outside.iter().find(|task| is_alive(task));
        let oldest = outside.map(|task| task.ticket().submitted);
        let Some(oldest) = self.line.oldest(is_alive).into_iter().chain(oldest).min() else {
            return;
        };
        let when = later(oldest, GROW_AFTER).max(self.grow_after);
        if when > now {
            after.at(when);
            return;
        }
        self.grow_after = later(now, GROW_EVERY);
        let seat = self.sit_down();
        after.start.push(seat);
        if self.live < self.settings.most {
            after.at(self.grow_after);
        }
    }

    /// Wakes those that are too many and have slept for long, the coldest first: they end.
    pub(super) fn shrink(&mut self, now: u64, after: &mut After<W>) {
        let mut surplus = self.live.saturating_sub(self.settings.least);
        let mut at = 0;
        while surplus > 0 && at < self.sleepers.len() {
            let end = self.end_of_rest(self.sleepers[at]);
            if end <= now {
                let index = self.sleepers.remove(at);
                self.call(index, after);
                surplus -= 1;
            } else {
                after.at(end);
                at += 1;
            }
        }
    }

    /// Returns until when a worker without work stays that is one too many.
    pub(super) fn end_of_rest(&self, index: usize) -> u64 {
        let since = self.seats[index].as_ref().map_or(NEVER, |seat| seat.idle_since);
        self.settings.idle.map_or(NEVER, |idle| later(since, idle))
    }

    pub(super) fn drain(&mut self, until: u64, after: &mut After<W>) {
        let until = match self.life {
            Life::Open => until,
            Life::Draining { until: before } => before.min(until),
            Life::Closed { .. } => return,
        };
        self.life = Life::Draining { until };
        for task in std::mem::take(&mut self.outside) {
            if is_alive(&task) {
                self.waiting -= 1;
                task.ticket().set_phase(Phase::Ended);
                self.totals.rejected += 1;
                after.ended.push((task, Unstarted::Closed));
            } else {
                self.dead -= 1;
            }
        }
        self.is_paused = false;
        self.hand_over(after);
        self.wake_all(after);
        after.at(until);
    }

    /// Discards what is queued, and tells what runs to stop.
    pub(super) fn shut(&mut self, now: u64, after: &mut After<W>) {
        let until = later(now, self.settings.grace);
        self.life = Life::Closed { until };
        for task in self.line.drain() {
            if is_alive(&task) {
                self.queued -= 1;
                task.ticket().set_phase(Phase::Ended);
                self.totals.discarded += 1;
                after.ended.push((task, Unstarted::Discarded(Discard::Shutdown)));
            } else {
                self.dead -= 1;
            }
        }
        for running in self
            .seats
            .iter_mut()
            .flatten()
            .filter_map(|seat| seat.running.as_mut())
        {
            if running.task.ticket().tell(Stop::Shutdown) {
                let ran = Duration::from_nanos(now.saturating_sub(running.since));
                after.told.push((Arc::clone(&running.task), Stop::Shutdown, ran));
            }
        }
        self.hand_over(after);
        self.wake_all(after);
        after.at(until);
    }

    /// Has the end of the pool wait until it was handed over what is left.
    const fn hand_over(&mut self, after: &mut After<W>) {
        if !after.ended.is_empty() && !after.hands_over {
            after.hands_over = true;
            self.handing += 1;
        }
    }
}
