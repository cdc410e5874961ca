use super::NativeBuckets;
use super::index::upper_bound;

/// What the native buckets of a [`Histogram`](crate::Histogram) had counted at one moment.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Histogram, NativeBuckets};
///
/// let sizes = Histogram::native(NativeBuckets::with_schema(0)?); // bounds are powers of 2
/// for size in [3.0, 4.0, 5.0] {
///     sizes.observe(size);
/// }
/// let snapshot = sizes.snapshot();
/// let native = snapshot.native().ok_or("it is native")?;
/// assert_eq!(native.positive(), [(2, 2), (3, 1)]); // (2, 4] and (4, 8]
/// assert_eq!((native.upper_bound(2), native.count()), (4.0, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NativeSnapshot {
    schema: i8,
    zero_threshold: f64,
    zero_count: u64,
    positive: Vec<(i32, u64)>,
    negative: Vec<(i32, u64)>,
}

impl NativeSnapshot {
    /// Makes one that is at least so many schemas coarser than its buckets.
    pub(super) fn new(
        config: &NativeBuckets,
        zero_count: u64,
        [positive, negative]: [Vec<(i32, u64)>; 2],
        shift: u8,
    ) -> Self {
        let mut snapshot = Self {
            schema: config.schema(),
            zero_threshold: config.threshold(),
            zero_count,
            positive,
            negative,
        };
        (0..shift).for_each(|_| snapshot.widen());
        // Buckets are only ever added, so the schema never goes up again: a scraper would take that for a restart.
        while snapshot.positive.len() + snapshot.negative.len() > config.max()
            && snapshot.schema > *NativeBuckets::SCHEMAS.start()
        {
            snapshot.widen();
        }
        snapshot
    }

    /// Returns the schema, which is coarser than that of the histogram if there are many buckets.
    pub fn schema(&self) -> i8 {
        self.schema
    }

    /// Returns the distance from zero up to which values count as zero.
    pub fn zero_threshold(&self) -> f64 {
        self.zero_threshold
    }

    /// Returns how many values count as zero.
    pub fn zero_count(&self) -> u64 {
        self.zero_count
    }

    /// Returns the index and count of each bucket of positive values that is not empty, in ascending order.
    pub fn positive(&self) -> &[(i32, u64)] {
        &self.positive
    }

    /// Returns the same for negative values, by their distance from zero.
    pub fn negative(&self) -> &[(i32, u64)] {
        &self.negative
    }

    /// Returns the inclusive upper bound of a bucket of positive values.
    pub fn upper_bound(&self, bucket: i32) -> f64 {
        upper_bound(self.schema, bucket)
    }

    /// Returns how many values were counted.
    pub fn count(&self) -> u64 {
        let buckets = self.positive.iter().chain(&self.negative);
        self.zero_count + buckets.map(|(_, count)| count).sum::<u64>()
    }

    /// Returns it as coarse as another.
    pub(crate) fn widened_to(&self, schema: i8) -> Self {
        let mut wide = self.clone();
        while wide.schema > schema {
            wide.widen();
        }
        wide
    }

    /// Merges each two neighbours.
    fn widen(&mut self) {
        self.schema -= 1;
        for buckets in [&mut self.positive, &mut self.negative] {
            let mut wide: Vec<(i32, u64)> = Vec::with_capacity(buckets.len());
            for (bucket, count) in buckets.drain(..) {
                // (b^(i-1), b^i] lies in (b^2(j-1), b^2j] for j = ceil(i / 2).
                let bucket = (bucket + 1) >> 1;
                match wide.last_mut() {
                    Some((last, sum)) if *last == bucket => *sum += count,
                    _ => wide.push((bucket, count)),
                }
            }
            *buckets = wide;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::index::Index;
    use super::*;

    proptest! {
        #[test]
        fn widening_equals_counting_coarser(values in prop::collection::vec(1e-12..1e12_f64, 1..60), max in 1..40_usize) {
            let buckets = |schema: i8| {
                let mut buckets = std::collections::BTreeMap::<i32, u64>::new();
                for value in &values {
                    *buckets.entry(Index::new(schema).of(*value)).or_default() += 1;
                }
                buckets.into_iter().collect::<Vec<_>>()
            };
            let config = NativeBuckets::default().max_buckets(max);
            let snapshot = NativeSnapshot::new(&config, 2, [buckets(3), Vec::new()], 0);
            prop_assert_eq!(snapshot.positive(), &buckets(snapshot.schema())[..]);
            prop_assert!(snapshot.positive().len() <= max || snapshot.schema() == -4);
            prop_assert_eq!(snapshot.count(), values.len() as u64 + 2);
        }
    }
}
