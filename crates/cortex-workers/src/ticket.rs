use crate::adaptive::Adaptive;
use crate::priority::Priority;
use crate::span::TaskSpan;
use crate::stop::Stop;
use crate::sync::{AtomicU8, Ordering};
use cortex_core::Context;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize};
use std::time::Duration;

/// No such time.
pub(crate) const NEVER: u64 = u64::MAX;

/// Stands where otherwise the reason is to stop: there is an answer, and it is too late to tell the task anything.
const ANSWERED: u8 = u8::MAX;

/// What a pool knows of a task, whatever is to be done.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// Changed only by whoever holds the lock of the hub, until the task runs.
    phase: AtomicU8,
    /// Where it stands among those that wait; changed as the phase, and so is the next.
    place: AtomicUsize,
    /// It has one of the places that pools share.
    has_share: AtomicBool,
    /// Why the task is to stop, or that it has an answer; 0 while neither is.
    stop: AtomicU8,
    pub(crate) priority: Priority,
    /// Whose it is, where submitters get their turns.
    pub(crate) submitter: Option<u64>,
    pub(crate) context: Context,
    /// Nanoseconds of the pool's clock, as the other times.
    pub(crate) submitted: u64,
    pub(crate) deadline: u64,
    /// Until when it may wait for a place in the queue.
    pub(crate) patience: u64,
    pub(crate) run_timeout: Option<Duration>,
    /// It is in no seat, so nobody else looks whether it is to stop.
    pub(crate) looks_itself: bool,
    /// It is accepted also while all workers wait to make their states again.
    pub(crate) outlasts: bool,
    /// It came from a source, whose receipt says what became of it.
    pub(crate) is_fed: bool,
    pub(crate) span: TaskSpan,
    /// Counts those that are taken, for whoever waits to offer more.
    pub(crate) turnstile: Option<Arc<Turnstile>>,
    /// How long it runs is to be noted there.
    pub(crate) site: Option<&'static Adaptive>,
}

/// Counts tasks that are taken down from what it was set to, and says when it comes to nothing.
#[derive(Debug, Default)]
pub(crate) struct Turnstile(AtomicIsize);

impl Turnstile {
    /// Says once that so many were taken.
    pub(crate) fn set(&self, tasks: usize) {
        self.0
            .store(isize::try_from(tasks).unwrap_or(isize::MAX), Ordering::SeqCst);
    }

    /// Says whether it will say so.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst) > 0
    }

    /// Takes note of one; says whether it was the last of those.
    fn pass(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) == 1
    }
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits for a place in the queue, or was not offered yet.
    Outside,
    /// It is in the queue.
    Queued,
    /// It was taken, and runs or has run.
    Taken,
    /// It was ended before it was taken; in the queue a place may still stand for it.
    Ended,
}

impl Ticket {
    pub(crate) fn new(priority: Priority, context: Context, submitted: u64) -> Self {
        Self {
            phase: AtomicU8::new(Phase::Outside as u8),
            place: AtomicUsize::new(usize::MAX),
            has_share: AtomicBool::new(false),
            stop: AtomicU8::new(0),
            priority,
            submitter: None,
            context,
            submitted,
            deadline: NEVER,
            patience: NEVER,
            run_timeout: None,
            looks_itself: false,
            outlasts: false,
            is_fed: false,
            span: TaskSpan::default(),
            turnstile: None,
            site: None,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Outside,
            1 => Phase::Queued,
            2 => Phase::Taken,
            _ => Phase::Ended,
        }
    }

    /// Goes on; the caller holds the lock of the hub.
    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Returns where it stands; the caller holds the lock of the hub, as for the next three.
    pub(crate) fn place(&self) -> usize {
        self.place.load(Ordering::Relaxed)
    }

    pub(crate) fn set_place(&self, place: usize) {
        self.place.store(place, Ordering::Relaxed);
    }

    pub(crate) fn set_share(&self, has_share: bool) {
        self.has_share.store(has_share, Ordering::Relaxed);
    }

    /// Says whether it has one of the places that pools share; it has none any more then.
    pub(crate) fn take_share(&self) -> bool {
        let has_share = self.has_share.load(Ordering::Relaxed);
        self.set_share(false);
        has_share
    }

    /// Returns until when it may wait, as far as it is.
    pub(crate) fn limit(&self) -> u64 {
        match self.phase() {
            Phase::Outside => self.deadline.min(self.patience),
            Phase::Queued | Phase::Taken | Phase::Ended => self.deadline,
        }
    }

    pub(crate) fn stop(&self) -> Option<Stop> {
        Stop::of(self.stop.load(Ordering::Relaxed))
    }

    /// Tells the task to stop. The first reason stays; says whether this is it.
    pub(crate) fn tell(&self, why: Stop) -> bool {
        self.stop
            .compare_exchange(0, why.code(), Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// Takes note that there is an answer, so that it can't be told to stop any more, and counts as answered whatever happens until
    /// it is counted; says why the caller is not to have it, if the task was told to stop before.
    pub(crate) fn answer(&self) -> Option<Stop> {
        self.stop
            .compare_exchange(0, ANSWERED, Ordering::Relaxed, Ordering::Relaxed)
            .map_or_else(Stop::of, |_| None)
    }

    /// Takes note that it was taken, where that is counted; says whether the caller is to hear of it.
    pub(crate) fn pass(&self) -> bool {
        self.turnstile.as_ref().is_some_and(|turnstile| turnstile.pass())
    }

    /// Returns when a task that was taken at this time is to stop, and why; [`NEVER`] if it may run for ever.
    pub(crate) fn due(&self, taken: u64) -> (u64, Stop) {
        let timeout = self.run_timeout.map_or(NEVER, |timeout| later(taken, timeout));
        if timeout < self.deadline {
            (timeout, Stop::RunTimeout)
        } else {
            (self.deadline, Stop::Deadline)
        }
    }
}

pub(crate) fn later(time: u64, by: Duration) -> u64 {
    time.saturating_add(nanos(by))
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER)
}
