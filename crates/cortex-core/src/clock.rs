use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use crate::deadline::{Deadline, nanos};

/// Tells the time, so that time is a parameter and a test can set it.
///
/// # Examples
///
/// ```
/// use cortex_core::{Clock, SystemClock};
///
/// fn age(clock: &impl Clock, since: std::time::Instant) -> std::time::Duration {
///     clock.now().saturating_duration_since(since)
/// }
/// assert!(age(&SystemClock, SystemClock.now()).as_secs() < 1);
/// ```
pub trait Clock: Send + Sync {
    /// Returns the monotonic time: for durations, deadlines and ages.
    fn now(&self) -> Instant;

    /// Returns the wall-clock time: for output that people or other machines read. It may jump.
    fn wall(&self) -> SystemTime;

    /// Returns the monotonic time as the nanoseconds that a [`Deadline`] at that time has.
    ///
    /// For code that reads the clock for each call: a comparison of two integers is less than one of two `Instant`s. A clock
    /// that has the number at hand answers without [`now`](Self::now), and must give the same time.
    #[inline]
    fn nanos(&self) -> u64 {
        Deadline::at(self.now()).nanos()
    }
}

macro_rules! clock_behind {
    ($pointer:ty) => {
        impl<C: Clock + ?Sized> Clock for $pointer {
            fn now(&self) -> Instant {
                (**self).now()
            }

            fn wall(&self) -> SystemTime {
                (**self).wall()
            }

            #[inline]
            fn nanos(&self) -> u64 {
                (**self).nanos()
            }
        }
    };
}

clock_behind!(&C);
clock_behind!(Arc<C>);

/// The operating system's clocks: exact, about 25 ns a read.
///
/// # Examples
///
/// ```
/// use cortex_core::{Clock, SystemClock};
///
/// let start = SystemClock.now();
/// assert!(SystemClock.now() >= start);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that asks the operating system for the time"
)]
impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that a thread of its own moves on every tick: about 2 ns a read, late by up to a tick.
///
/// For ages and time-outs where a millisecond does not matter. The thread ends when the last clone is dropped.
///
/// # Examples
///
/// ```
/// use cortex_core::{Clock, CoarseClock};
/// use std::time::Duration;
///
/// let clock = CoarseClock::start(Duration::from_millis(1))?;
/// let start = clock.now();
/// while clock.now() == start {
///     std::thread::yield_now(); // moves on by itself
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CoarseClock {
    face: Arc<Face>,
    _ticker: Arc<Ticker>,
}

impl CoarseClock {
    /// Starts a clock that moves every `tick`; a tick under 100 us is raised to that.
    ///
    /// # Errors
    ///
    /// The thread could not be started.
    pub fn start(tick: Duration) -> std::io::Result<Self> {
        let face = Arc::new(Face::new(&SystemClock));
        let thread = std::thread::Builder::new()
            .name("cortex-clock".into())
            .stack_size(64 << 10)
            .spawn({
                let face = Arc::clone(&face);
                move || face.run(&SystemClock, tick.max(Duration::from_micros(100)))
            })?;
        Ok(Self::with(face, Some(thread)))
    }

    fn with(face: Arc<Face>, thread: Option<JoinHandle<()>>) -> Self {
        let ticker = Ticker {
            face: Arc::clone(&face),
            thread,
        };
        Self {
            face,
            _ticker: Arc::new(ticker),
        }
    }
}

impl Clock for CoarseClock {
    #[inline] // for crates that are built without link-time optimization: the read is less than the call
    fn now(&self) -> Instant {
        Deadline::from_nanos(self.nanos()).instant()
    }

    #[inline]
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.face.wall.load(Ordering::Relaxed))
    }

    #[inline]
    fn nanos(&self) -> u64 {
        self.face.nanos.load(Ordering::Relaxed)
    }
}

/// What the thread writes and the readers read.
#[derive(Debug, Default)]
struct Face {
    nanos: AtomicU64,
    wall: AtomicU64,
    stop: Mutex<bool>,
    stopped: Condvar,
}

impl Face {
    fn new(clock: &impl Clock) -> Self {
        let face = Self::default();
        face.advance(clock);
        face
    }

    fn advance(&self, clock: &impl Clock) {
        self.nanos.fetch_max(clock.nanos(), Ordering::Relaxed); // it never goes back
        let since = clock.wall().duration_since(SystemTime::UNIX_EPOCH);
        let wall = since.map_or(0, nanos);
        self.wall.store(wall, Ordering::Relaxed);
    }

    fn run(&self, clock: &impl Clock, tick: Duration) {
        let mut stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        while !*stop {
            (stop, _) = self
                .stopped
                .wait_timeout(stop, tick)
                .unwrap_or_else(PoisonError::into_inner);
            self.advance(clock);
        }
    }
}

/// Owns the thread; dropping it wakes the thread and waits for the few instructions it has left.
#[derive(Debug)]
struct Ticker {
    face: Arc<Face>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Ticker {
    fn drop(&mut self) {
        *self.face.stop.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.face.stopped.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // it cannot panic, and a destructor has nobody to tell
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct At(Instant, SystemTime);

    impl Clock for At {
        fn now(&self) -> Instant {
            self.0
        }

        fn wall(&self) -> SystemTime {
            self.1
        }
    }

    #[test]
    fn the_face_shows_what_the_clock_said() {
        let (start, wall) = (SystemClock.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(7));
        let face = Arc::new(Face::new(&At(start, wall)));
        let clock = CoarseClock::with(Arc::clone(&face), None);
        assert_eq!((clock.now(), clock.wall()), (start, wall));
        face.advance(&At(start + Duration::from_secs(3), wall + Duration::from_secs(1)));
        assert_eq!(clock.now(), start + Duration::from_secs(3));
        assert_eq!(clock.wall(), wall + Duration::from_secs(1));
        assert_eq!(clock.nanos(), Deadline::at(clock.now()).nanos());
        let before = start.checked_sub(Duration::from_secs(1)).unwrap();
        face.advance(&At(before, wall));
        assert_eq!(clock.now(), start + Duration::from_secs(3)); // a clock that steps back is not followed
        assert!(format!("{clock:?}").starts_with("CoarseClock"));
    }

    #[test]
    fn the_thread_ends_with_the_last_clone() {
        let clock = CoarseClock::start(Duration::from_hours(1)).unwrap();
        let face = Arc::downgrade(&clock.face);
        let other = clock.clone();
        drop(clock);
        assert!(face.upgrade().is_some());
        drop(other); // returns at once although the tick is an hour
        assert!(face.upgrade().is_none());
    }

    #[test]
    fn references_and_shared_clocks_are_clocks() {
        let at = At(SystemClock.now(), SystemTime::UNIX_EPOCH);
        let shared: Arc<dyn Clock> = Arc::new(At(at.0, at.1));
        assert_eq!(Clock::now(&&at), shared.now());
        assert_eq!(Clock::wall(&&at), shared.wall());
        assert_eq!(Clock::nanos(&&at), Deadline::at(at.0).nanos());
        assert_eq!(Clock::nanos(&&at), shared.nanos());
    }
}
