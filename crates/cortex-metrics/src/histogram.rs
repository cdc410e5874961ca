use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use cortex_core::{Clock, Context, SystemClock};

use crate::cells::{Block, Shape, Walk, walk};
use crate::counter::Floor;
use crate::exemplar::{Exemplar, Exemplars, Wanted};
use crate::native::{Native, Spot};
use crate::{Buckets, ExemplarFilter, HistogramSnapshot, NativeBuckets, NativeSnapshot, Timer, order};

/// How values are distributed: latencies, sizes.
///
/// Its buckets are *classic*, whose bounds are chosen beforehand, *native*, which are fine everywhere but which only
/// Prometheus' protobuf format and OTLP can show, or both. Clones share the distribution.
///
/// The count that is exposed is the sum of the buckets, so it equals `+Inf` in every scrape, and no scrape shows a sum
/// without the count that belongs to it. An observation costs less than 10 ns on any number of threads. A sum beyond
/// the greatest number there is becomes infinite, and stays so; the counts do not mind.
///
/// # Panics
///
/// Making one, or the first observation in a range of native buckets, panics if the process has more metrics than fit:
/// 67 million numbers together.
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
    /// The least value that is taken.
    least: f64,
    /// The buckets again if they are few, and classic ones only: then there is a short way.
    few: Option<Buckets>,
    classic: Option<Buckets>,
    native: Option<Native>,
    signed: bool,
    /// Counts of the classic buckets, then that of the native zero bucket; then the sum.
    cells: Block,
    zero: usize,
    sum: usize,
    floor: Floor,
    dropped: AtomicU64,
    created: SystemTime,
    wanted: Wanted,
    exemplars: Option<Exemplars>,
}

impl Histogram {
    /// Makes a histogram that counts into fixed buckets.
    ///
    /// # Panics
    ///
    /// Panics if the process has more metrics than fit: 67 million numbers together.
    pub fn classic(buckets: &Buckets) -> Self {
        Self::builder(buckets).build()
    }

    /// Makes a histogram with native buckets only: the text formats leave it out.
    ///
    /// # Panics
    ///
    /// Panics if the process has more metrics than fit: 67 million numbers together.
    pub fn native(buckets: NativeBuckets) -> Self {
        HistogramBuilder::native_only(buckets).build()
    }

    /// Starts a histogram that counts into fixed buckets and has more to be said about.
    pub fn builder(buckets: &Buckets) -> HistogramBuilder {
        HistogramBuilder {
            classic: Some(buckets.clone()),
            native: None,
            signed: false,
            exemplars: ExemplarFilter::default(),
        }
    }

    /// Counts one value.
    ///
    /// `NaN` and infinity would stay in the sum for ever, and a negative value would make it fall, which reads as a
    /// restart: all are left out, and [`dropped`](Self::dropped) counts them. Negative values are taken by
    /// [`signed`](HistogramBuilder::signed) histograms.
    ///
    /// # Panics
    ///
    /// Panics if it is the first in a range of native buckets, and the process has more metrics than fit: 67 million
    /// numbers together.
    #[inline]
    pub fn observe(&self, value: f64) {
        let inner = &*self.inner;
        let slot = if let Some(few) = &inner.few
            && inner.takes(value)
        {
            let bucket = few.index_of_few(value);
            inner.cells.record(bucket, value);
            bucket
        } else if let Some(slot) = self.record(value) {
            slot
        } else {
            return;
        };
        if inner.wanted.is(&Context::current()) {
            inner.offer(slot, value);
        }
    }

