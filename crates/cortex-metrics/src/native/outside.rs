use std::collections::BTreeMap;

use super::NativeBuckets;

/// The buckets that have no cells: few are used, unless somebody makes up values.
///
/// When there are more of them than may be shown, each two are merged. A scrape, which sees these and others, would have
/// to merge as many, so it shows what it would without.
#[derive(Debug)]
pub(super) struct Outside {
    counts: BTreeMap<i32, u64>,
    /// How many schemas coarser they are than those that have cells.
    shift: u8,
    /// How many that may be.
    max_shift: u8,
    max_buckets: usize,
}

impl Outside {
    pub(super) fn new(config: &NativeBuckets) -> Self {
        Self {
            counts: BTreeMap::new(),
            shift: 0,
            max_shift: config.schema().abs_diff(*NativeBuckets::SCHEMAS.start()),
            max_buckets: config.max(),
        }
    }

    pub(super) fn add(&mut self, bucket: i32, n: u64) {
        *self.counts.entry(wide(bucket, self.shift)).or_default() += n;
        while self.counts.len() > self.max_buckets && self.shift < self.max_shift {
            self.shift += 1;
            for (bucket, n) in std::mem::take(&mut self.counts) {
                *self.counts.entry(wide(bucket, 1)).or_default() += n;
            }
        }
    }

    /// Returns the buckets, each by the last of those that were merged in it, and how many schemas coarser they are.
    pub(super) fn buckets(&self) -> (Vec<(i32, u64)>, u8) {
        let counts = self.counts.iter();
        let buckets = counts.map(|(bucket, n)| (bucket << self.shift, *n));
        (buckets.collect(), self.shift)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.counts.len()
    }
}

/// Returns the bucket that has a bucket in it, so many schemas coarser.
fn wide(bucket: i32, shift: u8) -> i32 {
    // (b^(i-1), b^i] lies in (b^2(j-1), b^2j] for j = ceil(i / 2).
    (bucket + (1 << shift) - 1) >> shift
}
