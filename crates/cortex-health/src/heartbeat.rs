use crate::outcome::Outcome;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
    seen: Mutex<Option<(u64, Instant)>>, // only the scheduler looks: never contended
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

    /// Judges the silence at `now`; the first look starts the clock.
    pub(crate) fn look(&self, now: Instant) -> Outcome {
        let beats = self.beats.load(Ordering::Relaxed);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match *seen {
            Some((before, at)) if before == beats => {
                let silence = now.saturating_duration_since(at);
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
                *seen = Some((beats, now));
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

    #[test]
    fn silence_beyond_the_limit_is_down_until_the_next_beat() {
        let clock = ManualClock::new();
        let (heartbeat, pulse) = Pulse::new(Duration::from_secs(10));
        assert_eq!(pulse.look(clock.now()), Outcome::up());
        clock.advance(Duration::from_secs(10));
        assert_eq!(pulse.look(clock.now()), Outcome::up());
        clock.advance(Duration::from_millis(500));
        let silent = pulse.look(clock.now());
        assert_eq!(silent.status(), Status::Down);
        assert_eq!(silent.message(), Some("no beat for 10.5s, the limit is 10s"));
        heartbeat.clone().beat();
        assert_eq!(pulse.look(clock.now()), Outcome::up());
    }
}