    /// Counts one value on behalf of somebody: its example is of this context's trace, not of the current one's.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_core::{Context, Flags, SpanId, TraceId};
    /// use cortex_metrics::{Buckets, Histogram, Registry};
    ///
    /// let latency = Histogram::classic(&Buckets::http_seconds());
    /// let registry = Registry::default();
    /// registry.register("latency", "Time taken.", latency.clone())?;
    /// let (trace, span) = (TraceId::new(7).ok_or("zero")?, SpanId::new(1).ok_or("zero")?);
    /// latency.observe_in(&Context::new().with_span(trace, span, Flags::SAMPLED), 0.2);
    /// assert!(registry.to_open_metrics().contains("le=\"0.25\"} 1 # {trace_id=\"0000"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn observe_in(&self, context: &Context, value: f64) {
        if let Some(slot) = self.record(value)
            && let Some(exemplars) = &self.inner.exemplars
        {
            exemplars.offer_in(slot, value, context);
        }
    }

    /// Counts one value that shall be the example of its bucket, found again by these labels: an order's number, a
    /// file's name.
    ///
    /// The example is left out, and counted in [`dropped_exemplars`](Self::dropped_exemplars), if the labels' names and
    /// values have more than 128 characters together, or a name is invalid or there twice; the value is counted anyway.
    ///
    /// # Examples
    ///
    /// ```
    /// use cortex_metrics::{Buckets, Histogram, Registry};
    ///
    /// let sizes = Histogram::classic(&Buckets::new([10.0, 100.0])?);
    /// let registry = Registry::default();
    /// registry.register("order_size", "Things in an order.", sizes.clone())?;
    /// sizes.observe_with(70.0, &[("order", "4711")]);
    /// let text = registry.to_open_metrics();
    /// assert!(text.contains("le=\"100.0\"} 1 # {order=\"4711\"} 70.0 "), "{text}");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn observe_with(&self, value: f64, labels: &[(&str, &str)]) {
        if let Some(slot) = self.record(value)
            && let Some(exemplars) = &self.inner.exemplars
        {
            exemplars.offer_labels(slot, value, labels);
        }
    }

    /// Counts a duration, in seconds.
    #[inline]
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    /// Starts a timer that counts its own age, in seconds, when it is dropped.
    pub fn start_timer<C: Clock>(&self, clock: C) -> Timer<C> {
        Timer::start(self.clone(), clock)
    }

    /// Returns what has been counted so far.
    pub fn snapshot(&self) -> HistogramSnapshot {
        self.read(&walk())
    }

    /// Returns how many values were left out because they were negative, infinite or `NaN`.
    pub fn dropped(&self) -> u64 {
        self.inner.dropped.load(Ordering::Relaxed)
    }

    /// Returns how many examples were left out because their labels could not be shown.
    pub fn dropped_exemplars(&self) -> u64 {
        self.inner.exemplars.as_ref().map_or(0, Exemplars::refused)
    }

    /// Counts a value and returns the slot of its exemplar.
    fn record(&self, value: f64) -> Option<usize> {
        let inner = &*self.inner;
        if inner.classic.is_none()
            && let Some(native) = &inner.native
            && let Some(spot) = native.count_usual(value)
        {
            inner.cells.add_float(inner.sum, value);
            return Some(spot.slot());
        }
        self.record_slowly(value)
    }

    #[inline(never)]
    fn record_slowly(&self, value: f64) -> Option<usize> {
        let inner = &*self.inner;
        if !inner.takes(value) {
            inner.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let spot = inner.native.as_ref().map(|native| (native, native.spot(value)));
        match (&inner.classic, spot) {
            (Some(classic), None) => {
                let bucket = classic.index(value);
                inner.cells.record(bucket, value);
                Some(bucket)
            }
            (None, Some((native, spot))) => {
                inner.count(native, spot, value);
                Some(spot.slot())
            }
            (Some(classic), Some((native, spot))) => {
                let bucket = classic.index(value);
                // `read` does it the other way round and so finds at least as many in native buckets.
                order::write(
                    || inner.count_apart(native, spot),
                    || inner.cells.record(bucket, value),
                );
                Some(bucket)
            }
            (None, None) => unreachable!("a builder starts with one of them"),
        }
    }

    pub(crate) fn read(&self, walk: &Walk<'_>) -> HistogramSnapshot {
        let inner = &*self.inner;
        // The sum first: it was written last.
        let sum = inner.cells.float(walk, inner.sum);
        let sum = if inner.signed { sum } else { inner.floor.raise(sum) };
        let (classic, native) = order::read(
            || {
                let mut counts = vec![0; inner.zero];
                inner.cells.integers(walk, &mut counts);
                inner.classic.clone().map(|buckets| (buckets, counts.into()))
            },
            || {
                let native = inner.native.as_ref()?;
                Some(native.snapshot(walk, inner.cells.integer(walk, inner.zero)))
            },
        );
        HistogramSnapshot::new(classic, native, sum, inner.signed)
    }

    pub(crate) fn created(&self) -> SystemTime {
        self.inner.created
    }

    /// Returns exemplars, each with its slot: that of a classic bucket, if there are such.
    pub(crate) fn take_exemplars(&self) -> Vec<(usize, Exemplar)> {
        self.inner
            .exemplars
            .as_ref()
            .map(Exemplars::take)
            .unwrap_or_default()
    }

    /// Adds what another histogram has now more than it had before, and returns how many values it could not take: all
    /// if their buckets differ, because they would fall into wrong ones or none. If the sum went beyond the numbers
    /// there are, it does not tell how far, so it stays as it is.
    pub(crate) fn absorb(&self, other: &Self, before: &HistogramSnapshot, now: &HistogramSnapshot) -> u64 {
        let inner = &*self.inner;
        if Arc::ptr_eq(&self.inner, &other.inner) {
            return 0;
        }
        let more = now.count().wrapping_sub(before.count());
        if !inner.is_like(now) {
            return more;
        }
        order::write(
            || {
                if let (Some(native), Some(now)) = (&inner.native, now.native()) {
                    let zero = before.native().map_or(0, NativeSnapshot::zero_count);
                    inner.cells.add(inner.zero, now.zero_count().wrapping_sub(zero));
                    native.absorb(before.native(), now);
                }
            },
            || {
                for (at, count) in now.counts().iter().enumerate() {
                    let before = before.counts().get(at).copied().unwrap_or_default();
                    if *count != before {
                        inner.cells.add(at, count.wrapping_sub(before));
                    }
                }
            },
        );
        let sum = now.sum() - before.sum();
        if !sum.is_finite() {
            return more;
        }
        inner.cells.add_float(inner.sum, sum);
        0
    }

    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.inner) > 1
    }
}

