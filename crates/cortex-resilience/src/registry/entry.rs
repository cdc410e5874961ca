use crate::shared::is_shared;
use std::sync::{Arc, OnceLock};

/// A policy of a registry, or the place where it will be.
#[derive(Debug)]
pub(super) struct Entry<P> {
    /// It is made outside of the lock, once. Who makes it or waits for it has a clone of the pointer.
    pub(super) cell: Arc<OnceLock<P>>,
    /// When it was asked for last.
    pub(super) last: u64,
}

impl<P> Entry<P> {
    pub(super) fn new(now: u64) -> Self {
        Self {
            cell: Arc::default(),
            last: now,
        }
    }

    /// Says whether it may be let go; the caller holds the lock.
    pub(super) fn has_expired(&self, now: u64, idle: u64, keep: impl FnOnce(&P) -> bool) -> bool {
        // In this order: whoever makes it does so before dropping the pointer.
        let is_waited_for = is_shared(&self.cell);
        match self.cell.get() {
            Some(policy) => self.is_idle(now, idle) && !keep(policy),
            None => !is_waited_for, // whoever was to make it, panicked
        }
    }

    pub(super) const fn is_idle(&self, now: u64, idle: u64) -> bool {
        now.saturating_sub(self.last) >= idle
    }
}
