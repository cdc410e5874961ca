use crate::outcome::Outcome;
use crate::source::Glance;
#[cfg(cortex_loom)]
use loom::sync::atomic::{AtomicU64, Ordering};
#[cfg(not(cortex_loom))]
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the task of the heartbeat wakes.
pub(super) const PERIOD: Duration = Duration::from_millis(100);

/// What the task that beats and the check that looks know of each other.
#[derive(Debug)]
pub(super) struct Beats {
    degraded: Duration,
    down: Duration,
    origin: Instant,
    /// The last beat, in nanoseconds from `origin`.
    last: AtomicU64,
    /// The greatest lag since the last look, in nanoseconds.
    greatest: AtomicU64,
    stops: Mutex<Stops>, // only the scheduler looks: never contended
}

/// What was lost by stops of the process.
#[derive(Debug, Default)]
struct Stops {
    /// The last beat that was seen.
    beat: u64,
    /// What was lost before that beat.
    before: Duration,
    /// What was lost at the last look.
    lost: Duration,
}

impl Beats {
    pub(super) fn new(degraded: Duration, down: Duration, origin: Instant) -> Self {
        Self {
            degraded,
            down,
            origin,
            last: AtomicU64::new(0),
            greatest: AtomicU64::new(0),
            stops: Mutex::default(),
        }
    }

    pub(super) fn beat(&self, now: Instant) {
        let lag = self.lag(now, self.last.load(Ordering::Relaxed)); // nobody else writes it
        self.greatest.fetch_max(nanos(lag), Ordering::Relaxed); // before the stamp, or a look could miss the gap
        self.last.store(nanos_since(now, self.origin), Ordering::Release);
    }

    pub(super) fn look(&self, glance: Glance) -> Outcome {
        let (current, greatest) = self.lags(glance);
        let outcome = if current >= self.down {
            Outcome::down(format!(
                "no task has run for {current:.1?}, the limit is {:?}",
                self.down
            ))
        } else if greatest >= self.degraded {
            Outcome::degraded(format!(
                "tasks were late by up to {greatest:.0?}, the limit is {:?}",
                self.degraded
            ))
        } else {
            Outcome::up()
        };
        outcome.observed(millis(greatest), "ms")
    }

    /// Returns the lag that still lasts and the greatest since the last look, both without what was lost by a stop of the
    /// process.
    fn lags(&self, Glance { now, lost }: Glance) -> (Duration, Duration) {
        let beat = self.last.load(Ordering::Acquire);
        let over = Duration::from_nanos(self.greatest.swap(0, Ordering::Relaxed));
        let mut stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
        let over = over.saturating_sub(lost.saturating_sub(stops.before));
        if stops.beat != beat {
            // Of what was lost since the last look, no more is since the beat than the time since the beat.
            let since = nanos_since(now, self.origin).saturating_sub(beat);
            let lost_since = lost.saturating_sub(stops.lost).min(Duration::from_nanos(since));
            stops.beat = beat;
            stops.before = lost.saturating_sub(lost_since);
        }
        stops.lost = lost;
        let current = self.lag(now, beat);
        let current = current.saturating_sub(lost.saturating_sub(stops.before));
        (current, over.max(current))
    }

    fn lag(&self, now: Instant, beat: u64) -> Duration {
        now.saturating_duration_since(self.origin)
            .saturating_sub(Duration::from_nanos(beat))
            .saturating_sub(PERIOD)
    }
}

/// Returns a duration in milliseconds, to a tenth.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e4).round() / 10.0
}

