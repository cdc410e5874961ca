use std::fmt;
use std::sync::Arc;

use crate::encode::le;

/// The upper bounds of a histogram's buckets, checked once; clones share them.
///
/// A bound is inclusive, and a last bucket without a bound (`+Inf`) always follows.
///
/// # Examples
///
/// ```
/// use cortex_metrics::Buckets;
///
/// let sizes = Buckets::exponential(256.0, 4.0, 3)?;
/// assert_eq!(sizes.bounds(), [256.0, 1024.0, 4096.0]);
/// assert!(Buckets::new([2.0, 1.0]).is_err());
/// # Ok::<(), cortex_metrics::BucketsError>(())
/// ```
#[derive(Clone)]
pub struct Buckets {
    inner: Arc<Inner>,
}

struct Inner {
    bounds: Box<[f64]>,
    /// The same in order as whole numbers, if they are few, filled up with what no value exceeds; nothing else if they
    /// are many.
    few: [u64; FEW],
    /// `le="…"} ` for each bound and for `+Inf`: what ends the labels of a `_bucket` line.
    tails: Box<[Box<str>]>,
}

/// As many bounds as it is cheaper to compare with all of than to search.
const FEW: usize = 16;

impl Buckets {
    /// The most bounds a histogram may have.
    pub const MAX: usize = 64;

    /// Takes upper bounds in increasing order; a last `+Inf` is implied and may be given.
    ///
    /// # Errors
    ///
    /// There is no finite bound or there are more than [`Buckets::MAX`], one is not a finite number, or one is not
    /// greater than the bound before it.
    pub fn new(bounds: impl IntoIterator<Item = f64>) -> Result<Self, BucketsError> {
        let mut checked: Vec<f64> = Vec::new();
        let mut bounds = bounds.into_iter().peekable();
        while let Some(bound) = bounds.next() {
            if bound == f64::INFINITY && bounds.peek().is_none() {
                break;
            }
            if !bound.is_finite() {
                return Err(BucketsError::NotFinite { bound });
            }
            if let Some(&before) = checked.last()
                && bound <= before
            {
                return Err(BucketsError::NotIncreasing { before, bound });
            }
            if checked.len() == Self::MAX {
                return Err(BucketsError::TooMany);
            }
            checked.push(bound + 0.0); // -0.0 becomes 0.0: two spellings of one bound would be two series
        }
        if checked.is_empty() {
            return Err(BucketsError::Empty);
        }
        Ok(Self::from_checked(checked))
    }

    /// Makes `count` bounds: `start`, then each `factor` times the one before.
    ///
    /// # Errors
    ///
    /// As [`Buckets::new`]: `start` must be positive and `factor` greater than 1.
    pub fn exponential(start: f64, factor: f64, count: usize) -> Result<Self, BucketsError> {
        Self::new(std::iter::successors(Some(start), |bound| Some(bound * factor)).take(count))
    }

    /// Makes `count` bounds: `start`, then each `width` more than the one before.
    ///
    /// # Errors
    ///
    /// As [`Buckets::new`]: `width` must be positive.
    pub fn linear(start: f64, width: f64, count: usize) -> Result<Self, BucketsError> {
        // Multiplied rather than added up, so that 0.1, 0.2, 0.3 do not drift.
        let steps = (0_u32..).map(f64::from).take(count);
        Self::new(steps.map(|step| width.mul_add(step, start)))
    }

    /// Returns the bounds OpenTelemetry advises for the duration of HTTP requests: 5 ms to 10 s.
    pub fn http_seconds() -> Self {
        let bounds = [
            0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
        ];
        Self::from_checked(bounds.into())
    }

    /// Returns the finite upper bounds.
    pub fn bounds(&self) -> &[f64] {
        &self.inner.bounds
    }

    pub(crate) fn tails(&self) -> &[Box<str>] {
        &self.inner.tails
    }

    /// Returns the index of the bucket that `value` falls into.
    #[inline]
    pub(crate) fn index(&self, value: f64) -> usize {
        if self.are_few() {
            return self.index_of_few(value);
        }
        self.inner.bounds.partition_point(|bound| *bound < value)
    }

