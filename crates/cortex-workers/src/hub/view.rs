use super::inner::{Fate, Inner, Life, Sitting};
use crate::times::TaskTimes;
use crate::totals::Totals;
use std::time::Duration;

/// What the hub shows, under its lock.
pub(crate) struct View<'a, W>(pub(super) &'a mut Inner<W>);

impl<W> View<'_, W> {
    pub(crate) fn totals(&self) -> &Totals {
        &self.0.totals
    }

    pub(crate) fn queued(&self) -> [usize; 3] {
        self.0.line.counts()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.0.waiting
    }

    pub(crate) fn capacity(&self) -> usize {
        self.0.settings.capacity
    }

    pub(crate) fn oldest(&self) -> Option<u64> {
        self.0.line.oldest()
    }

    pub(crate) fn threads(&self) -> (usize, usize, usize, usize, usize) {
        let inner = &self.0;
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

    /// Returns how many wait to make their state again.
    pub(crate) fn failing(&self) -> usize {
        self.0.failing
    }

    pub(crate) fn most_stuck(&self) -> usize {
        self.0.settings.most_stuck()
    }

    pub(crate) fn times(&self) -> &TaskTimes {
        &self.0.times
    }

    /// Returns how long threads were busy, and how long they were there, up to now. Neither ever falls, though another thread may
    /// have read the clock earlier and come later.
    pub(crate) fn spent(&mut self, now: u64) -> (u64, u64) {
        let inner = &mut *self.0;
        let (mut busy, mut there) = (inner.totals.busy_nanos, inner.totals.thread_nanos);
        for seat in inner.seats.iter().flatten() {
            let since = |since: Option<u64>| now.saturating_sub(since.unwrap_or(now));
            busy = busy.saturating_add(since(seat.running.as_ref().map(|running| running.since)));
            there = there.saturating_add(since(seat.since));
        }
        let shown = (busy.max(inner.shown.0), there.max(inner.shown.1));
        inner.shown = shown;
        shown
    }

    /// Returns which threads have not ended, and how long those have run their tasks that have one.
    pub(crate) fn left(&self, now: u64) -> Vec<(usize, Option<Duration>)> {
        let seats = self.0.seats.iter().enumerate();
        let there = seats.filter_map(|(index, seat)| Some((index, seat.as_ref()?)));
        let ran = |since: u64| Duration::from_nanos(now.saturating_sub(since));
        there
            .map(|(index, seat)| (index, seat.running.as_ref().map(|running| ran(running.since))))
            .collect()
    }

    /// Returns how many wait that may not for ever.
    #[cfg(all(test, not(cortex_loom)))]
    pub(crate) fn limits(&self) -> usize {
        self.0.limits.len()
    }

    pub(crate) fn life(&self) -> Life {
        self.0.life
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.0.is_paused
    }
}
