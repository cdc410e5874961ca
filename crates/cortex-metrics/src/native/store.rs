use std::collections::BTreeMap;
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::NativeBuckets;
use super::index::Index;
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
    outside: Mutex<BTreeMap<i32, u64>>,
}

impl Native {
    pub(crate) fn new(config: NativeBuckets, signed: bool) -> Self {
        Self {
            config,
            above: config.threshold().max(f64::MIN_POSITIVE),
            index: Index::new(config.schema()),
            positive: Side::new(config.schema()),
            negative: signed.then(|| Side::new(config.schema())),
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
        let positive = self.positive.buckets(walk);
        let negative = self.negative.as_ref().map(|side| side.buckets(walk));
        NativeSnapshot::new(&self.config, zero_count, positive, negative.unwrap_or_default())
    }
}

impl Side {
    fn new(schema: i8) -> Self {
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
            outside: Mutex::default(),
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
            None => *self.outside.lock().entry(bucket).or_default() += n,
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

    /// Returns the buckets that are not empty, in their order.
    fn buckets(&self, walk: &Walk<'_>) -> Vec<(i32, u64)> {
        let outside = self.outside.lock();
        let mut all: Vec<(i32, u64)> = outside.range(..self.first).map(|(at, n)| (*at, *n)).collect();
        for (first, page) in (self.first..).step_by(PAGE as usize).zip(&self.pages) {
            if let Some(page) = page.get() {
                let mut counts = [0; PAGE as usize];
                page.integers(walk, &mut counts);
                all.extend((first..).zip(counts).filter(|(_, count)| *count > 0));
            }
        }
        all.extend(outside.range(self.first..).map(|(at, n)| (*at, *n)));
        all
    }
}
