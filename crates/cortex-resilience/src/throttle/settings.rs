use crate::build_error::BuildError;
use crate::sync::{AtomicU64, Ordering};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) success_threshold: f64,
    pub(super) max_rate: f64,
    pub(super) min_calls: u64,
    pub(super) period: Duration,
}

impl Settings {
    pub(super) fn check(&self) -> Result<(), BuildError> {
        for (field, share) in [
            ("success_threshold", self.success_threshold),
            ("max_rate", self.max_rate),
        ] {
            let good = share > 0.0 && share <= 1.0; // false for NaN
            if !good {
                return Err(BuildError::new(field, share.to_string(), "above 0 and at most 1"));
            }
        }
        if self.min_calls == 0 {
            return Err(BuildError::new("min_calls", "0", "at least 1"));
        }
        let period = self.period;
        if !(Duration::from_secs(1)..=Duration::from_hours(24)).contains(&period) {
            return Err(BuildError::new("period", format!("{period:?}"), "1 s to 24 h"));
        }
        Ok(())
    }

    /// Returns the share of calls to refuse, after so many that succeeded and failed.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a rate of so many needs no single call"
    )]
    pub(super) fn rejection_rate(&self, ok: u64, failed: u64) -> f64 {
        let executed = ok + failed;
        if executed < self.min_calls {
            return 0.0;
        }
        let (executed, ok) = (executed as f64, ok as f64);
        let beyond = (executed - ok / self.success_threshold).max(0.0);
        (beyond / (executed + 1.0)).min(self.max_rate)
    }
}

/// Settings that can be replaced while calls read them; each is whole, and for a moment they may be of both.
#[derive(Debug)]
pub(super) struct Live {
    success_threshold: AtomicU64,
    max_rate: AtomicU64,
    min_calls: AtomicU64,
    pub(super) period: Duration,
}

impl Live {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            success_threshold: AtomicU64::new(settings.success_threshold.to_bits()),
            max_rate: AtomicU64::new(settings.max_rate.to_bits()),
            min_calls: AtomicU64::new(settings.min_calls),
            period: settings.period,
        }
    }

    pub(super) fn load(&self) -> Settings {
        let share = |bits: &AtomicU64| f64::from_bits(bits.load(Ordering::Relaxed));
        Settings {
            success_threshold: share(&self.success_threshold),
            max_rate: share(&self.max_rate),
            min_calls: self.min_calls.load(Ordering::Relaxed),
            period: self.period,
        }
    }

    pub(super) fn store(&self, settings: Settings) {
        let bits = settings.success_threshold.to_bits();
        self.success_threshold.store(bits, Ordering::Relaxed);
        self.max_rate
            .store(settings.max_rate.to_bits(), Ordering::Relaxed);
        self.min_calls.store(settings.min_calls, Ordering::Relaxed);
    }
}
