use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use cortex_core::{Clock, SystemClock};

/// A clock that moves when told to; every clone shows the same time.
///
/// The wall clock starts at the same moment in every run, 2026-01-01 00:00:00 UTC, so that output with a time in it
/// can be compared with a fixed text.
///
/// # Examples
///
/// ```
/// use cortex_core::Clock;
/// use cortex_testkit::ManualClock;
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// let (start, wall) = (clock.now(), clock.wall());
/// let other = clock.clone();
/// other.advance(Duration::from_millis(250));
/// assert_eq!(clock.now() - start, Duration::from_millis(250));
/// assert_eq!(clock.wall().duration_since(wall)?, Duration::from_millis(250));
/// # Ok::<(), std::time::SystemTimeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    face: Arc<Mutex<Face>>,
}

#[derive(Clone, Copy, Debug)]
struct Face {
    now: Instant,
    wall: SystemTime,
}

/// 2026-01-01 00:00:00 UTC since the epoch: 56 years, 14 of them with a leap day.
const WALL_START: Duration = Duration::from_hours((56 * 365 + 14) * 24);

impl ManualClock {
    /// Makes a clock that stands still.
    pub fn new() -> Self {
        Self {
            face: Arc::new(Mutex::new(Face {
                now: SystemClock.now(), // an `Instant` has no other origin; only differences can be seen
                wall: SystemTime::UNIX_EPOCH + WALL_START,
            })),
        }
    }

    /// Moves both times forward.
    ///
    /// # Panics
    ///
    /// The sum does not fit the operating system's type.
    pub fn advance(&self, by: Duration) {
        let mut face = self.face();
        face.now += by;
        face.wall += by;
    }

    /// Sets the wall clock, to either side, as an operator or NTP does; the monotonic time stays.
    pub fn set_wall(&self, wall: SystemTime) {
        self.face().wall = wall;
    }

    fn face(&self) -> MutexGuard<'_, Face> {
        self.face.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        self.face().now
    }

    fn wall(&self) -> SystemTime {
        self.face().wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_still_until_told() {
        let clock = ManualClock::default();
        let first = (clock.now(), clock.wall());
        assert_eq!((clock.now(), clock.wall()), first);
        let unix = first.1.duration_since(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(unix.as_secs(), 1_767_225_600);
    }

    #[test]
    fn the_wall_jumps_alone() {
        let clock = ManualClock::new();
        let start = clock.now();
        clock.set_wall(SystemTime::UNIX_EPOCH);
        assert_eq!((clock.now(), clock.wall()), (start, SystemTime::UNIX_EPOCH));
        clock.advance(Duration::from_secs(1));
        assert_eq!(clock.wall(), SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    }

    #[test]
    fn outlives_a_panic_of_an_advance() {
        let clock = ManualClock::new();
        let start = clock.now();
        let failed = std::panic::catch_unwind({
            let clock = clock.clone();
            move || clock.advance(Duration::MAX)
        });
        assert!(failed.is_err());
        assert_eq!(clock.now(), start);
    }

    #[test]
    fn is_a_clock_for_other_threads() {
        let clock = ManualClock::new();
        let start = clock.now();
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        std::thread::spawn(move || clock.advance(Duration::from_secs(5)))
            .join()
            .unwrap();
        assert_eq!(shared.now() - start, Duration::from_secs(5));
    }
}