    /// Whether there is a search without a branch.
    #[inline]
    pub(crate) fn are_few(&self) -> bool {
        self.inner.bounds.len() < FEW
    }

    /// Returns the index of the bucket that `value` falls into if there are few.
    #[inline]
    pub(crate) fn index_of_few(&self, value: f64) -> usize {
        // Without a branch: first which four, then which of them; the last is exceeded by no value. In whole numbers,
        // of which an addition takes the comparison.
        let value = ordered(value);
        let few = &self.inner.few;
        let exceeded = |at: usize| usize::from(few[at % FEW] < value);
        let four = 4 * (exceeded(3) + exceeded(7) + exceeded(11));
        four + exceeded(four) + exceeded(four + 1) + exceeded(four + 2)
    }

    /// Takes bounds that are finite and increase; there may be more than [`MAX`](Self::MAX).
    pub(crate) fn from_checked(bounds: Vec<f64>) -> Self {
        let tail = |bound| format!("le=\"{}\"}} ", le(bound)).into_boxed_str();
        let tails = bounds.iter().copied().chain([f64::INFINITY]).map(tail).collect();
        let mut few = [u64::MAX; FEW];
        if bounds.len() < FEW {
            for (few, bound) in few.iter_mut().zip(&bounds) {
                *few = ordered(*bound + 0.0);
            }
        }
        Self {
            inner: Arc::new(Inner {
                bounds: bounds.into(),
                few,
                tails,
            }),
        }
    }
}

impl fmt::Debug for Buckets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Buckets").field(&self.bounds()).finish()
    }
}

/// Bounds that make no histogram.
///
/// # Examples
///
/// ```
/// use cortex_metrics::{Buckets, BucketsError};
///
/// assert_eq!(Buckets::new([]).unwrap_err(), BucketsError::Empty);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum BucketsError {
    /// There is no finite bound.
    Empty,
    /// There are more than [`Buckets::MAX`] bounds.
    TooMany,
    /// A bound is `NaN` or infinite; only a last `+Inf` is allowed.
    NotFinite {
        /// The bound.
        bound: f64,
    },
    /// A bound is not greater than the one before it.
    NotIncreasing {
        /// The bound before.
        before: f64,
        /// The bound.
        bound: f64,
    },
}

impl fmt::Display for BucketsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("make buckets: ")?;
        match self {
            Self::Empty => f.write_str("there is no finite bound"),
            Self::TooMany => write!(f, "there are more than {} bounds", Buckets::MAX),
            Self::NotFinite { bound } => write!(f, "the bound {bound} is not finite"),
            Self::NotIncreasing { before, bound } => {
                write!(f, "the bound {bound} is not greater than {before} before it")
            }
        }
    }
}

impl std::error::Error for BucketsError {}

