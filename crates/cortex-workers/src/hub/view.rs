use super::inner::{Fate, Inner, Life, Sitting, is_alive};
use crate::totals::Totals;

/// What the hub shows, under its lock.
pub(crate) struct View<'a, W>(pub(super) &'a Inner<W>);

impl<W> View<'_, W> {
    pub(crate) const fn totals(&self) -> &Totals {
        &self.0.totals
    }

    pub(crate) fn queued(&self) -> [usize; 3] {
        let mut queued = [0; 3];
        for task in self.0.line.iter().filter(|task| is_alive(task)) {
            queued[task.ticket().priority.index()] += 1;
        }
        queued
    }

    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting
    }

    pub(crate) fn capacity(&self) -> usize {
        self.0.settings.capacity
    }

    pub(crate) fn oldest(&self) -> Option<u64> {
        self.0.line.oldest(is_alive)
    }

    pub(crate) fn threads(&self) -> (usize, usize, usize, usize, usize) {
        let inner = self.0;
        let busy = inner.seats.iter().flatten();
        let busy = busy
            .filter(|seat| seat.state == Sitting::Busy && seat.fate != Fate::Stuck)
            .count();
        (
            inner.settings.least,
            inner.settings.most,
            inner.live,
            busy,
            inner.stuck,
        )
    }

    pub(crate) fn idle(&self) -> usize {
        self.0.idle
    }

    pub(crate) fn life(&self) -> Life {
        self.0.life
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.0.is_paused
    }
}
