use crate::build_error::BuildError;
use crate::sync::{AtomicU64, Ordering};

/// Attempts beyond the first may be a share of all that run.
#[derive(Debug)]
pub(super) struct InFlight {
    /// All attempts in the upper half, those beyond the first in the lower.
    running: AtomicU64,
    max_share: f64,
    floor: u32,
}

const ALL: u64 = 1 << 32;

impl InFlight {
    pub(super) fn new(max_share: f64, floor: u32) -> Result<Self, BuildError> {
        if !(0.0..=1.0).contains(&max_share) {
            return Err(BuildError::new("max_share", max_share.to_string(), "0 to 1"));
        }
        Ok(Self {
            running: AtomicU64::new(0),
            max_share,
            floor,
        })
    }

    #[inline]
    pub(super) fn begin(&self) {
        self.running.fetch_add(ALL, Ordering::AcqRel);
    }

    pub(super) fn try_begin(&self) -> bool {
        let mut running = self.running.load(Ordering::Acquire);
        while self.admits(running) {
            match self.running.compare_exchange_weak(
                running,
                running + ALL + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(other) => running = other,
            }
        }
        false
    }

    #[inline]
    pub(super) fn end(&self, beyond_first: bool) {
        self.running
            .fetch_sub(ALL + u64::from(beyond_first), Ordering::AcqRel);
    }

    pub(super) fn allows(&self) -> bool {
        self.admits(self.running.load(Ordering::Acquire))
    }

    /// Returns how many attempts beyond the first run.
    pub(super) fn beyond_first(&self) -> u32 {
        halves(self.running.load(Ordering::Acquire)).1
    }

    fn admits(&self, running: u64) -> bool {
        let (all, beyond) = halves(running);
        beyond < self.floor || all == 0 || f64::from(beyond) / f64::from(all) <= self.max_share
    }
}

#[expect(clippy::cast_possible_truncation, reason = "that is what halves are")]
const fn halves(running: u64) -> (u32, u32) {
    ((running >> 32) as u32, running as u32)
}
