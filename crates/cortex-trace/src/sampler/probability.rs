use std::fmt;

use super::{SampleParams, Sampler, SamplingIntent, Threshold};

/// Records a share of all traces, whatever the caller decided, consistently: every service with the same share keeps
/// the same traces, and one with a larger share keeps those and more.
///
/// It compares random bits that the whole trace shares and publishes its [`Threshold`] in `tracestate`. A trace that
/// was started elsewhere with neither the random flag nor an `rv` is judged by whatever its low 56 bits are, which
/// [`SamplingStats`](super::SamplingStats) counts and, with `bridge` or `logs`, one warning tells.
///
/// # Examples
///
/// ```
/// use cortex_trace::{ParentBased, Probability, Tracer};
///
/// let one_percent = ParentBased::root(Probability::new(0.01)?);
/// let tracer = Tracer::builder("shop").sampler(one_percent).build()?;
/// assert!(Probability::new(1.5).is_err());
/// # drop(tracer);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probability {
    /// `None` keeps nothing.
    threshold: Option<Threshold>,
}

impl Probability {
    /// Makes a sampler that keeps the share `probability`: 0 is nothing, 1 everything.
    ///
    /// # Errors
    ///
    /// Not a number from 0 to 1.
    pub fn new(probability: f64) -> Result<Self, InvalidProbability> {
        match Threshold::for_probability(probability) {
            None if probability != 0.0 => Err(InvalidProbability(probability)),
            threshold => Ok(Self { threshold }),
        }
    }

    /// Returns the threshold; `None` keeps nothing.
    pub(crate) const fn threshold(self) -> Option<Threshold> {
        self.threshold
    }
}

impl Sampler for Probability {
    fn intent(&self, _: &SampleParams<'_>) -> SamplingIntent {
        self.threshold
            .map_or(SamplingIntent::Never, SamplingIntent::Threshold)
    }
}

/// Says that a number is no probability.
///
/// # Examples
///
/// ```
/// let error = cortex_trace::Probability::new(-1.0).unwrap_err();
/// assert_eq!(error.to_string(), "use -1 as a probability: it is not between 0 and 1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvalidProbability(f64);

impl fmt::Display for InvalidProbability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "use {} as a probability: it is not between 0 and 1", self.0)
    }
}

impl std::error::Error for InvalidProbability {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::propagation::Remote;
    use crate::{Decision, SpanKind};
    use cortex_core::{Flags, SpanId, TraceId};

    fn with_low_bits(low: u64) -> TraceId {
        TraceId::new(1 << 127 | u128::from(low)).unwrap()
    }

    #[test]
    fn compares_the_rounded_threshold() {
        let tenth = Probability::new(0.1).unwrap();
        let decide = |low| SampleParams::new(with_low_bits(low), "x", SpanKind::Internal).decide(&tenth);
        assert_eq!(decide(0xe6_65ff_ffff_ffff), Decision::Drop);
        let threshold = Threshold::parse("e666");
        assert_eq!(
            decide(0xe6_6600_0000_0000),
            Decision::RecordAndSample { threshold }
        );
        assert_eq!(
            decide(0xff_ffff_ffff_ffff),
            Decision::RecordAndSample { threshold }
        );
    }

    #[test]
    fn zero_is_never_and_one_always() {
        for (probability, low, kept) in [(0.0, u64::MAX >> 8, false), (1.0, 0, true)] {
            let params = SampleParams::new(with_low_bits(low), "x", SpanKind::Internal);
            let decision = params.decide(&Probability::new(probability).unwrap());
            assert_eq!(decision != Decision::Drop, kept);
        }
        for no in [f64::NAN, -0.1, 1.1] {
            assert!(Probability::new(no).is_err());
        }
    }

    #[test]
    fn ignores_the_callers_flag_and_uses_its_rv() {
        let half = Probability::new(0.5).unwrap();
        for (state, kept) in [
            ("ot=rv:80000000000000", true),
            ("ot=rv:7fffffffffffff", false),
            ("", false),
        ] {
            for flags in [Flags::NONE, Flags::SAMPLED] {
                let id = with_low_bits(0);
                let remote = Remote::new(id, SpanId::new(1).unwrap(), flags, state.parse().unwrap());
                let params = SampleParams::new(id, "x", SpanKind::Server).parent(&remote);
                assert_eq!(params.decide(&half) != Decision::Drop, kept, "{state} {flags:?}");
            }
        }
    }
}