fn nanos_since(now: Instant, origin: Instant) -> u64 {
    nanos(now.saturating_duration_since(origin))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;
    use crate::status::Status;
    use cortex_core::Clock;
    use cortex_testkit::ManualClock;

    const MILLI: Duration = Duration::from_millis(1);

    fn beats(clock: &ManualClock) -> Beats {
        Beats::new(200 * MILLI, 10_000 * MILLI, clock.now())
    }

    fn at(clock: &ManualClock, lost: Duration) -> Glance {
        Glance {
            now: clock.now(),
            lost,
        }
    }

    fn now(clock: &ManualClock) -> Glance {
        at(clock, Duration::ZERO)
    }

    #[test]
    fn a_lag_that_is_over_degrades_once() {
        let clock = ManualClock::new();
        let beats = beats(&clock);
        for _ in 0..20 {
            clock.advance(PERIOD);
            beats.beat(clock.now());
        }
        assert_eq!(beats.look(now(&clock)).status(), Status::Up);
        clock.advance(299 * MILLI);
        beats.beat(clock.now());
        assert_eq!(beats.look(now(&clock)).status(), Status::Up);
        clock.advance(300 * MILLI);
        beats.beat(clock.now());
        clock.advance(PERIOD);
        beats.beat(clock.now());
        let late = beats.look(now(&clock));
        assert_eq!(late.status(), Status::Degraded);
        assert_eq!(
            late.message(),
            Some("tasks were late by up to 200ms, the limit is 200ms")
        );
        assert_eq!(late.observation(), Some((200.0, "ms")));
        let next = beats.look(now(&clock));
        assert_eq!(
            (next.status(), next.observation()),
            (Status::Up, Some((0.0, "ms")))
        );
    }

    #[test]
    fn only_a_lag_that_lasts_is_down() {
        let clock = ManualClock::new();
        let beats = beats(&clock);
        clock.advance(10_099 * MILLI);
        assert_eq!(beats.look(now(&clock)).status(), Status::Degraded);
        clock.advance(MILLI);
        let stuck = beats.look(now(&clock));
        assert_eq!(stuck.status(), Status::Down);
        assert_eq!(
            stuck.message(),
            Some("no task has run for 10.0s, the limit is 10s")
        );
        beats.beat(clock.now());
        assert_eq!(beats.look(now(&clock)).status(), Status::Degraded, "it was late");
        assert_eq!(beats.look(now(&clock)).status(), Status::Up);
    }

    #[test]
    fn who_is_stuck_after_a_stop_is_not_excused_by_it() {
        let (clock, hour) = (ManualClock::new(), Duration::from_hours(1));
        let beats = beats(&clock);
        assert_eq!(beats.look(now(&clock)).status(), Status::Up);
        clock.advance(hour); // stopped
        beats.beat(clock.now()); // the last
        clock.advance(50 * MILLI);
        assert_eq!(beats.look(at(&clock, hour)).status(), Status::Up);
        clock.advance(10_000 * MILLI);
        assert_eq!(beats.look(at(&clock, hour)).status(), Status::Degraded);
        clock.advance(101 * MILLI);
        assert_eq!(beats.look(at(&clock, hour)).status(), Status::Down);
    }

    #[test]
    fn a_stop_of_the_process_is_no_lag_whoever_wakes_first() {
        let minute = Duration::from_mins(1);
        for beat_first in [false, true] {
            let clock = ManualClock::new();
            let beats = beats(&clock);
            clock.advance(PERIOD);
            beats.beat(clock.now());
            assert_eq!(beats.look(now(&clock)).status(), Status::Up);
            clock.advance(minute); // stopped
            if beat_first {
                beats.beat(clock.now());
            }
            assert_eq!(beats.look(at(&clock, minute)).status(), Status::Up);
            if !beat_first {
                beats.beat(clock.now()); // and says how late it was
            }
            assert_eq!(beats.look(at(&clock, minute)).status(), Status::Up);
            clock.advance(PERIOD * 4);
            beats.beat(clock.now());
            assert_eq!(
                beats.look(at(&clock, minute)).status(),
                Status::Degraded,
                "late again"
            );
            clock.advance(11_000 * MILLI);
            assert_eq!(
                beats.look(at(&clock, minute)).status(),
                Status::Down,
                "now it is stuck"
            );
        }
    }
}

/// `RUSTFLAGS="--cfg cortex_loom" cargo test -p cortex-health --lib --release model`
#[cfg(all(test, cortex_loom))]
mod model {
    use super::*;
    use crate::status::Status;
    use cortex_core::{Clock, SystemClock};
    use loom::sync::Arc;
    use loom::thread;

    const MILLI: Duration = Duration::from_millis(1);

    /// A look beside a beat that is late sees the lag, by the old stamp or by the note of it.
    ///
    /// The look has the thread of its own: the checker compares an access with the last one before it alone, and a beat
    /// reads its own stamp just before it writes it.
    #[test]
    fn no_look_misses_a_lag() {
        loom::model(|| {
            let origin = SystemClock.now();
            let beats = Arc::new(Beats::new(200 * MILLI, 10_000 * MILLI, origin));
            let glance = move |millis: u32| Glance {
                now: origin + millis * MILLI,
                lost: Duration::ZERO,
            };
            let looker = {
                let beats = Arc::clone(&beats);
                thread::spawn(move || beats.look(glance(500)))
            };
            beats.beat(origin + 500 * MILLI);
            beats.beat(origin + 600 * MILLI);
            assert_eq!(looker.join().expect("no panic").status(), Status::Degraded);
            let _ = beats.look(glance(600)); // the note may have come after the first look: told twice, never not at all
            assert_eq!(beats.look(glance(700)).status(), Status::Up);
        });
    }
}
