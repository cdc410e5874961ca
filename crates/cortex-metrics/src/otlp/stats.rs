use std::fmt;

use parking_lot::Mutex;

use super::OtlpError;
use crate::{Counter, RegisterError, Registry};

/// What an exporter has done so far.
///
/// # Examples
///
/// ```
/// use cortex_metrics::OtlpStats;
///
/// let stats = OtlpStats::default(); // as of an exporter that has not pushed yet
/// assert_eq!((stats.pushed, stats.failed), (0, 0));
/// assert!(stats.last_error.is_none());
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OtlpStats {
    /// Pushes that the collector took, in one request or several.
    pub pushed: u64,
    /// Pushes that were given up, or of which a request was.
    pub failed: u64,
    /// Requests that were sent once more.
    pub retries: u64,
    /// Data points that the collector took.
    pub accepted_points: u64,
    /// Data points of requests that the collector took without them.
    pub rejected_points: u64,
    /// Data points of requests that were given up. What they counted is in the next push, too.
    pub dropped_points: u64,
    /// Why a push was given up, or points were rejected, for the last time.
    pub last_error: Option<OtlpError>,
}

/// What the task writes and the handle reads.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) pushed: Counter,
    pub(super) failed: Counter,
    pub(super) retries: Counter,
    pub(super) accepted: Counter,
    pub(super) rejected: Counter,
    pub(super) dropped: Counter,
    pub(super) last_error: Mutex<Option<OtlpError>>,
}

impl Tally {
    pub(super) fn register(&self, registry: &Registry) -> Result<(), RegisterError> {
        for (outcome, pushes) in [("ok", &self.pushed), ("failed", &self.failed)] {
            registry.sub_registry("", [("outcome", outcome)])?.register(
                "cortex_metrics_pushes",
                "Pushes of metrics to a collector.",
                pushes.clone(),
            )?;
        }
        registry.register(
            "cortex_metrics_push_retries",
            "Requests of pushes that were sent once more.",
            self.retries.clone(),
        )?;
        for (outcome, points) in [
            ("accepted", &self.accepted),
            ("rejected", &self.rejected),
            ("dropped", &self.dropped),
        ] {
            registry.sub_registry("", [("outcome", outcome)])?.register(
                "cortex_metrics_push_points",
                "Data points that a collector took, that it did not take, and that did not reach it.",
                points.clone(),
            )?;
        }
        Ok(())
    }

    pub(super) fn read(&self) -> OtlpStats {
        OtlpStats {
            pushed: self.pushed.get(),
            failed: self.failed.get(),
            retries: self.retries.get(),
            accepted_points: self.accepted.get(),
            rejected_points: self.rejected.get(),
            dropped_points: self.dropped.get(),
            last_error: self.last_error.lock().clone(),
        }
    }
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
    }
}
