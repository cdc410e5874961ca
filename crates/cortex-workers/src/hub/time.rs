//! What is due at a time.

use super::after::After;
use super::inner::{Fate, Inner, Life, Task};
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

/// So many tasks that are too late are ended in one go: some ten microseconds.
pub(super) const MOST_LATE: usize = 128;

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

    /// Ends what waits and is too late: so many at a time that nobody waits long for the lock.
    pub(super) fn expire_waiting(&mut self, now: u64, after: &mut After<W>) {
        let mut left = MOST_LATE;
        while let Some(&(limit, list, place)) = self.limits.first() {
            if limit > now {
                after.at(limit);
                break;
            }
            if left == 0 {
                after.is_behind = true;
                break;
            }
            left -= 1;
            let task = match list {
                Some(priority) => self.line.get(priority, place),
                None => self.outside.get(place),
            };
            let Some(task) = task.map(Arc::clone) else {
                unreachable!("what has a limit waits");
            };
            let ticket = task.ticket();
            let why = if ticket.deadline <= now {
                self.totals.expired += 1;
                let stage = list.map_or(Stage::Admission, |_| Stage::Queued);
                Unstarted::Deadline(stage)
            } else {
                self.totals.rejected += 1;
                Unstarted::Full
            };
            drop(self.remove(ticket, after)); // it is not the last one
            after.ended.push((task, why));
        }
        self.hand_over(after);
        self.admit(after);
    }

    /// Ends all that wait for a place.
    pub(super) fn empty_outside(&mut self, why: Unstarted, after: &mut After<W>) {
        while let Some(task) = self.outside.pop() {
            self.leave_outside(task.ticket());
            self.end_waiting(task, why, after);
        }
    }

    /// Ends all that is queued.
    pub(super) fn empty_line(&mut self, why: Unstarted, after: &mut After<W>) {
        while let Some(task) = self.line.pop_any() {
            self.leave_line(task.ticket(), after);
            self.end_waiting(task, why, after);
        }
    }

    fn end_waiting(&mut self, task: Task<W>, why: Unstarted, after: &mut After<W>) {
        task.ticket().set_phase(Phase::Ended);
        if let Unstarted::Discarded(_) = why {
            self.totals.discarded += 1;
        } else {
            self.totals.rejected += 1;
        }
        after.ended.push((task, why));
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
            let is_due = due <= now;
            if is_due && ticket.tell(why) {
                let ran = Duration::from_nanos(now.saturating_sub(running.since));
                after.told.push((Arc::clone(&running.task), why, ran));
            }
            if is_due || ticket.stop().is_some() {
                // Also where it has answered: who does not come back after that is stuck as well.
                running.told.get_or_insert(now);
            } else {
                after.at(due);
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
        let oldest = [self.line.oldest(), self.outside.oldest()];
        let Some(oldest) = oldest.into_iter().flatten().min() else {
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
        self.empty_outside(Unstarted::Closed, after);
        self.is_paused = false;
        self.hand_over(after);
        self.wake_all(after);
        after.at(until);
    }

    /// Discards what is queued, and tells what runs to stop.
    pub(super) fn shut(&mut self, now: u64, after: &mut After<W>) {
        let until = later(now, self.settings.grace);
        self.life = Life::Closed { until };
        self.empty_line(Unstarted::Discarded(Discard::Shutdown), after);
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

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;
    use crate::{Closures, Pool};
    use cortex_core::{Clock, Deadline};
    use cortex_testkit::ManualClock;

    #[test]
    fn what_is_too_late_is_ended_in_bounded_pieces() {
        let clock = ManualClock::new();
        let pool = Pool::<Closures>::builder("late")
            .threads(1)
            .queue(1000)
            .clock(clock.clone());
        let pool = pool.build_blocking().unwrap();
        pool.pause();
        let deadline = Deadline::after(clock.now(), Duration::from_secs(1));
        for _ in 0..MOST_LATE + 5 {
            pool.run(|_, _| ()).deadline(deadline).detach().unwrap();
        }
        pool.run(|_, _| ()).detach().unwrap();
        clock.advance(Duration::from_secs(1));
        let hub = &pool.shared().hub;
        for (ended, is_behind) in [(MOST_LATE, true), (5, false), (0, false)] {
            let mut after = hub.pulse(clock.nanos());
            assert_eq!((after.ended.len(), after.is_behind), (ended, is_behind));
            after.tell();
        }
        assert_eq!(pool.snapshot().queue.queued, [0, 1, 0]);
        assert!(
            hub.look(|hub| hub.limits()) == 0,
            "nothing is kept of those that are gone"
        );
        pool.resume();
    }
}