impl Inner {
    /// Whether what was seen of a histogram can be added here.
    fn is_like(&self, seen: &HistogramSnapshot) -> bool {
        let bounds = self.classic.as_ref().map_or(&[][..], Buckets::bounds);
        let is_native_like = match (&self.native, seen.native()) {
            (Some(native), Some(seen)) => native.is_like(seen),
            (native, seen) => native.is_none() && seen.is_none(),
        };
        self.signed == seen.is_signed() && bounds == seen.bounds() && is_native_like
    }

    #[inline]
    fn takes(&self, value: f64) -> bool {
        value >= self.least && value < f64::INFINITY // false for NaN
    }

    #[inline(never)]
    fn offer(&self, slot: usize, value: f64) {
        if let Some(exemplars) = &self.exemplars {
            exemplars.offer(slot, value);
        }
    }

    #[inline]
    fn count(&self, native: &Native, spot: Spot, value: f64) {
        if let Spot::Zero = spot {
            self.cells.record(self.zero, value);
        } else {
            native.count(spot);
            self.cells.add_float(self.sum, value);
        }
    }

    #[inline]
    fn count_apart(&self, native: &Native, spot: Spot) {
        if let Spot::Zero = spot {
            self.cells.add(self.zero, 1);
        } else {
            native.count(spot);
        }
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

/// Makes a [`Histogram`].
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Buckets, Histogram, NativeBuckets};
///
/// // Fine buckets for those who can read them, coarse ones for everybody else.
/// let both = Histogram::builder(&Buckets::http_seconds()).with_native(NativeBuckets::default()).build();
/// both.observe(0.3);
/// let snapshot = both.snapshot();
/// assert_eq!(snapshot.counts().iter().sum::<u64>(), 1);
/// assert_eq!(snapshot.native().map(|native| native.count()), Some(1));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing until `build`"]
pub struct HistogramBuilder {
    classic: Option<Buckets>,
    native: Option<NativeBuckets>,
    signed: bool,
    exemplars: ExemplarFilter,
}

impl HistogramBuilder {
    /// Starts a histogram with native buckets only: the text formats leave it out.
    pub fn native_only(buckets: NativeBuckets) -> Self {
        Self {
            classic: None,
            native: Some(buckets),
            signed: false,
            exemplars: ExemplarFilter::default(),
        }
    }

    /// Adds native buckets.
    pub fn with_native(self, buckets: NativeBuckets) -> Self {
        let native = Some(buckets);
        Self { native, ..self }
    }

    /// Takes negative values, too, as a histogram does by itself that has a negative bound. The sum may fall then, so
    /// that `OpenMetrics` shows neither it nor the count.
    pub fn signed(self) -> Self {
        let signed = true;
        Self { signed, ..self }
    }

    /// Says whose traces are kept as examples: those that are sampled, unless told otherwise.
    pub fn exemplars(self, exemplars: ExemplarFilter) -> Self {
        Self { exemplars, ..self }
    }

