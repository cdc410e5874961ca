use crate::sync::{AtomicU64, Ordering};
use crate::ticket::nanos;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

type Tell = Box<dyn Fn(usize, usize) + Send + Sync>;

/// Tells of progress, now and then.
pub(super) struct Progress {
    tell: Tell,
    every: u64,
    /// When it may be told next.
    next: AtomicU64,
    /// Somebody tells.
    is_told: AtomicBool,
    last: AtomicUsize,
}

impl Progress {
    pub(super) fn new(every: Duration, tell: Tell) -> Self {
        Self {
            tell,
            every: nanos(every),
            next: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
            last: AtomicUsize::new(0),
        }
    }

    /// Tells of it, unless somebody else does, or did a moment ago.
    pub(super) fn now_and_then(&self, now: u64, done: &AtomicUsize, total: usize) {
        if now < self.next.load(Ordering::Relaxed) || self.is_told.swap(true, Ordering::Acquire) {
            return;
        }
        self.next.store(now.saturating_add(self.every), Ordering::Relaxed);
        // Read by whoever tells, so that no smaller number follows.
        let done = done.load(Ordering::Relaxed);
        if self.last.load(Ordering::Relaxed) < done {
            self.tell(done, total);
        }
        self.is_told.store(false, Ordering::Release);
    }

    /// Tells that all is done, once.
    pub(super) fn end(&self, total: usize) {
        if self.last.load(Ordering::Relaxed) < total {
            self.tell(total, total);
        }
    }

    fn tell(&self, done: usize, total: usize) {
        self.last.store(done, Ordering::Relaxed);
        (self.tell)(done, total);
    }
}
