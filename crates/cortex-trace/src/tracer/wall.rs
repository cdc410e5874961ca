use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use cortex_core::Clock;

/// How long a reading of the wall clock is good for, in nanoseconds: steps are seen after it, and what the clocks drift
/// apart meanwhile is microseconds.
const GOOD_FOR: u64 = 100_000_000;

/// Tells the wall-clock time of instants, without asking the wall clock for each.
///
/// Spans near each other are measured by one reading, so that what one thread loses between two readings seldom shows.
#[derive(Debug)]
pub(super) struct Wall {
    /// What instants are counted from: the first of all, as nothing reads a clock only for that.
    base: OnceLock<Instant>,
    /// When the wall clock was read, from `base`.
    read_at: AtomicI64,
    /// The wall-clock time of `base` since 1970.
    epoch: AtomicI64,
}

impl Default for Wall {
    fn default() -> Self {
        Self {
            base: OnceLock::new(),
            read_at: AtomicI64::new(i64::MIN), // too long ago for everybody
            epoch: AtomicI64::new(0),
        }
    }
}

impl Wall {
    /// Returns the wall-clock time of an instant.
    #[inline]
    pub(super) fn at(&self, instant: Instant, clock: &dyn Clock) -> SystemTime {
        let since_base = self.since_base(instant);
        // Acquire: who sees when, sees what was read then, or later.
        let age = since_base.abs_diff(self.read_at.load(Ordering::Acquire));
        let epoch = if age < GOOD_FOR {
            self.epoch.load(Ordering::Relaxed)
        } else {
            self.read(clock)
        };
        from_1970(epoch.saturating_add(since_base))
    }

    #[cold]
    fn read(&self, clock: &dyn Clock) -> i64 {
        let now = self.since_base(clock.now());
        let epoch = since_1970(clock.wall()).saturating_sub(now);
        self.epoch.store(epoch, Ordering::Relaxed);
        self.read_at.store(now, Ordering::Release);
        epoch
    }

    fn since_base(&self, instant: Instant) -> i64 {
        let base = *self.base.get_or_init(|| instant);
        match instant.checked_duration_since(base) {
            Some(after) => nanos(after),
            None => -nanos(base.saturating_duration_since(instant)),
        }
    }
}

/// Nanoseconds, which last for 292 years.
fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn since_1970(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => nanos(after),
        Err(before) => -nanos(before.duration()),
    }
}

fn from_1970(nanos: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    let time = if nanos < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cortex_core::SystemClock;
    use std::sync::Mutex;

    /// Two clocks that a test sets apart from each other.
    struct Two(Mutex<(Instant, SystemTime)>);

    impl Two {
        fn pass(&self, monotonic: Duration, wall: Duration) {
            let mut both = self.0.lock().unwrap();
            *both = (both.0 + monotonic, both.1 + wall);
        }
    }

    impl Clock for Two {
        fn now(&self) -> Instant {
            self.0.lock().expect("no test panics under it").0
        }

        fn wall(&self) -> SystemTime {
            self.0.lock().expect("no test panics under it").1
        }
    }

    fn at_noon() -> Two {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Two(Mutex::new((SystemClock.now(), noon)))
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn counts_on_from_one_reading_and_reads_again_after_it() {
        let clock = at_noon();
        let wall = Wall::default();
        let noon = clock.wall();
        assert_eq!(wall.at(clock.now(), &clock), noon);
        clock.pass(99 * MS, 500 * MS); // somebody set the clock
        assert_eq!(wall.at(clock.now(), &clock), noon + 99 * MS);
        clock.pass(MS, MS);
        assert_eq!(wall.at(clock.now(), &clock), noon + 501 * MS);
        let earlier = clock.now().checked_sub(50 * MS).unwrap();
        assert_eq!(wall.at(earlier, &clock), noon + 451 * MS);
    }

    #[test]
    fn follows_a_clock_that_is_set_back() {
        let clock = at_noon();
        let wall = Wall::default();
        assert_eq!(wall.at(clock.now(), &clock), clock.wall());
        clock.pass(3_600_000 * MS, Duration::ZERO);
        assert_eq!(wall.at(clock.now(), &clock), clock.wall());
    }

    #[test]
    fn tells_instants_from_before_the_first() {
        let clock = at_noon();
        let long_ago = clock.now();
        clock.pass(5000 * MS, 5000 * MS);
        let wall = Wall::default();
        assert_eq!(wall.at(clock.now(), &clock), clock.wall());
        assert_eq!(wall.at(long_ago, &clock), clock.wall() - 5000 * MS);
    }

    #[test]
    fn tells_times_before_1970() {
        let clock = at_noon();
        *clock.0.lock().unwrap() = (clock.now(), SystemTime::UNIX_EPOCH - 7 * MS);
        let wall = Wall::default();
        assert_eq!(wall.at(clock.now(), &clock), SystemTime::UNIX_EPOCH - 7 * MS);
    }
}
