use crate::outcome::Outcome;
use crate::source::Glance;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The sign of life of a loop, made by [`Check::heartbeat`](crate::Check::heartbeat).
///
/// # Performance
///
/// A beat is one relaxed atomic addition: it reads no clock and takes no lock.
///
/// # Examples
///
/// ```
/// use cortex_health::{Check, Group, Health};
/// use std::time::Duration;
///
/// let (heartbeat, check) = Check::heartbeat("ingest", Duration::from_secs(30));
/// let health = Health::builder().check(check.groups([Group::LIVE])).build()?;
///
/// std::thread::spawn(move || {
///     for _batch in 0..3 {
///         heartbeat.beat(); // at least once in 30 seconds
///     }
/// });
/// assert_eq!(health.snapshot().checks().count(), 1);
/// # Ok::<(), cortex_health::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Heartbeat {
    beats: Arc<AtomicU64>,
}

impl Heartbeat {
    /// Says that the loop still turns.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed); // only the change is looked at, never what was done before it
    }
}

/// The listening end: knows when it last saw a new beat.
#[derive(Debug)]
pub(crate) struct Pulse {
    beats: Arc<AtomicU64>,
    limit: Duration,
    seen: Mutex<Option<(u64, Glance)>>, // only the scheduler looks: never contended
}

impl Pulse {
    pub(crate) fn new(limit: Duration) -> (Heartbeat, Self) {
        let beats = Arc::new(AtomicU64::new(0));
        let pulse = Self {
            beats: Arc::clone(&beats),
            limit,
            seen: Mutex::new(None),
        };
        (Heartbeat { beats }, pulse)
    }

    /// Judges the silence now; the first look starts the clock.
    pub(crate) fn look(&self, glance: Glance) -> Outcome {
        let beats = self.beats.load(Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match *seen {
            Some((before, at)) if before == beats => {
                let stopped = glance.lost.saturating_sub(at.lost);
                let silence = glance
                    .now
                    .saturating_duration_since(at.now)
                    .saturating_sub(stopped);
                if silence > self.limit {
                    Outcome::down(format!(
                        "no beat for {silence:.1?}, the limit is {:?}",
                        self.limit
                    ))
                } else {
                    Outcome::up()
                }
            }
            _ => {
                *seen = Some((beats, glance));
                Outcome::up()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Status;
    use cortex_core::Clock;
    use cortex_testkit::ManualClock;

    fn at(clock: &ManualClock, lost: u64) -> Glance {
        Glance {
            now: clock.now(),
            lost: Duration::from_secs(lost),
        }
    }

    #[test]
    fn silence_beyond_the_limit_is_down_until_the_next_beat() {
        let clock = ManualClock::new();
        let (heartbeat, pulse) = Pulse::new(Duration::from_secs(10));
        assert_eq!(pulse.look(at(&clock, 0)), Outcome::up());
        clock.advance(Duration::from_secs(10));
        assert_eq!(pulse.look(at(&clock, 0)), Outcome::up());
        clock.advance(Duration::from_millis(500));
        let silent = pulse.look(at(&clock, 0));
        assert_eq!(silent.status(), Status::Down);
        assert_eq!(silent.message(), Some("no beat for 10.5s, the limit is 10s"));
        heartbeat.clone().beat();
        assert_eq!(pulse.look(at(&clock, 0)), Outcome::up());
    }

    #[test]
    fn a_stop_of_the_process_is_no_silence() {
        let clock = ManualClock::new();
        let (heartbeat, pulse) = Pulse::new(Duration::from_secs(10));
        assert_eq!(pulse.look(at(&clock, 5)), Outcome::up()); // from before
        clock.advance(Duration::from_secs(70));
        assert_eq!(pulse.look(at(&clock, 65)), Outcome::up());
        clock.advance(Duration::from_millis(500));
        let silent = pulse.look(at(&clock, 65));
        assert_eq!(silent.message(), Some("no beat for 10.5s, the limit is 10s"));
        heartbeat.beat();
        assert_eq!(pulse.look(at(&clock, 65)), Outcome::up());
        clock.advance(Duration::from_secs(11));
        assert_eq!(pulse.look(at(&clock, 65)).status(), Status::Down, "that was then");
    }
}
