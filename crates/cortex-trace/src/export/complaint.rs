//! Telling people that something was lost, without telling it again and again.

use std::error::Error;
use std::time::{Duration, Instant};

use cortex_core::{Clock, SystemClock};

use super::Stats;
use super::queue::Queue;

const PAUSE: Duration = Duration::from_mins(1);

/// What has been told so far.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    told: Option<(Instant, u64)>,
}

impl Complaints {
    /// Warns through `tracing` if more was lost since the last warning, once a minute at most.
    pub(super) fn consider<T>(&mut self, queue: &Queue<T>) {
        let stats = queue.stats();
        if let Some(lost) = self.due(stats, SystemClock.now()) {
            let error = queue.last_error();
            let cause = error.as_ref().and_then(Error::source);
            tracing::warn!(
                exporter = queue.name,
                lost,
                failed = stats.failed,
                rejected = stats.rejected,
                dropped = stats.dropped(),
                error = cause,
                "telemetry was lost"
            );
        }
    }

    /// Returns how much was lost since the last warning, if it is time for the next one.
    fn due(&mut self, stats: Stats, now: Instant) -> Option<u64> {
        let all = stats.failed + stats.rejected + stats.dropped();
        let (is_time, before) = match self.told {
            Some((at, before)) => (now.saturating_duration_since(at) >= PAUSE, before),
            None => (true, 0),
        };
        if all == before || !is_time {
            return None;
        }
        self.told = Some((now, all));
        Some(all - before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warns_once_a_minute_and_only_about_news() {
        let (mut complaints, start) = (Complaints::default(), SystemClock.now());
        let mut due = |failed, seconds| {
            let stats = Stats {
                failed,
                ..Stats::default()
            };
            complaints.due(stats, start + Duration::from_secs(seconds))
        };
        assert_eq!(due(0, 0), None);
        assert_eq!(due(3, 0), Some(3));
        assert_eq!(due(9, 59), None);
        assert_eq!(due(9, 60), Some(6));
        assert_eq!(due(9, 200), None);
        assert_eq!(due(10, 200), Some(1));
    }
}
