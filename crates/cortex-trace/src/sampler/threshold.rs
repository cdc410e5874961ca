use std::fmt;
use std::fmt::Write as _;

/// A sampling threshold of 56 bits: a trace is kept if its randomness is not below it.
///
/// Every sampler of a trace compares the same random bits, so a trace that a strict sampler keeps is kept by every
/// laxer one, and whatever each service keeps fits together. Published as `ot=th:..` in `tracestate`.
///
/// # Examples
///
/// ```
/// use cortex_trace::Threshold;
///
/// let one_in_ten = Threshold::for_probability(0.1).ok_or("not a probability")?;
/// assert_eq!(one_in_ten.to_string(), "e666");
/// assert!(one_in_ten.keeps(0xe6_6600_0000_0000) && !one_in_ten.keeps(0xe6_65ff_ffff_ffff));
/// assert!((one_in_ten.adjusted_count() - 10.0).abs() < 0.001);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Threshold(u64);

const BITS: u32 = 56;
const DIGITS: u32 = BITS / 4;
/// One more than the largest randomness.
pub(crate) const END: u64 = 1 << BITS;
const END_F64: f64 = 72_057_594_037_927_936.0;

impl Threshold {
    /// Keeps every trace.
    pub const ALWAYS: Self = Self(0);

    /// Makes the threshold that keeps the share `probability` of all traces: more than 0, at most 1.
    ///
    /// It is rounded to four significant hex digits after the leading `f`s, and [`keeps`](Self::keeps) compares with
    /// the rounded value, so that what is published is what was done. A share below 2^-56 is raised to that.
    pub fn for_probability(probability: f64) -> Option<Self> {
        if !(probability > 0.0 && probability <= 1.0) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 2^56 by the check above; the fraction is what rounding removes"
        )]
        let kept = ((probability * END_F64).round() as u64).max(1);
        Some(Self(round(END - kept)))
    }

    /// Makes the threshold from its 56 bits; `None` if it is one that no trace reaches.
    pub(crate) const fn from_bits(bits: u64) -> Option<Self> {
        if bits < END { Some(Self(bits)) } else { None }
    }

    /// Returns the 56 bits.
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    /// Returns the threshold that keeps half as many traces, at least one randomness.
    pub(super) fn halved(self) -> Self {
        Self(round(END - ((END - self.0) / 2).max(1)))
    }

    /// Reads the value of `th`: 1 to 14 lowercase hex digits.
    pub(super) fn parse(digits: &str) -> Option<Self> {
        let value = super::ot::hex(digits)?;
        let missing = DIGITS.checked_sub(u32::try_from(digits.len()).ok()?)?;
        (!digits.is_empty()).then_some(Self(value << (4 * missing)))
    }

    /// Says whether a trace with this [randomness](crate::SampleParams::randomness) is kept.
    pub const fn keeps(self, randomness: u64) -> bool {
        randomness >= self.0
    }

    /// Returns the share of traces that is kept.
    pub fn probability(self) -> f64 {
        to_f64(END - self.0) / END_F64
    }

    /// Returns how many traces a kept one stands for.
    pub fn adjusted_count(self) -> f64 {
        1.0 / self.probability()
    }
}

impl fmt::Display for Threshold {
    /// Writes the value of `th`: hex digits without trailing zeros, `0` for [`ALWAYS`](Self::ALWAYS).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALWAYS {
            return f.write_char('0');
        }
        let zeros = self.0.trailing_zeros() / 4;
        let width = (DIGITS - zeros) as usize;
        write!(f, "{:0width$x}", self.0 >> (4 * zeros))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a probability is good to 53 bits; no threshold carries more significant ones unless it is tiny and exact"
)]
fn to_f64(value: u64) -> f64 {
    value as f64
}

/// Rounds to four digits after the leading `f`s.
fn round(threshold: u64) -> u64 {
    let leading_ones = (threshold << (u64::BITS - BITS)).leading_ones();
    let digits = (leading_ones / 4 + 4).min(DIGITS);
    let unit = 1_u64 << (4 * (DIGITS - digits));
    // Cannot reach 2^56: the first of the four digits is no `f`, or all fourteen are kept.
    (threshold + unit / 2) / unit * unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_table_of_thresholds() {
        for (probability, th) in [
            (1.0, "0"),
            (0.5, "8"),
            (0.25, "c"),
            (1.0 / 3.0, "aaab"),
            (0.2, "cccd"),
            (0.1, "e666"),
            (0.01, "fd70a"),
            (0.001, "ffbe77"),
            (0.75, "4"),
            (2.0_f64.powi(-56), "ffffffffffffff"),
            (f64::MIN_POSITIVE, "ffffffffffffff"),
            (2.0_f64.powi(-55), "fffffffffffffe"),
        ] {
            let threshold = Threshold::for_probability(probability).unwrap();
            assert_eq!(threshold.to_string(), th, "{probability}");
            assert_eq!(Threshold::parse(th), Some(threshold));
            let error = (threshold.probability() / probability.max(2.0_f64.powi(-56)) - 1.0).abs();
            assert!(error < 0.001, "{probability}: {error}");
        }
    }

    #[test]
    fn only_probabilities_have_a_threshold() {
        for no in [0.0, -0.0, -0.1, 1.000_001, f64::NAN, f64::INFINITY] {
            assert_eq!(Threshold::for_probability(no), None, "{no}");
        }
    }

    #[test]
    fn reads_one_to_fourteen_lowercase_digits() {
        for bad in ["", "E666", "e66g", "+1", "fffffffffffffff", "0x1", " 1"] {
            assert_eq!(Threshold::parse(bad), None, "{bad:?}");
        }
        assert_eq!(Threshold::parse("00"), Some(Threshold::ALWAYS));
        assert_eq!(Threshold::parse("8"), Threshold::parse("80000000000000"));
    }

    proptest! {
        #[test]
        fn reads_back_what_it_writes(value in 0_u64..END) {
            let threshold = Threshold(value);
            prop_assert_eq!(Threshold::parse(&threshold.to_string()), Some(threshold));
        }

        #[test]
        fn keeps_its_share(probability in 0.001_f64..=1.0) {
            // An even grid over all randomness: the kept share is the probability, but for the rounding.
            let threshold = Threshold::for_probability(probability).unwrap();
            let kept = (0..10_000_u64).filter(|step| threshold.keeps(END / 10_000 * step)).count();
            let share = f64::from(u32::try_from(kept).unwrap()) / 10_000.0;
            prop_assert!((share - probability).abs() < 0.001, "{} of {}", share, probability);
        }

        #[test]
        fn a_smaller_share_is_a_part_of_a_larger_one(a in 0.0_f64..1.0, b in 0.0_f64..1.0, randomness in 0..END) {
            let (Some(few), Some(many)) = (
                Threshold::for_probability(a.min(b)), Threshold::for_probability(a.max(b)),
            ) else { return Ok(()) };
            prop_assert!(!few.keeps(randomness) || many.keeps(randomness));
        }
    }
}
