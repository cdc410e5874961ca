use std::collections::BTreeMap;
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::NativeBuckets;
use super::index::Index;
use super::outside::Outside;
use super::snapshot::NativeSnapshot;
use crate::cells::{Block, Shape, Walk};

/// As many buckets as share a block: touched together, since neighbours are.
const PAGE: u32 = 64;

/// Buckets of values from 2^-32 to 2^32 have cells; others, which a histogram of seconds or bytes hardly sees, are
/// counted under a lock.
const OCTAVES: i32 = 32;

/// The buckets of a native histogram.
#[derive(Debug)]
pub(crate) struct Native {
    config: NativeBuckets,
    /// What is greater is neither zero nor subnormal.
    above: f64,
    index: Index,
    positive: Side,
    /// For histograms that take negative values.
    negative: Option<Side>,
}

/// Where a value is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spot {
    Zero,
    Positive(i32),
    Negative(i32),
}

impl Spot {
    /// Returns one of 16 slots for exemplars: neighbours share one.
    #[inline]
    pub(crate) fn slot(self) -> usize {
        match self {
            Self::Zero => 0,
            Self::Positive(bucket) | Self::Negative(bucket) => (bucket >> 3 & 15).cast_unsigned() as usize,
        }
    }
}

#[derive(Debug)]
struct Side {
    /// The first bucket that has cells.
    first: i32,
    pages: Box<[OnceLock<Block>]>,
    outside: Mutex<Outside>,
}

impl Native {
    pub(crate) fn new(config: NativeBuckets, signed: bool) -> Self {
        Self {
            config,
            above: config.threshold().max(f64::MIN_POSITIVE),
            index: Index::new(config.schema()),
            positive: Side::new(&config),
            negative: signed.then(|| Side::new(&config)),
        }
    }

    /// Returns where a finite value belongs.
    #[inline]
    pub(crate) fn spot(&self, value: f64) -> Spot {
        if value.abs() <= self.config.threshold() {
            Spot::Zero
        } else if value > 0.0 {
            Spot::Positive(self.index.of(value))
        } else {
            Spot::Negative(self.index.of(-value))
        }
    }

    /// Counts a value in the short way, if there is one for it, and returns its bucket: for most there is.
    #[inline]
    pub(crate) fn count_usual(&self, value: f64) -> Option<Spot> {
        if value > self.above && value < f64::INFINITY {
            let bucket = self.index.of_normal(value);
            self.positive.count(bucket);
            return Some(Spot::Positive(bucket));
        }
        None
    }

    /// Counts a value that is not zero.
    #[inline]
    pub(crate) fn count(&self, spot: Spot) {
        match (spot, &self.negative) {
            (Spot::Positive(bucket), _) => self.positive.count(bucket),
            (Spot::Negative(bucket), Some(side)) => side.count(bucket),
            (Spot::Zero, _) | (Spot::Negative(_), None) => {}
        }
    }

    /// Whether what was seen of another store can be added here, be it finer or coarser.
    pub(crate) fn is_like(&self, seen: &NativeSnapshot) -> bool {
        self.config.threshold().to_bits() == seen.zero_threshold().to_bits()
    }

    /// Adds what another store has now more than it had before.
    pub(crate) fn absorb(&self, before: Option<&NativeSnapshot>, now: &NativeSnapshot) {
        let now = &now.widened_to(self.config.schema());
        let before = before.map(|before| before.widened_to(now.schema()));
        let shift = self.config.schema().abs_diff(now.schema());
        self.positive.absorb(
            before.as_ref().map_or(&[], NativeSnapshot::positive),
            now.positive(),
            shift,
        );
        if let Some(side) = &self.negative {
            side.absorb(
                before.as_ref().map_or(&[], NativeSnapshot::negative),
                now.negative(),
                shift,
            );
        }
    }

    pub(crate) fn snapshot(&self, walk: &Walk<'_>, zero_count: u64) -> NativeSnapshot {
        let (positive, shift) = self.positive.buckets(walk);
        let negative = self.negative.as_ref().map(|side| side.buckets(walk));
        let (negative, other) = negative.unwrap_or_default();
        NativeSnapshot::new(&self.config, zero_count, [positive, negative], shift.max(other))
    }
}

impl Side {
    fn new(config: &NativeBuckets) -> Self {
        let schema = config.schema();
        let shift = |octaves: i32| match schema {
            0.. => octaves << schema,
            _ => octaves >> -schema,
        };
        let (first, buckets) = (shift(-OCTAVES), shift(2 * OCTAVES) + 1);
        let pages = (0..buckets)
            .step_by(PAGE as usize)
            .map(|_| OnceLock::new())
            .collect();
        Self {
            first,
            pages,
            outside: Mutex::new(Outside::new(config)),
        }
    }

    #[inline]
    fn count(&self, bucket: i32) {
        self.add(bucket, 1);
    }

    #[inline]
    fn add(&self, bucket: i32, n: u64) {
        let at = bucket.wrapping_sub(self.first).cast_unsigned();
        match self.pages.get((at / PAGE) as usize).and_then(OnceLock::get) {
            Some(page) => page.add((at % PAGE) as usize, n),
            None => self.add_slowly(bucket, n),
        }
    }

    /// Adds to a bucket whose page is not there yet, or that has none.
    #[cold]
    #[inline(never)]
    fn add_slowly(&self, bucket: i32, n: u64) {
        let at = bucket.wrapping_sub(self.first).cast_unsigned();
        match self.pages.get((at / PAGE) as usize) {
            Some(page) => {
                let page = page.get_or_init(|| Block::new(Shape::integers(PAGE as usize)));
                page.add((at % PAGE) as usize, n);
            }
            None => self.outside.lock().add(bucket, n),
        }
    }

