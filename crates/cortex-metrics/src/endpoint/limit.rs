use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::transfer::Transfer;
use crate::Gauge;

/// How many scrapes may be in flight, shared by all clones of a service.
#[derive(Clone, Debug)]
pub(super) struct Limit {
    slots: Arc<Semaphore>,
    transfers: Transfers,
}

/// The answers that are being sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Transfers(Arc<Mutex<Vec<Weak<Transfer>>>>);

impl Transfers {
    pub(super) fn add(&self, transfer: &Arc<Transfer>) {
        let mut all = self.0.lock();
        all.retain(|transfer| transfer.strong_count() > 0);
        all.push(Arc::downgrade(transfer));
    }

    /// Ends those whose readers had time enough: a server that waits for them to read would not ask for more, and so
    /// not find out.
    fn expire(&self) {
        let now = Instant::now();
        let in_time =
            |transfer: &Weak<Transfer>| transfer.upgrade().is_some_and(|transfer| !transfer.expire(now));
        self.0.lock().retain(in_time);
    }
}

impl Limit {
    pub(super) fn new(max: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS))),
            transfers: Transfers::default(),
        }
    }

    /// Admits a scrape, if there is room right now: one that waits would be late for its scraper.
    pub(super) fn admit(&self, in_flight: Option<&Gauge>) -> Option<Permit> {
        let slot = self.slot().or_else(|| {
            self.transfers.expire();
            self.slot()
        })?;
        let in_flight = in_flight.cloned();
        if let Some(gauge) = &in_flight {
            gauge.inc();
        }
        Some(Permit {
            _slot: slot,
            in_flight,
            transfers: self.transfers.clone(),
        })
    }

    fn slot(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }
}

/// A scrape in flight, until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _slot: OwnedSemaphorePermit,
    in_flight: Option<Gauge>,
    transfers: Transfers,
}

impl Permit {
    /// Returns where to tell of the answer that it is for.
    pub(super) fn transfers(&self) -> Transfers {
        self.transfers.clone()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gauge) = &self.in_flight {
            gauge.dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_one_at_least() {
        for max in [0, 1] {
            let limit = Limit::new(max);
            let permit = limit.admit(None);
            assert!(permit.is_some());
            assert!(limit.admit(None).is_none());
            drop(permit);
            assert!(limit.admit(None).is_some());
        }
        assert!(Limit::new(usize::MAX).admit(None).is_some());
    }

    #[test]
    fn the_gauge_follows() {
        let (limit, gauge) = (Limit::new(2), Gauge::default());
        let first = limit.admit(Some(&gauge));
        let second = limit.admit(Some(&gauge));
        assert!(limit.admit(Some(&gauge)).is_none());
        assert_eq!(gauge.get(), 2);
        drop((first, second));
        assert_eq!(gauge.get(), 0);
    }
}
