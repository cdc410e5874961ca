use crate::{Buckets, NativeSnapshot};

/// What a [`Histogram`](crate::Histogram) had counted at one moment.
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
#[derive(Clone, Debug, Default)]
pub struct HistogramSnapshot {
    classic: Option<(Buckets, Box<[u64]>)>,
    native: Option<NativeSnapshot>,
    sum: f64,
    signed: bool,
}

impl HistogramSnapshot {
    pub(crate) fn new(
        classic: Option<(Buckets, Box<[u64]>)>,
        native: Option<NativeSnapshot>,
        sum: f64,
        signed: bool,
    ) -> Self {
        Self {
            classic,
            native,
            sum,
            signed,
        }
    }

    /// Returns the finite upper bounds of the classic buckets.
    pub fn bounds(&self) -> &[f64] {
        self.classic.as_ref().map_or(&[], |(buckets, _)| buckets.bounds())
    }

    /// Returns the count of each classic bucket alone, one more than there are bounds; the last is that of `+Inf`.
    pub fn counts(&self) -> &[u64] {
        self.classic.as_ref().map_or(&[], |(_, counts)| counts)
    }

    /// Returns the native buckets, if the histogram has them.
    pub fn native(&self) -> Option<&NativeSnapshot> {
        self.native.as_ref()
    }

    /// Returns how many values were counted.
    pub fn count(&self) -> u64 {
        match &self.native {
            Some(native) => native.count(),
            None => self.counts().iter().sum(),
        }
    }

    /// Returns the sum of the values, which is infinite if it went beyond the greatest number.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Whether the sum may fall.
    pub(crate) fn is_signed(&self) -> bool {
        self.signed
    }

    pub(crate) fn tails(&self) -> &[Box<str>] {
        self.classic.as_ref().map_or(&[], |(buckets, _)| buckets.tails())
    }
}
