use super::after::{After, Next, Offered};
use super::inner::{Inner, Life, Task};
use super::view::View;
use crate::bell::Bell;
use crate::error::Stage;
use crate::event::Outcome;
use crate::gate::Share;
use crate::job::{Ran, Unstarted};
use crate::overflow::Overflow;
use crate::settings::Settings;
use crate::sync::{Mutex, lock};
use crate::ticket::{NEVER, Phase, Ticket, later};
use crate::totals::Totals;
use crate::worker::StopReason;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where tasks and workers meet: what waits, who sleeps, and who works at what.
///
/// One short lock: whoever sleeps has put itself on the list under the lock under which it found nothing to do, so no wake-up is
/// lost. Whoever submits wakes at most one sleeper, and only if none is on its way; who comes and sees more work wakes the next. All
/// that is not ours (wakers, destructors) runs outside of the lock.
pub(crate) struct Hub<W> {
    inner: Mutex<Inner<W>>,
    /// Tasks may begin; changed under the lock.
    is_open: AtomicBool,
}

impl<W: 'static> Hub<W> {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            inner: Mutex::new(Inner::new(settings)),
            is_open: AtomicBool::new(true),
        }
    }

    /// Offers a task. `waits` says whether it may wait for a place.
    pub(crate) fn offer(&self, task: Task<W>, overflow: Overflow, waits: bool) -> (Offered, After<W>) {
        let mut after = After::new();
        let mut inner = lock(&self.inner);
        let offered = inner.offer(task, overflow, waits, &mut after);
        inner.totals.offered(offered);
        drop(inner);
        (offered, after)
    }

    /// Offers a task that runs where it is if there is no place for it: then it counts once it has.
    pub(crate) fn offer_or_run(&self, task: Task<W>) -> (Offered, After<W>) {
        let mut after = After::new();
        let mut inner = lock(&self.inner);
        let offered = inner.offer(task, Overflow::CallerRuns, false, &mut after);
        if offered != Offered::Refused(Unstarted::Full) {
            inner.totals.offered(offered);
        }
        drop(inner);
        (offered, after)
    }

    /// Takes back a task that was not taken; says how far it was, if that was in time.
    pub(crate) fn withdraw(&self, task: &Task<W>) -> (Option<Stage>, After<W>) {
        let mut after = After::new();
        let mut inner = lock(&self.inner);
        let stage = match task.ticket().phase() {
            Phase::Queued => Stage::Queued,
            _ => Stage::Admission,
        };
        let withdrawn = inner.remove(task.ticket(), &mut after).is_some();
        if withdrawn {
            inner.totals.cancelled += 1;
            inner.admit(&mut after);
        }
        drop(inner);
        (withdrawn.then_some(stage), after)
    }

    /// Takes note that a running task is told to stop; says when to look whether it has.
    pub(crate) fn told(&self, ticket: *const Ticket, now: u64) -> u64 {
        let mut inner = lock(&self.inner);
        let Some(patience) = inner.settings.stuck_after else {
            return NEVER;
        };
        for running in inner
            .seats
            .iter_mut()
            .flatten()
            .filter_map(|seat| seat.running.as_mut())
        {
            if std::ptr::eq(running.task.ticket(), ticket) {
                running.told.get_or_insert(now);
                return later(now, patience);
            }
        }
        NEVER
    }

    /// Says what a worker does next that has done this.
    pub(crate) fn next(&self, seat: usize, now: u64, ran: Option<Ran>) -> (Next<W>, After<W>) {
        let mut after = After::new();
        let mut inner = lock(&self.inner);
        let next = inner.next(seat, now, ran, &mut after);
        drop(inner);
        (next, after)
    }

    /// Looks what is due at this time; returns when to look again.
    pub(crate) fn pulse(&self, now: u64) -> After<W> {
        let mut after = After::new();
        lock(&self.inner).pulse(now, &mut after);
        after
    }

    /// Reserves seats for threads that are to be started.
    pub(crate) fn reserve(&self, count: usize) -> Vec<usize> {
        let mut inner = lock(&self.inner);
        (0..count).map(|_| inner.sit_down()).collect()
    }

    /// Takes note that the thread of a seat could not be started. If there is none at all, nobody comes for what waits.
    pub(crate) fn give_up(&self, seat: usize) -> After<W> {
        let mut after = After::new();
        let mut inner = lock(&self.inner);
        inner.give_up(seat, &mut after);
        drop(inner);
        after
    }

    /// Takes note of a task that ran on another thread.
    pub(crate) fn ran_elsewhere(&self, ticket: &Ticket, ran: Ran, took: u64) -> Outcome {
        let mut inner = lock(&self.inner);
        inner.totals.submitted += 1;
        inner.totals.inline += 1;
        inner.times.add(ticket.priority, 0, took);
        inner.totals.ended(ticket, Some(ran), 0)
    }

    /// Takes note of a task that was not offered, as it came too late, or was cancelled before.
    pub(crate) fn refused(&self, is_cancelled: bool) {
        let mut inner = lock(&self.inner);
        inner.totals.submitted += 1;
        inner.totals.cancelled += u64::from(is_cancelled);
        inner.totals.expired += u64::from(!is_cancelled);
    }

    /// Takes note of the thread that has a seat.
    pub(crate) fn begin(&self, seat: usize, bell: &Arc<Bell>) {
        if let Some(seat) = &mut lock(&self.inner).seats[seat] {
            seat.bell = Some(Arc::clone(bell));
        }
    }

    /// Takes note that the state of a worker is gone, or could not be made, and that it will try again after a while.
    pub(crate) fn fail(&self, seat: usize, now: u64, ran: Option<Ran>) -> After<W> {
        let mut after = After::new();
        let mut inner = lock(&self.inner);
        inner.settle(seat, now, ran, &mut after);
        inner.appear(seat, now);
        inner.set_failing(seat, true);
        drop(inner);
        after
    }

    /// Takes note that the state of a worker was made; whether it had one before. From now on it has nothing to do.
    pub(crate) fn made(&self, seat: usize, now: u64, again: bool) {
        let mut inner = lock(&self.inner);
        inner.set_failing(seat, false);
        inner.appear(seat, now);
        inner.arrive(seat, now);
        inner.totals.respawns += u64::from(again);
    }

    /// Says whether a worker that waits to make its state is to end instead.
    pub(crate) fn is_over(&self, seat: usize) -> Option<StopReason> {
        lock(&self.inner).is_over(seat)
    }

    /// Takes note that a thread ends; says whether it was the last one.
    pub(crate) fn leave(&self, seat: usize, now: u64) -> (bool, After<W>) {
        let mut after = After::new();
        let mut inner = lock(&self.inner);
        inner.stand_up(seat, now, &mut after);
        let is_last = inner.threads == 0 && inner.handing == 0;
        drop(inner);
        (is_last, after)
    }

    /// Begins to end the pool; returns what had become of all tasks until then.
    pub(crate) fn close(&self, now: u64, within: Duration) -> (Totals, After<W>) {
        let mut after = After::new();
        let mut inner = lock(&self.inner);
        let before = inner.totals.clone();
        self.is_open.store(false, Ordering::Relaxed);
        inner.drain(later(now, within), &mut after);
        inner.pulse(now, &mut after);
        drop(inner);
        if after.is_behind {
            after.at(now);
        }
        (before, after)
    }

    pub(crate) fn pause(&self, is_paused: bool) -> After<W> {
        let mut after = After::new();
        let mut inner = lock(&self.inner);
        // Whoever ends the pool wants what is queued done.
        inner.is_paused = is_paused && inner.life == Life::Open;
        let is_open = !inner.is_paused && inner.life == Life::Open;
        self.is_open.store(is_open, Ordering::Relaxed);
        if !inner.is_paused {
            inner.admit(&mut after);
            inner.wake_for(&mut after);
            inner.look_soon(&mut after);
        }
        drop(inner);
        after
    }

    /// Changes how many threads there are to be.
    pub(crate) fn resize(&self, least: usize, most: usize) -> After<W> {
        let mut after = After::new();
        let mut inner = lock(&self.inner);
        inner.resize(least, most, &mut after);
        drop(inner);
        after
    }

    /// Returns what became of all tasks so far.
    pub(crate) fn totals(&self) -> Totals {
        lock(&self.inner).totals.clone()
    }

    /// Returns how many workers have nothing to do, and would take something.
    pub(crate) fn idle(&self) -> usize {
        let inner = lock(&self.inner);
        if inner.is_paused { 0 } else { inner.idle }
    }

    /// Says whether tasks may begin: it is neither paused nor closed. One load.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Relaxed)
    }

    /// Takes note that what the end of the pool has left was handed over.
    pub(crate) fn handed_over(&self) {
        lock(&self.inner).handing -= 1;
    }

    /// Says whether somebody hands over what is left.
    pub(crate) fn is_handing(&self) -> bool {
        lock(&self.inner).handing > 0
    }

    /// Returns whether no thread does anything for the pool any more.
    pub(crate) fn is_deserted(&self) -> bool {
        let inner = lock(&self.inner);
        inner.threads == 0 && inner.handing == 0
    }

    /// Returns how many threads have not ended.
    pub(crate) fn there(&self) -> usize {
        lock(&self.inner).threads
    }

    /// Returns whether it accepts tasks, or until when it ends.
    pub(crate) fn life(&self) -> Life {
        lock(&self.inner).life
    }

    /// Has it share places with other pools.
    pub(crate) fn join_gate(&self, share: Share) {
        lock(&self.inner).share = Some(share);
    }

    /// Takes back what it has of places that pools share; dropped without the lock.
    pub(crate) fn leave_gate(&self) -> Option<Share> {
        lock(&self.inner).share.take()
    }

    /// Lets those in that wait for a place, as far as there are places, now that it has its turn at those that pools share.
    pub(crate) fn admit(&self) -> After<W> {
        let mut after = After::new();
        let mut inner = lock(&self.inner);
        inner.set_turn(true);
        inner.admit(&mut after);
        inner.set_turn(false);
        drop(inner);
        after
    }

    /// Looks at all of it at once.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut View<'_, W>) -> T) -> T {
        let mut inner = lock(&self.inner);
        look(&mut View(&mut inner))
    }
}
