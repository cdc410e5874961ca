use super::inner::Task;
use crate::bell::Bell;
use crate::event::Event;
use crate::gate::Gate;
use crate::job::{Unstarted, drop_quietly};
use crate::stop::Stop;
use crate::ticket::NEVER;
use crate::worker::StopReason;
use std::sync::Arc;
use std::time::Duration;

/// What a worker does next.
pub(crate) enum Next<W> {
    Run(Task<W>),
    /// Nothing, until it is woken.
    Sleep,
    End(StopReason),
}

/// What became of a task that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    In,
    /// It waits for a place.
    Waits,
    Refused(Unstarted),
}

/// What is to be done once the lock is given back.
pub(crate) struct After<W> {
    /// Whose thread is to be woken, and the others: nearly always it is one, and that takes no memory.
    first: Option<Arc<Bell>>,
    others: Vec<Arc<Bell>>,
    pub(crate) ended: Vec<(Task<W>, Unstarted)>,
    pub(crate) told: Vec<(Task<W>, Stop, Duration)>,
    /// What an observer hears, if there is one, besides what has ended.
    pub(crate) events: Vec<Event>,
    /// Seats whose threads are to be started.
    pub(crate) start: Vec<usize>,
    /// What has ended here is to be handed over before the pool may be said to have ended.
    pub(crate) hands_over: bool,
    /// Other pools wait for a place that they share, and may have it now.
    pub(crate) gate: Option<Gate>,
    /// More is due already than was done.
    pub(crate) is_behind: bool,
    /// When the hub has to be looked at next, if that is earlier than before.
    pub(crate) alarm: u64,
}

impl<W> After<W> {
    pub(super) const fn new() -> Self {
        Self {
            first: None,
            others: Vec::new(),
            ended: Vec::new(),
            told: Vec::new(),
            events: Vec::new(),
            start: Vec::new(),
            hands_over: false,
            gate: None,
            is_behind: false,
            alarm: NEVER,
        }
    }

    pub(super) fn at(&mut self, time: u64) {
        self.alarm = self.alarm.min(time);
    }

    pub(super) fn call(&mut self, bell: Option<Arc<Bell>>) {
        if self.first.is_none() {
            self.first = bell;
        } else {
            self.others.extend(bell);
        }
    }

    pub(crate) fn wake(&mut self) {
        for bell in self.first.take().into_iter().chain(self.others.drain(..)) {
            bell.ring();
        }
    }

    /// Does what does not concern observers, threads and alarms.
    pub(crate) fn tell(&mut self) {
        self.wake();
        for (task, why) in self.ended.drain(..) {
            task.end(why);
            drop_quietly(task);
        }
        for (task, why, ran) in self.told.drain(..) {
            task.release(why, ran);
        }
        if let Some(gate) = self.gate.take() {
            gate.call();
        }
    }
}
