use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A place in the code whose closures run on the thread of the caller once they have shown that they are tiny; give it
/// to [`Call::adaptive`](crate::Call::adaptive).
///
/// To cross to another thread and back takes two to three microseconds, which is not worth while for what takes one. So
/// this measures: the first 64 calls and every 64th after them go to the pool as all others do. While the mean of what
/// they took (each new one counts for an eighth) is below 10 us, calls in between run where they are; that ends when it
/// is at twice as much, and for a second after one that took ten times as much.
///
/// **Never for what may block**: a file that is cached nine times of ten looks tiny, and holds up all tasks of a
/// runtime the tenth time. What runs on the thread of the caller is not waited for by anybody else, has no priority and
/// takes no place in the queue. All else is as on the pool: deadlines, run timeouts, panics, the context, the observer
/// and the [`Snapshot`](crate::Snapshot).
///
/// # Examples
///
/// ```
/// use cortex_workers::{Adaptive, Closures, Pool};
///
/// static CHECKSUM: Adaptive = Adaptive::new(); // one for each place
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let pool = Pool::<Closures>::builder("sums").threads(1).build().await.unwrap();
/// for number in 0..1000_u64 {
///     let sum = pool.run(move |_, _| number + 1).adaptive(&CHECKSUM).await;
///     assert_eq!(sum.unwrap(), number + 1);
/// }
/// # });
/// ```
pub struct Adaptive {
    /// Nanoseconds, as the next.
    below: u64,
    /// Of how long runs took; more than any if there was none.
    mean: AtomicU64,
    calls: AtomicU64,
    is_tiny: AtomicBool,
    /// No run is inline before this, of the clock of the pool.
    not_before: AtomicU64,
}

/// So many calls are measured on the pool at first, and one of so many later.
const MEASURED: u64 = 64;
/// How much a run counts in the mean: one part of so many.
const WEIGHT: u64 = 8;
/// A run that takes so many times what is tiny ends it for a while.
const FAR: u64 = 10;
const PAUSE: u64 = 1_000_000_000;

impl Adaptive {
    /// Makes one for what takes less than 10 us.
    pub const fn new() -> Self {
        Self::below(Duration::from_micros(10))
    }

    /// Makes one for what takes less than this.
    pub const fn below(time: Duration) -> Self {
        let nanos = time.as_secs().saturating_mul(1_000_000_000);
        Self {
            below: nanos.saturating_add(time.subsec_nanos() as u64),
            mean: AtomicU64::new(u64::MAX),
            calls: AtomicU64::new(0),
            is_tiny: AtomicBool::new(false),
            not_before: AtomicU64::new(0),
        }
    }

    /// Returns the mean of what runs took lately, if there was one.
    pub fn mean(&self) -> Option<Duration> {
        let mean = self.mean.load(Ordering::Relaxed);
        (mean != u64::MAX).then(|| Duration::from_nanos(mean))
    }

    /// Says whether the next call runs where it is.
    #[inline]
    pub(crate) fn decide(&self, now: u64) -> bool {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        if number < MEASURED
            || number.is_multiple_of(MEASURED)
            || now < self.not_before.load(Ordering::Relaxed)
        {
            return false;
        }
        let was_tiny = self.is_tiny.load(Ordering::Relaxed);
        let limit = if was_tiny {
            self.below.saturating_mul(2)
        } else {
            self.below
        };
        let is_tiny = self.mean.load(Ordering::Relaxed) < limit;
        if is_tiny != was_tiny {
            self.is_tiny.store(is_tiny, Ordering::Relaxed);
        }
        is_tiny
    }

    /// Takes note of a run. What comes from several threads at once may be lost: the next one counts.
    #[inline]
    pub(crate) fn note(&self, took: u64, now: u64) {
        let mean = self.mean.load(Ordering::Relaxed);
        let next = if mean == u64::MAX {
            took
        } else {
            mean - mean / WEIGHT + took / WEIGHT
        };
        self.mean.store(next.min(u64::MAX - 1), Ordering::Relaxed);
        if took > self.below.saturating_mul(FAR) {
            self.not_before
                .store(now.saturating_add(PAUSE), Ordering::Relaxed);
        }
    }
}

impl Default for Adaptive {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Adaptive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Adaptive")
            .field("below", &Duration::from_nanos(self.below))
            .field("mean", &self.mean())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes so many calls, each of which takes so long; returns how many were inline.
    fn calls(site: &Adaptive, count: usize, took: u64, now: u64) -> usize {
        let inline = (0..count).filter(|_| {
            let inline = site.decide(now);
            site.note(took, now);
            inline
        });
        inline.count()
    }

    #[test]
    fn what_is_tiny_is_inline_but_for_the_first_and_every_64th() {
        let site = Adaptive::new();
        assert_eq!(site.mean(), None);
        assert_eq!(calls(&site, 64, 100, 0), 0);
        assert_eq!(site.mean(), Some(Duration::from_nanos(100)));
        assert_eq!(calls(&site, 640, 100, 0), 630);
    }

    #[test]
    fn it_begins_below_the_limit_and_ends_at_twice_as_much() {
        let site = Adaptive::below(Duration::from_micros(1));
        assert_eq!(calls(&site, 65, 1000, 0), 0);
        assert_eq!(calls(&site, 63, 1000, 0), 0, "not below");
        assert!(calls(&site, 128, 900, 0) > 60);
        assert_eq!(calls(&site, 128, 1900, 0), 126, "not twice as much");
        assert!(calls(&site, 128, 2100, 0) < 126);
        assert_eq!(calls(&site, 64, 1900, 0), 0, "and not again before it is below");
    }

    #[test]
    fn one_that_is_far_from_tiny_ends_it_for_a_second() {
        let site = Adaptive::below(Duration::from_micros(1));
        calls(&site, 64, 100, 0);
        site.note(10_000, 5);
        assert!(
            calls(&site, 64, 100, 6) > 0,
            "ten times as much is not more than that"
        );
        site.note(10_001, 7);
        assert_eq!(calls(&site, 64, 100, 1_000_000_006), 0);
        assert_eq!(calls(&site, 64, 100, 1_000_000_007), 63);
    }
}
