//! Telling people that something is lost, and that it is over, without telling it again and again.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cortex_core::{Clock, SystemClock};

use super::Stats;
use super::completion::lock;
use super::queue::Queue;
use crate::ExportError;

/// The time between two lines, and the time without a loss after which it is over.
pub(super) const PAUSE: Duration = Duration::from_mins(1);

/// What is told about one exporter, by its worker, and by a [teller](super::teller) while that hangs.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    lost: Mutex<Told>,
}

/// What has been told so far about one kind of loss.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// When a line was written for the last time, and how much was lost by then.
    line: Option<(Instant, u64)>,
    /// How much is lost by now, and since when it is not more.
    lost: u64,
    quiet_since: Option<Instant>,
    /// How much was lost before it began, if its end is still to be told.
    before: Option<u64>,
}

/// What is to be told now: how much was lost since the last line, or from the beginning to the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Line {
    Lost(u64),
    Over(u64),
}

impl Complaints {
    /// Warns through `tracing` if more was lost since the last line, or says that it is over; once a minute at most.
    pub(super) fn consider<T>(&self, queue: &Queue<T>) {
        let (stats, now) = (queue.stats(), SystemClock.now());
        let is_clogged = queue.is_clogged();
        let line = {
            let mut told = lock(&self.lost);
            if is_clogged {
                told.go_on(now);
            }
            told.next(lost(stats), now)
        };
        if let Some(line) = line {
            tell(&line, stats, queue); // foreign code: the lock is free by now
        }
    }

    /// Warns of what is not told yet: there may be no later line.
    pub(super) fn finish<T>(&self, queue: &Queue<T>) {
        let stats = queue.stats();
        let line = lock(&self.lost).rest(lost(stats), SystemClock.now());
        if let Some(line) = line {
            tell(&line, stats, queue);
        }
    }

    /// Says whether all is told, also that it is over.
    pub(super) fn is_settled(&self, stats: Stats) -> bool {
        let told = lock(&self.lost);
        told.before.is_none() && told.lost == lost(stats)
    }
}

impl Told {
    pub(super) fn next(&mut self, all: u64, now: Instant) -> Option<Line> {
        if all > self.lost {
            self.before.get_or_insert(self.lost);
            self.lost = all;
            self.quiet_since = Some(now);
        }
        let before = self.before?;
        let is_over = |since: Instant| now.saturating_duration_since(since) >= PAUSE;
        let told = match self.line {
            Some((at, told)) if is_over(at) => told,
            Some(_) => return None,
            None => 0,
        };
        let next = if all > told {
            Line::Lost(all - told)
        } else if self.quiet_since.is_some_and(is_over) {
            self.before = None;
            Line::Over(all - before)
        } else {
            return None;
        };
        self.line = Some((now, all));
        Some(next)
    }

    /// Notes that it is not over, even if nothing more is lost.
    fn go_on(&mut self, now: Instant) {
        self.quiet_since = Some(now);
    }

    /// Returns when there is something to tell again; `None` if there is not, unless more is lost.
    #[cfg(feature = "bridge")]
    pub(super) fn due(&self) -> Option<Instant> {
        let (line, _) = self.before.and(self.line)?;
        Some(line + PAUSE)
    }

    /// Returns what is not told yet, and takes it to be told.
    pub(super) fn rest(&mut self, all: u64, now: Instant) -> Option<Line> {
        let untold = all.saturating_sub(self.line.map_or(0, |(_, told)| told));
        (untold > 0).then(|| {
            self.line = Some((now, all));
            Line::Lost(untold)
        })
    }
}

/// The time between two lines about what an exporter still tries to send.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    told: Option<Instant>,
}

impl Pauses {
    /// Says whether it is time for a line, which is taken to be written then.
    pub(super) fn is_over(&mut self, now: Instant) -> bool {
        let is_over = |told: Instant| now.saturating_duration_since(told) >= PAUSE;
        let due = self.told.is_none_or(is_over);
        if due {
            self.told = Some(now);
        }
        due
    }
}

/// Warns of what keeps an exporter from sending, while nothing is lost yet.
pub(super) fn held_up(exporter: &'static str, error: &ExportError) {
    // Whoever listens is foreign code, which must not end what the exporter is at.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        tracing::warn!(exporter, error = error.source(), "telemetry is held up");
    }));
}

fn lost(stats: Stats) -> u64 {
    stats.failed + stats.rejected + stats.dropped()
}

fn tell<T>(line: &Line, stats: Stats, queue: &Queue<T>) {
    match line {
        Line::Lost(lost) => {
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
        Line::Over(lost) => {
            tracing::info!(exporter = queue.name, lost, "telemetry is no longer lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_up_is_told_once_a_minute() {
        let (mut pauses, start) = (Pauses::default(), SystemClock.now());
        let mut is_over = |seconds| pauses.is_over(start + Duration::from_secs(seconds));
        assert_eq!(
            [0, 1, 59, 60, 119, 121].map(&mut is_over),
            [true, false, false, true, false, true]
        );
    }

    #[test]
    fn tells_once_a_minute_what_is_new_and_that_it_is_over() {
        let (mut told, start) = (Told::default(), SystemClock.now());
        let mut next = |lost, seconds| told.next(lost, start + Duration::from_secs(seconds));
        assert_eq!(next(0, 0), None);
        assert_eq!(next(3, 0), Some(Line::Lost(3)));
        assert_eq!(next(9, 59), None);
        assert_eq!(next(9, 60), Some(Line::Lost(6)));
        assert_eq!(next(9, 119), None);
        assert_eq!(next(9, 120), Some(Line::Over(9)));
        assert_eq!(next(9, 500), None);
        // The next time.
        assert_eq!(next(10, 600), Some(Line::Lost(1)));
        assert_eq!(next(11, 630), None);
        assert_eq!(next(11, 700), Some(Line::Lost(1)));
        assert_eq!(next(11, 760), Some(Line::Over(2)));
        // Soon after the end.
        assert_eq!(next(12, 761), None);
        assert_eq!(next(12, 820), Some(Line::Lost(1)));
    }

    #[test]
    fn it_is_not_over_while_somebody_says_so() {
        let (mut told, start) = (Told::default(), SystemClock.now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(told.next(1, at(0)), Some(Line::Lost(1)));
        for seconds in [60, 120, 300] {
            told.go_on(at(seconds));
            assert_eq!(told.next(1, at(seconds)), None);
        }
        assert_eq!(told.next(1, at(360)), Some(Line::Over(1)));
    }

    #[test]
    fn what_is_not_told_at_the_end_is() {
        let (mut told, start) = (Told::default(), SystemClock.now());
        assert_eq!(told.rest(0, start), None);
        assert_eq!(told.rest(2, start), Some(Line::Lost(2)));
        assert_eq!(told.next(3, start), None);
        let later = start + PAUSE;
        assert_eq!(told.next(5, later), Some(Line::Lost(3)));
        assert_eq!(told.next(6, later), None);
        assert_eq!(
            (told.rest(6, later), told.rest(6, later)),
            (Some(Line::Lost(1)), None)
        );
    }
}
