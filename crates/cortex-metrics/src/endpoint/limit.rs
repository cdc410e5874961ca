use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Gauge;

/// How many scrapes may be in flight, shared by all clones of a service.
#[derive(Clone, Debug)]
pub(super) struct Limit(Arc<Semaphore>);

impl Limit {
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Semaphore::new(max.clamp(1, Semaphore::MAX_PERMITS))))
    }

    /// Admits a scrape, if there is room right now: one that waits would be late for its scraper.
    pub(super) fn admit(&self, in_flight: Option<&Gauge>) -> Option<Permit> {
        let slot = Arc::clone(&self.0).try_acquire_owned().ok()?;
        let in_flight = in_flight.cloned();
        if let Some(gauge) = &in_flight {
            gauge.inc();
        }
        Some(Permit {
            _slot: slot,
            in_flight,
        })
    }
}

/// A scrape in flight, until this is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    _slot: OwnedSemaphorePermit,
    in_flight: Option<Gauge>,
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