    /// Adds the difference of buckets that are wider by `shift` schemas; the last narrow one of each takes it.
    fn absorb(&self, before: &[(i32, u64)], now: &[(i32, u64)], shift: u8) {
        let before: BTreeMap<i32, u64> = before.iter().copied().collect();
        for (bucket, count) in now {
            let more = count.wrapping_sub(before.get(bucket).copied().unwrap_or_default());
            if more > 0 {
                self.add(bucket << shift, more);
            }
        }
    }

    /// Returns the buckets that are not empty, in their order, and how many schemas coarser they have to be shown.
    fn buckets(&self, walk: &Walk<'_>) -> (Vec<(i32, u64)>, u8) {
        let (outside, shift) = self.outside.lock().buckets();
        // What is merged ends with the last of its buckets, which may be the first that has cells.
        let (below, above) = outside.split_at(outside.partition_point(|(at, _)| *at <= self.first));
        let mut all = below.to_vec();
        for (first, page) in (self.first..).step_by(PAGE as usize).zip(&self.pages) {
            if let Some(page) = page.get() {
                let mut counts = [0; PAGE as usize];
                page.integers(walk, &mut counts);
                all.extend((first..).zip(counts).filter(|(_, count)| *count > 0));
            }
        }
        all.extend(above);
        all.dedup_by(|(at, count), (before, sum)| {
            let is_same = at == before;
            if is_same {
                *sum += *count;
            }
            is_same
        });
        (all, shift)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cells::walk;

    /// Counts values, and tells what is seen of them and how many buckets outside there are.
    fn counted(config: NativeBuckets, signed: bool, values: &[f64]) -> (NativeSnapshot, usize) {
        let native = Native::new(config, signed);
        let mut zeros = 0;
        for value in values {
            match native.spot(*value) {
                Spot::Zero => zeros += 1,
                spot => native.count(spot),
            }
        }
        let sides = [Some(&native.positive), native.negative.as_ref()];
        let outside = sides.into_iter().flatten().map(|side| side.outside.lock().len());
        (native.snapshot(&walk(), zeros), outside.sum())
    }

    /// What is seen if nothing was merged when it was counted.
    fn expected(config: &NativeBuckets, values: &[f64]) -> NativeSnapshot {
        let index = Index::new(config.schema());
        let side = |sign: f64| {
            let mut buckets = BTreeMap::<i32, u64>::new();
            for value in values.iter().map(|value| value * sign) {
                if value > config.threshold() {
                    *buckets.entry(index.of(value)).or_default() += 1;
                }
            }
            buckets.into_iter().collect()
        };
        let zeros = values.iter().filter(|value| value.abs() <= config.threshold());
        NativeSnapshot::new(config, zeros.count() as u64, [side(1.0), side(-1.0)], 0)
    }

    /// Values all over the range of `f64`, evenly over its bits.
    fn hostile(count: u64) -> Vec<f64> {
        let step = f64::MAX.to_bits() / count;
        (1..=count).map(|n| f64::from_bits(n * step)).collect()
    }

    #[test]
    fn values_that_somebody_makes_up_take_little_memory() {
        let values: Vec<_> = hostile(20_000)
            .into_iter()
            .flat_map(|value| [value, -value])
            .collect();
        for schema in [-4, 3, 8] {
            for max in [1, 160, 1000] {
                let config = NativeBuckets::with_schema(schema).unwrap();
                let config = config.max_buckets(max).zero_threshold(0.0);
                let (seen, outside) = counted(config, true, &values);
                // As many as may be shown, or as there are of the coarsest schema.
                assert!(outside <= 2 * max.max(132), "{outside} at {schema}, {max}");
                assert_eq!(seen.count(), values.len() as u64);
                assert_eq!(seen, expected(&config, &values), "{schema}, {max}");
            }
        }
    }

    #[test]
    fn the_schema_never_becomes_finer() {
        let config = NativeBuckets::with_schema(8).unwrap();
        let native = Native::new(config, false);
        let mut schema = 8;
        for (n, value) in hostile(5_000).into_iter().enumerate() {
            match native.spot(value) {
                Spot::Zero => continue,
                spot => native.count(spot),
            }
            if n % 50 == 0 {
                let seen = native.snapshot(&walk(), 0).schema();
                assert!(seen <= schema, "{seen} after {schema}");
                schema = seen;
            }
        }
        assert!(schema < 1, "{schema}");
    }

    fn anything() -> prop::num::f64::Any {
        use prop::num::f64::{NEGATIVE, NORMAL, POSITIVE, SUBNORMAL, ZERO};
        POSITIVE | NEGATIVE | NORMAL | SUBNORMAL | ZERO
    }

    proptest! {
        #[test]
        fn merging_what_is_outside_shows_no_difference(
            values in prop::collection::vec(anything(), 1..200),
            near in prop::collection::vec(1e-11..1e11_f64, 0..50),
            schema in -4..=8_i8,
            max in 1..60_usize,
        ) {
            let config = NativeBuckets::with_schema(schema).unwrap().max_buckets(max).zero_threshold(0.0);
            let values: Vec<_> = values.into_iter().chain(near).collect();
            let (seen, _) = counted(config, true, &values);
            prop_assert_eq!(seen, expected(&config, &values));
        }
    }
}
