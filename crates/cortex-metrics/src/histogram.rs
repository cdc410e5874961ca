use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cortex_core::Clock;

use crate::gauge::add_f64;
use crate::{Buckets, Timer};

/// How values are distributed: latencies, sizes.
///
/// Clones share the distribution. The count that is exposed is the sum of the buckets, so it equals `+Inf` in every
/// scrape, and no scrape shows a sum without the count that belongs to it.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Buckets, Histogram};
/// use std::time::Duration;
///
/// let latency = Histogram::classic(&Buckets::http_seconds());
/// latency.observe_duration(Duration::from_millis(30));
/// latency.observe(0.02);
/// latency.observe(f64::NAN);
/// assert_eq!(latency.snapshot().count(), 2);
/// assert_eq!(latency.dropped(), 1);
/// ```
#[derive(Clone)]
pub struct Histogram {
    inner: Arc<Inner>,
}

struct Inner {
    buckets: Buckets,
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
    dropped: AtomicU64,
}

impl Histogram {
    /// Makes a histogram that counts into fixed buckets.
    ///
    /// With a negative bound, `OpenMetrics` allows neither sum nor count: they are left out of that format.
    pub fn classic(buckets: &Buckets) -> Self {
        let counts = (0..=buckets.bounds().len()).map(|_| AtomicU64::new(0)).collect();
        Self {
            inner: Arc::new(Inner {
                buckets: buckets.clone(),
                counts,
                sum: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
            }),
        }
    }

    /// Counts one value.
    ///
    /// `NaN` and infinity would stay in the sum for ever, and a negative value would make it fall, which reads as a
    /// restart: all are left out, and [`dropped`](Self::dropped) counts them.
    pub fn observe(&self, value: f64) {
        let inner = &*self.inner;
        if !value.is_finite() || value < 0.0 {
            inner.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // Bucket first, then the sum with Release: whoever reads this sum also reads its bucket (see `snapshot`).
        inner.counts[inner.buckets.index(value)].fetch_add(1, Ordering::Relaxed);
        add_f64(&inner.sum, value, Ordering::Release);
    }

    /// Counts a duration, in seconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    /// Starts a timer that counts its own age, in seconds, when it is dropped.
    pub fn start_timer<C: Clock>(&self, clock: C) -> Timer<C> {
        Timer::start(self.clone(), clock)
    }

    /// Returns what has been counted so far.
    pub fn snapshot(&self) -> HistogramSnapshot {
        let inner = &*self.inner;
        let sum = f64::from_bits(inner.sum.load(Ordering::Acquire));
        let counts = inner
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        HistogramSnapshot {
            buckets: inner.buckets.clone(),
            counts,
            sum,
        }
    }

    /// Returns how many values were left out because they were `NaN` or negative.
    pub fn dropped(&self) -> u64 {
        self.inner.dropped.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot();
        f.debug_struct("Histogram")
            .field("count", &snapshot.count())
            .field("sum", &snapshot.sum())
            .finish_non_exhaustive()
    }
}

/// What a [`Histogram`] had counted at one moment.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Buckets, Histogram};
///
/// let sizes = Histogram::classic(&Buckets::new([10.0, 100.0])?);
/// for size in [1.0, 10.0, 5000.0] {
///     sizes.observe(size);
/// }
/// let snapshot = sizes.snapshot();
/// assert_eq!(snapshot.counts(), [2, 0, 1]);
/// assert_eq!((snapshot.count(), snapshot.sum()), (3, 5011.0));
/// # Ok::<(), cortex_metrics::BucketsError>(())
/// ```
#[derive(Clone, Debug)]
pub struct HistogramSnapshot {
    buckets: Buckets,
    counts: Box<[u64]>,
    sum: f64,
}

impl HistogramSnapshot {
    /// Returns the buckets' finite upper bounds.
    pub fn bounds(&self) -> &[f64] {
        self.buckets.bounds()
    }

    /// Returns the count of each bucket alone, one more than there are bounds; the last is that of `+Inf`.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Returns how many values were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the sum of the values.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    pub(crate) fn tails(&self) -> &[Box<str>] {
        self.buckets.tails()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn values_fall_into_their_buckets() {
        let histogram = Histogram::classic(&Buckets::new([1.0, 2.0]).unwrap());
        for value in [0.0, -0.0, 1.0, 1.5, 2.0, 3.0] {
            histogram.clone().observe(value);
        }
        histogram.observe(f64::NAN);
        histogram.observe(-1e-300);
        histogram.observe(f64::NEG_INFINITY);
        histogram.observe(f64::INFINITY);
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.counts(), [3, 2, 1]);
        assert_eq!(snapshot.bounds(), [1.0, 2.0]);
        assert_eq!(snapshot.sum().to_bits(), 7.5_f64.to_bits());
        assert_eq!(histogram.dropped(), 4);
        assert_eq!(format!("{histogram:?}"), "Histogram { count: 6, sum: 7.5, .. }");
    }

    #[test]
    fn no_snapshot_has_a_sum_without_its_count() {
        let histogram = Histogram::classic(&Buckets::new([0.5]).unwrap());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..20_000).for_each(|_| histogram.observe(1.0))))
                .collect();
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let snapshot = histogram.snapshot();
                    #[expect(clippy::cast_precision_loss, reason = "at most 80,000")]
                    let count = snapshot.count() as f64;
                    assert!(snapshot.sum() <= count, "{snapshot:?}");
                }
            });
            for writer in writers {
                writer.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(histogram.snapshot().counts(), [0, 80_000]);
        assert_eq!(histogram.snapshot().sum().to_bits(), 80_000_f64.to_bits());
    }
}
