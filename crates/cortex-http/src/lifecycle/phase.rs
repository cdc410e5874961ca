use std::sync::atomic::{AtomicU8, Ordering};

/// Where in its life the service is; it only moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    Running,
    Draining,
    Closing,
    Cut,
    Stopping,
    Flushing,
}

/// A [`Phase`] that every request reads with one relaxed load.
#[derive(Debug)]
pub(crate) struct PhaseCell(AtomicU8);

impl PhaseCell {
    pub(crate) const fn new() -> Self {
        Self(AtomicU8::new(Phase::Running as u8))
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::Relaxed);
    }

    pub(crate) fn reached(&self, phase: Phase) -> bool {
        self.0.load(Ordering::Relaxed) >= phase as u8
    }

    pub(crate) fn as_f64(&self) -> f64 {
        f64::from(self.0.load(Ordering::Relaxed))
    }
}
