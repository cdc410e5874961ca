use super::policy::ShedPolicy;
use crate::build_error::BuildError;
use crate::sync::{AtomicU64, Ordering};
use cortex_core::{Clock, TscClock};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sheds load while work stands in a queue: while even the luckiest waited too long.
///
/// Whoever takes work from the queue tells how long it waited. A burst makes some of it wait, and the queue is empty soon after; but
/// if for a whole interval nothing waited less than the target, the queue stands, and only refusing makes it shorter. That is the
/// sign of controlled delay (`CoDel`, RFC 8289). It ends with the first that waited no longer than the target, or after an interval
/// in which nothing was taken from the queue. Clones are the same one.
///
/// # Examples
///
/// ```
/// use cortex_resilience::load_shed::{LoadShed, QueueDelay, ShedPolicy};
/// use std::time::Duration;
///
/// let delay = QueueDelay::new(Duration::from_millis(5), Duration::from_millis(100))?;
/// let shed = LoadShed::builder("search").policy(delay.clone()).build();
/// delay.record(Duration::from_millis(80)); // what a worker sees when it takes a job
/// assert!(!delay.is_overloaded()); // not for a whole interval yet
/// assert!(shed.try_acquire().is_ok());
/// # Ok::<(), cortex_resilience::BuildError>(())
/// ```
pub struct QueueDelay<K = TscClock> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    /// Microseconds.
    target: u32,
    interval: Duration,
    origin: Instant,
    clock: K,
    /// The least waits of this interval and the last one, by parity. Each word is the number of the interval and microseconds, 32 bits
    /// each; interval 0 is none.
    least: [AtomicU64; 2],
}

impl QueueDelay {
    /// Makes one that sheds once the least wait of a whole interval was above the target; 5 ms and 100 ms are usual. Waits count
    /// in microseconds.
    ///
    /// # Errors
    ///
    /// The interval is shorter than a millisecond, or not longer than the target.
    pub fn new(target: Duration, interval: Duration) -> Result<Self, BuildError> {
        Self::with_clock(target, interval, TscClock)
    }
}

impl<K: Clock> QueueDelay<K> {
    /// Makes one that takes the time from this clock.
    ///
    /// # Errors
    ///
    /// As [`new`](QueueDelay::new).
    pub fn with_clock(target: Duration, interval: Duration, clock: K) -> Result<Self, BuildError> {
        if interval < Duration::from_millis(1) || interval <= target {
            let allowed = "at least 1 ms, and longer than the target";
            return Err(BuildError::new("interval", format!("{interval:?}"), allowed));
        }
        Ok(Self {
            inner: Arc::new(Inner {
                target: micros(target),
                interval,
                origin: clock.now(),
                clock,
                least: [AtomicU64::new(0), AtomicU64::new(0)],
            }),
        })
    }

    /// Takes note of how long a piece of work waited that was taken from the queue now.
    pub fn record(&self, waited: Duration) {
        let (number, waited) = (self.inner.number(), micros(waited));
        let least = self.inner.least_of(number);
        // Nothing happens if a later interval has begun.
        let _ = least.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
            let (has, least) = split(word);
            match has {
                _ if has == number => (waited < least).then(|| pack(number, waited)),
                // Farther ahead is a number from before a jump of the clock, or of a round before this one.
                _ if has.wrapping_sub(number) <= 2 => None,
                _ => Some(pack(number, waited)),
            }
        });
    }
}

impl<K: Clock> ShedPolicy for QueueDelay<K> {
    fn is_overloaded(&self) -> bool {
        let inner = &self.inner;
        let number = inner.number();
        let least = |number| {
            let (has, least) = split(inner.least_of(number).load(Ordering::Relaxed));
            (has == number).then_some(least)
        };
        let stands = |number| least(number).map(|least| least > inner.target);
        stands(number.wrapping_sub(1)) == Some(true) && stands(number) != Some(false)
    }
}

impl<K: Clock> Inner<K> {
    /// Returns the number of the interval, from 2: that of the one before is then not 0.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "numbers are compared as they wrap"
    )]
    fn number(&self) -> u32 {
        let elapsed = self.clock.now().saturating_duration_since(self.origin);
        ((elapsed.as_nanos() / self.interval.as_nanos()) as u32).wrapping_add(2)
    }
}

impl<K> Inner<K> {
    const fn least_of(&self, number: u32) -> &AtomicU64 {
        &self.least[(number % 2) as usize]
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

const fn pack(number: u32, least: u32) -> u64 {
    (number as u64) << 32 | least as u64
}

#[expect(clippy::cast_possible_truncation, reason = "each is one half")]
const fn split(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

impl<K> Clone for QueueDelay<K> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
        }
    }
}

impl<K> fmt::Debug for QueueDelay<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueueDelay")
            .field("target", &Duration::from_micros(self.inner.target.into()))
            .field("interval", &self.inner.interval)
            .finish_non_exhaustive()
    }
}