/// Returns a number for a float, in the same order.
#[inline]
const fn ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    bits ^ ((bits.cast_signed() >> 63).cast_unsigned() | 1 << 63)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::num::f64::{NEGATIVE, NORMAL, SUBNORMAL, ZERO};
    use proptest::prelude::*;

    #[test]
    fn bounds_are_checked() {
        use BucketsError::{Empty, NotFinite, NotIncreasing, TooMany};
        let error = |bounds: &[f64]| Buckets::new(bounds.iter().copied()).unwrap_err();
        let many: Vec<f64> = (0..65).map(f64::from).collect();
        assert_eq!(error(&[]), Empty);
        assert_eq!(error(&[f64::INFINITY]), Empty);
        assert_eq!(error(&many), TooMany);
        assert!(matches!(error(&[f64::NAN]), NotFinite { .. }));
        let (bound, before) = (f64::NEG_INFINITY, 1.0);
        assert_eq!(error(&[bound]), NotFinite { bound });
        let bound = f64::INFINITY;
        assert_eq!(error(&[1.0, bound, bound]), NotFinite { bound });
        assert_eq!(
            error(&[1.0, 1.0]),
            NotIncreasing {
                before,
                bound: before
            }
        );
        assert_eq!(
            error(&[-0.0, 0.0]),
            NotIncreasing {
                before: 0.0,
                bound: 0.0
            }
        );
    }

    #[test]
    fn a_trailing_infinity_is_implied() {
        let buckets = Buckets::new([-1.0, -0.0, f64::INFINITY]).unwrap();
        assert_eq!(buckets.bounds(), [-1.0, 0.0]);
        assert!(buckets.bounds()[1].is_sign_positive());
        assert_eq!(format!("{buckets:?}"), "Buckets([-1.0, 0.0])");
        assert_eq!(buckets.tails().last().unwrap().as_ref(), "le=\"+Inf\"} ");
        assert_eq!(Buckets::new((0..64).map(f64::from)).unwrap().bounds().len(), 64);
    }

    #[test]
    fn generated_bounds() {
        assert_eq!(Buckets::linear(1.0, 0.5, 3).unwrap().bounds(), [1.0, 1.5, 2.0]);
        assert_eq!(
            Buckets::exponential(1.0, 10.0, 3).unwrap().bounds(),
            [1.0, 10.0, 100.0]
        );
        assert!(Buckets::exponential(1.0, 1.0, 2).is_err());
        assert!(Buckets::exponential(0.0, 2.0, 2).is_err());
        assert!(Buckets::linear(0.0, -1.0, 2).is_err());
        assert_eq!(Buckets::linear(0.0, 1.0, 0).unwrap_err(), BucketsError::Empty);
        assert_eq!(
            Buckets::linear(0.0, 1.0, usize::MAX).unwrap_err(),
            BucketsError::TooMany
        );
        let http = Buckets::http_seconds();
        assert_eq!(
            Buckets::new(http.bounds().iter().copied()).unwrap().bounds(),
            http.bounds()
        );
        assert_eq!((http.bounds()[0], http.bounds()[13]), (0.005, 10.0));
    }

    #[test]
    fn a_bound_is_inclusive() {
        let buckets = Buckets::new([1.0, 2.0]).unwrap();
        let indices = [0.5, 1.0, 1.5, 2.0, 2.5, f64::INFINITY].map(|value| buckets.index(value));
        assert_eq!(indices, [0, 0, 1, 1, 2, 2]);
        for count in [15, 16, 17, 64] {
            let buckets = Buckets::linear(1.0, 1.0, count).unwrap();
            let index = |value: usize| buckets.index(f64::from(u8::try_from(value).unwrap()));
            let indices: Vec<_> = (0..count + 3).map(index).collect();
            let expected: Vec<_> = (0..count + 3)
                .map(|value| value.saturating_sub(1).min(count))
                .collect();
            assert_eq!(indices, expected);
        }
    }

    #[test]
    fn errors_fit_a_sentence() {
        let error = Buckets::new([2.0, 1.0]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "make buckets: the bound 1 is not greater than 2 before it"
        );
        let error = Buckets::new([f64::NAN]).unwrap_err();
        assert_eq!(error.to_string(), "make buckets: the bound NaN is not finite");
        assert_eq!(
            BucketsError::Empty.to_string(),
            "make buckets: there is no finite bound"
        );
        assert_eq!(
            BucketsError::TooMany.to_string(),
            "make buckets: there are more than 64 bounds"
        );
    }

    proptest! {
        #[test]
        fn few_bounds_are_searched_as_many_are(
            mut bounds in prop::collection::vec(NORMAL | NEGATIVE | SUBNORMAL | ZERO, 1..FEW),
            others in prop::collection::vec(NORMAL | NEGATIVE | SUBNORMAL | ZERO, 1..8),
        ) {
            bounds.sort_by(f64::total_cmp);
            bounds.dedup();
            let buckets = Buckets::new(bounds.iter().copied()).unwrap();
            prop_assert!(buckets.are_few());
            for value in bounds.iter().copied().chain(others).chain([0.0, -0.0, f64::MIN, f64::MAX]) {
                let expected = bounds.partition_point(|bound| *bound < value);
                prop_assert_eq!(buckets.index(value), expected, "{} in {:?}", value, bounds);
            }
        }
    }
}