    /// Makes the histogram.
    ///
    /// # Panics
    ///
    /// Panics if the process has more metrics than fit: 67 million numbers together.
    pub fn build(self) -> Histogram {
        let classic = self
            .classic
            .as_ref()
            .map_or(0, |buckets| buckets.bounds().len() + 1);
        let integers = classic + usize::from(self.native.is_some());
        let cells = Block::new(Shape::sum_and(integers));
        let has_negative = |buckets: &Buckets| buckets.bounds()[0] < 0.0;
        let signed = self.signed || self.classic.as_ref().is_some_and(has_negative);
        let is_alone = |buckets: &&Buckets| buckets.are_few() && self.native.is_none();
        Histogram {
            inner: Arc::new(Inner {
                least: if signed { f64::MIN } else { 0.0 },
                few: self.classic.as_ref().filter(is_alone).cloned(),
                classic: self.classic,
                native: self.native.map(|config| Native::new(config, signed)),
                signed,
                cells,
                zero: classic,
                sum: integers,
                floor: Floor::default(),
                dropped: AtomicU64::new(0),
                created: SystemClock.wall(),
                wanted: Wanted::by(self.exemplars),
                exemplars: Exemplars::new(self.exemplars),
            }),
        }
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
    fn signed_histograms_take_negative_values() {
        let buckets = Buckets::new([-1.0, 1.0]).unwrap();
        let histogram = Histogram::builder(&buckets)
            .with_native(NativeBuckets::with_schema(0).unwrap())
            .signed()
            .build();
        for value in [-4.0, -1.0, 0.5, 8.0, f64::NEG_INFINITY, f64::MIN] {
            histogram.observe(value);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.counts(), [3, 1, 1]);
        assert_eq!(histogram.dropped(), 1);
        let native = snapshot.native().unwrap();
        assert_eq!(native.negative(), [(0, 1), (2, 1), (1024, 1)]);
        assert_eq!(native.positive(), [(-1, 1), (3, 1)]);
    }

    #[test]
    fn native_buckets_reach_from_the_smallest_to_the_greatest_number() {
        let config = NativeBuckets::with_schema(0).unwrap().zero_threshold(0.0);
        let histogram = Histogram::native(config);
        for value in [0.0, -0.0, f64::from_bits(1), 1e-300, 1.0, 1e300, f64::MAX] {
            histogram.observe(value);
        }
        let snapshot = histogram.snapshot();
        let native = snapshot.native().unwrap();
        assert_eq!(native.zero_count(), 2);
        assert_eq!(
            native.positive(),
            [(-1074, 1), (-996, 1), (0, 1), (997, 1), (1024, 1)]
        );
        assert_eq!((snapshot.count(), snapshot.counts()), (7, &[][..]));
    }

    #[test]
    fn no_snapshot_has_a_sum_without_its_count() {
        let histogram = Histogram::builder(&Buckets::new([0.5]).unwrap())
            .with_native(NativeBuckets::default())
            .build();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..20_000).for_each(|_| histogram.observe(1.0))))
                .collect();
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let snapshot = histogram.snapshot();
                    let classic: u64 = snapshot.counts().iter().sum();
                    #[expect(clippy::cast_precision_loss, reason = "at most 80,000")]
                    let count = classic as f64;
                    assert!(
                        snapshot.sum() <= count && classic <= snapshot.count(),
                        "{snapshot:?}"
                    );
                }
            });
            for writer in writers {
                writer.join().unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
        assert_eq!(histogram.snapshot().counts(), [0, 80_000]);
        assert_eq!(histogram.snapshot().count(), 80_000);
        assert_eq!(histogram.snapshot().sum().to_bits(), 80_000_f64.to_bits());
    }

    #[test]
    fn absorbing_adds_the_difference() {
        let make = || {
            Histogram::builder(&Buckets::new([1.0]).unwrap())
                .with_native(NativeBuckets::default())
                .build()
        };
        let (one, all) = (make(), make());
        one.observe(0.5);
        let before = one.snapshot();
        one.observe(0.0);
        one.observe(7.0);
        assert_eq!(all.absorb(&one, &before, &one.snapshot()), 0);
        let snapshot = all.snapshot();
        assert_eq!((snapshot.counts(), snapshot.count()), (&[1, 1][..], 2));
        assert_eq!(snapshot.sum().to_bits(), 7.0_f64.to_bits());
        assert_eq!(all.absorb(&one, &HistogramSnapshot::default(), &before), 0);
        assert_eq!(all.snapshot().count(), 3);
    }

    #[test]
    fn absorbing_other_native_buckets_counts_in_ones_own() {
        let make = |schema| {
            let config = NativeBuckets::with_schema(schema).unwrap();
            HistogramBuilder::native_only(config).signed().build()
        };
        let observe = |histogram: &Histogram| {
            for value in [-3.0, 0.0, 1.5, 1.6, 1.7, 900.0] {
                histogram.observe(value);
            }
        };
        for schema in [-4, 0, 3, 8] {
            let one = make(schema);
            observe(&one);
            let before = one.snapshot();
            observe(&one);
            let (all, expected) = (make(3), make(3.min(schema)));
            observe(&expected);
            assert_eq!(all.absorb(&one, &before, &one.snapshot()), 0);
            let (all, expected) = (all.snapshot(), expected.snapshot());
            // Of wider buckets, the last narrow one in each takes all, so that it is in the wide one as before.
            let all = all.native().unwrap().widened_to(3.min(schema));
            let expected = expected.native().unwrap();
            assert_eq!(&all, expected, "{schema}");
        }
        let (one, all) = (
            make(3),
            HistogramBuilder::native_only(NativeBuckets::default().zero_threshold(1.0)),
        );
        let all = all.signed().build();
        one.observe(0.5);
        assert_eq!(
            all.absorb(&one, &HistogramSnapshot::default(), &one.snapshot()),
            1
        );
        assert_eq!(all.snapshot().count(), 0);
    }
}
