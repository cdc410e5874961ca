//! The threads that there are.

use super::after::After;
use super::inner::{Fate, Inner, Life, Seat, Sitting};
use super::time::GROW_AFTER;
use crate::job::Unstarted;
use crate::ticket::later;

impl<W: 'static> Inner<W> {
    pub(super) fn sit_down(&mut self) -> usize {
        let seat = Seat {
            bell: None,
            state: Sitting::Starting,
            running: None,
            is_woken: false,
            idle_since: 0,
            is_failing: false,
            since: None,
            fate: Fate::Stays,
        };
        self.live += 1;
        self.threads += 1;
        if let Some(free) = self.seats.iter().position(Option::is_none) {
            self.seats[free] = Some(seat);
            return free;
        }
        self.seats.push(Some(seat));
        self.seats.len() - 1
    }

    /// Asks for another thread, if there may be one.
    pub(super) fn want_thread(&mut self, now: u64, after: &mut After<W>) {
        if self.live >= self.settings.most {
            return;
        }
        if self.live == 0 {
            after.start.push(self.sit_down());
        } else {
            after.at(later(now, GROW_AFTER).max(self.grow_after));
        }
    }

    pub(super) fn set_failing(&mut self, index: usize, is_failing: bool) {
        if let Some(seat) = &mut self.seats[index] {
            let is_failing = is_failing && seat.fate != Fate::Stuck; // that one does not count
            let was = std::mem::replace(&mut seat.is_failing, is_failing);
            self.failing = self.failing + usize::from(is_failing) - usize::from(was);
        }
    }

    pub(super) fn give_up(&mut self, index: usize, after: &mut After<W>) {
        self.leave_crew(index);
        self.seats[index] = None;
        self.threads -= 1;
        if self.live > 0 {
            return;
        }
        self.empty_outside(Unstarted::NoWorkers, after);
        self.empty_line(Unstarted::NoWorkers, after);
    }

    pub(super) fn stand_up(&mut self, index: usize, now: u64, after: &mut After<W>) {
        self.leave_crew(index);
        let Some(seat) = self.seats[index].take() else {
            return;
        };
        self.threads -= 1;
        let stayed = now.saturating_sub(seat.since.unwrap_or(now));
        self.totals.thread_nanos = self.totals.thread_nanos.saturating_add(stayed);
        if let Some(running) = seat.running {
            self.totals.ended(running.task.ticket(), None, 0);
        }
        self.refill(after);
    }

    /// Takes a thread out of those that count, as it is about to end: what it still does may take long, and nobody is to wait for it.
    pub(super) fn leave_crew(&mut self, index: usize) {
        self.rise(index);
        self.set_failing(index, false);
        let Some(seat) = &mut self.seats[index] else {
            return;
        };
        if seat.state == Sitting::Idle {
            self.idle -= 1;
        }
        seat.state = Sitting::Ending;
        if matches!(seat.fate, Fate::Stays | Fate::Retired) {
            seat.fate = Fate::Leaving;
            self.live -= 1;
        }
    }

    /// Wakes another one for what a thread that ends was on its way to, and starts others where too few are left.
    pub(super) fn refill(&mut self, after: &mut After<W>) {
        self.wake_for(after);
        let wanted = match self.life {
            Life::Closed { .. } => 0,
            _ if self.queued + self.waiting > 0 => self.settings.least.max(1),
            Life::Open | Life::Draining { .. } => 0,
        };
        while self.live < wanted {
            after.start.push(self.sit_down());
        }
    }

    pub(super) fn resize(&mut self, least: usize, most: usize, after: &mut After<W>) {
        self.settings.least = least;
        self.settings.most = most;
        if self.life != Life::Open {
            return;
        }
        let staying = |inner: &Self| {
            inner
                .seats
                .iter()
                .flatten()
                .filter(|seat| seat.fate == Fate::Stays)
                .count()
        };
        let mut stay = staying(self);
        for seat in self.seats.iter_mut().flatten() {
            if stay < least && seat.fate == Fate::Retired {
                seat.fate = Fate::Stays;
                stay += 1;
            }
        }
        while stay < least {
            after.start.push(self.sit_down());
            stay += 1;
        }
        let surplus = stay.saturating_sub(most);
        let mut order: Vec<usize> = (0..self.seats.len()).collect();
        order.sort_by_key(|&index| {
            self.seats[index]
                .as_ref()
                .is_none_or(|seat| seat.state == Sitting::Busy)
        });
        let retired = order.into_iter().filter(|&index| {
            let seat = self.seats[index].as_ref();
            seat.is_some_and(|seat| seat.fate == Fate::Stays)
        });
        for index in retired.take(surplus).collect::<Vec<_>>() {
            if let Some(seat) = &mut self.seats[index] {
                seat.fate = Fate::Retired;
            }
            if let Some(at) = self.sleepers.iter().position(|&sleeper| sleeper == index) {
                self.sleepers.remove(at);
                self.call(index, after);
            } else {
                self.nudge(index, after);
            }
        }
        self.look_soon(after);
    }

    /// Has somebody look whether another thread is worth while.
    pub(super) fn look_soon(&self, after: &mut After<W>) {
        if self.queued + self.waiting > 0 && self.idle == 0 && self.live < self.settings.most {
            after.at(0);
        }
    }
}
