use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use cortex_core::Clock;

/// How long a reading of the wall clock is good for, in nanoseconds: steps are seen after it, and what the clocks drift
/// apart meanwhile is microseconds.
const GOOD_FOR: u64 = 100_000_000;

/// How far apart the two monotonic readings around one of the wall clock may be, in nanoseconds: a reading takes some
/// 25 ns, and a microsecond where it is a system call. What is more is a thread that was held up in between.
const NARROW: i64 = 5_000;

/// How often the clocks are read at most until it is as good as that.
const TRIES: usize = 4;

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
    /// Held by who writes the two. Nobody waits for it.
    publishing: Mutex<()>,
}

/// The wall clock, read between two readings of the monotonic one.
struct Reading {
    /// When it was, from the base: half way between the two, so that it is off by half their distance at most.
    at: i64,
    /// Their distance.
    width: i64,
    wall: i64,
}

impl Default for Wall {
    fn default() -> Self {
        Self {
            base: OnceLock::new(),
            read_at: AtomicI64::new(i64::MIN), // too long ago for everybody
            epoch: AtomicI64::new(0),
            publishing: Mutex::new(()),
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
        let mut best = self.bracket(clock);
        for _ in 1..TRIES {
            if best.width <= NARROW {
                break;
            }
            let next = self.bracket(clock);
            if next.width < best.width {
                best = next;
            }
        }
        let epoch = best.wall.saturating_sub(best.at);
        self.publish(best.at, epoch);
        epoch
    }

    fn bracket(&self, clock: &dyn Clock) -> Reading {
        let before = self.since_base(clock.now());
        let wall = since_1970(clock.wall());
        let width = self.since_base(clock.now()).saturating_sub(before).max(0);
        Reading {
            at: before.saturating_add(width / 2),
            width,
            wall,
        }
    }

    /// Lets other threads have what was read, unless one of them is at it, or has read later.
    fn publish(&self, at: i64, epoch: i64) {
        let Ok(_publishing) = self.publishing.try_lock() else {
            return; // nothing under it panics, so it is not poisoned
        };
        if at > self.read_at.load(Ordering::Relaxed) {
            self.epoch.store(epoch, Ordering::Relaxed);
            self.read_at.store(at, Ordering::Release);
        }
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
    use std::collections::VecDeque;
    use std::sync::atomic::AtomicUsize;

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

    /// Clocks on a thread that is held up after each reading, as long as it says.
    struct HeldUp {
        clock: Two,
        pauses: Mutex<VecDeque<Duration>>,
        readings: AtomicUsize,
    }

    impl HeldUp {
        fn new(pauses: impl IntoIterator<Item = Duration>) -> Self {
            Self {
                clock: at_noon(),
                pauses: Mutex::new(pauses.into_iter().collect()),
                readings: AtomicUsize::new(0),
            }
        }

        fn pause(&self) {
            self.readings.fetch_add(1, Ordering::Relaxed);
            let pause = self.pauses.lock().expect("no test panics under it").pop_front();
            let pause = pause.unwrap_or_default();
            self.clock.pass(pause, pause);
        }
    }

    impl Clock for HeldUp {
        fn now(&self) -> Instant {
            let now = self.clock.now();
            self.pause();
            now
        }

        fn wall(&self) -> SystemTime {
            let wall = self.clock.wall();
            self.pause();
            wall
        }
    }

    #[test]
    fn a_thread_that_is_held_up_between_two_readings_reads_again() {
        for pauses in [
            [30 * MS, Duration::ZERO],
            [Duration::ZERO, 30 * MS],
            [7 * MS, 30 * MS],
        ] {
            let clock = HeldUp::new(pauses);
            let (now, noon) = (clock.clock.now(), clock.clock.wall());
            assert_eq!(Wall::default().at(now, &clock), noon, "{pauses:?}");
            assert_eq!(clock.readings.into_inner(), 6);
        }
    }

    #[test]
    fn readings_that_are_near_each_other_are_not_repeated_and_off_by_half_of_it() {
        let clock = HeldUp::new([Duration::from_micros(3), Duration::from_micros(2)]);
        let (now, noon) = (clock.clock.now(), clock.clock.wall());
        // Read 3 of 5 us after the first reading, and taken to be read after 2.5.
        let expected = noon + Duration::from_nanos(500);
        assert_eq!(Wall::default().at(now, &clock), expected);
        assert_eq!(clock.readings.into_inner(), 3);
    }

    #[test]
    fn the_narrowest_of_a_few_is_taken_where_all_are_wide() {
        let widths = [30, 9, 2, 8].map(|ms| ms * MS);
        let pauses = widths.into_iter().flat_map(|width| [width, Duration::ZERO, MS]);
        let clock = HeldUp::new(pauses);
        let (now, noon) = (clock.clock.now(), clock.clock.wall());
        assert_eq!(Wall::default().at(now, &clock), noon + MS); // half of 2 ms
        assert_eq!(clock.readings.into_inner(), 3 * TRIES);
    }

    #[test]
    fn an_old_reading_does_not_take_the_place_of_a_newer_one() {
        /// Clocks on a thread that is held up at the worst moment, where another one reads and publishes.
        struct Overtaken<'a> {
            wall: &'a Wall,
            slow: Two,
            fast: Two,
        }

        impl Clock for Overtaken<'_> {
            fn now(&self) -> Instant {
                self.slow.now()
            }

            fn wall(&self) -> SystemTime {
                self.wall.at(self.fast.now(), &self.fast);
                self.slow.wall()
            }
        }

        let (wall, slow, fast) = (Wall::default(), at_noon(), at_noon());
        let start = slow.now();
        *fast.0.lock().unwrap() = (start + 150 * MS, fast.wall() + 5_000 * MS); // somebody set the clock meanwhile
        let (old, new) = (slow.wall(), fast.wall());
        let clock = Overtaken {
            wall: &wall,
            slow,
            fast,
        };
        assert_eq!(wall.at(start, &clock), old); // good enough for itself
        let clock = HeldUp::new([]);
        assert_eq!(wall.at(start + 160 * MS, &clock), new + 10 * MS);
        assert_eq!(clock.readings.into_inner(), 0);
    }

    #[test]
    fn a_reading_is_for_itself_while_another_one_is_published() {
        let (wall, clock) = (Wall::default(), at_noon());
        let publishing = wall.publishing.lock().unwrap();
        assert_eq!(wall.at(clock.now(), &clock), clock.wall());
        drop(publishing);
        let read = HeldUp::new([]);
        let now = clock.now();
        wall.at(now, &read);
        wall.at(now, &read);
        assert_eq!(read.readings.into_inner(), 3); // the first one was not kept, the second one was
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
