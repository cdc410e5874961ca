use super::inner::Task;
use crate::event::Event;
use crate::job::{Unstarted, drop_quietly};
use crate::stop::Stop;
use crate::sync::Thread;
use crate::ticket::NEVER;
use crate::worker::StopReason;
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
    pub(crate) wake: Vec<Thread>,
    pub(crate) ended: Vec<(Task<W>, Unstarted)>,
    pub(crate) told: Vec<(Task<W>, Stop, Duration)>,
    /// What an observer hears, if there is one, besides what has ended.
    pub(crate) events: Vec<Event>,
    /// Seats whose threads are to be started.
    pub(crate) start: Vec<usize>,
    /// When the hub has to be looked at next, if that is earlier than before.
    pub(crate) alarm: u64,
}

impl<W> After<W> {
    pub(super) const fn new() -> Self {
        Self {
            wake: Vec::new(),
            ended: Vec::new(),
            told: Vec::new(),
            events: Vec::new(),
            start: Vec::new(),
            alarm: NEVER,
        }
    }

    pub(super) fn at(&mut self, time: u64) {
        self.alarm = self.alarm.min(time);
    }

    pub(crate) fn wake(&mut self) {
        for thread in self.wake.drain(..) {
            thread.unpark();
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
    }
}
