use super::{Decision, Threshold};

/// What a [`Sampler`](super::Sampler) wants, before the randomness of the trace is looked at.
///
/// Samplers are composed of these: whoever combines two works on thresholds, and only the outermost one compares with
/// the [randomness](super::SampleParams::randomness), so that the share that is published is the share that was kept.
///
/// # Examples
///
/// ```
/// use cortex_trace::{Decision, SamplingIntent, Threshold};
///
/// let half = Threshold::for_probability(0.5).ok_or("not a probability")?;
/// let intent = SamplingIntent::Threshold(half);
/// assert_eq!(intent.decide(0), Decision::Drop);
/// assert_eq!(intent.decide(1 << 55), Decision::RecordAndSample { threshold: Some(half) });
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SamplingIntent {
    /// Keep the trace if its randomness is not below the threshold, and publish that.
    Threshold(Threshold),
    /// Keep no such trace, whatever its randomness.
    Never,
    /// Keep the trace; how many it stands for is not known.
    Keep,
    /// Drop the trace; with which probability it would have been kept is not known.
    Drop,
}

impl SamplingIntent {
    /// Keeps every trace, each standing for itself.
    pub const ALWAYS: Self = Self::Threshold(Threshold::ALWAYS);

    /// Compares with the 56 random bits of the trace.
    pub const fn decide(self, randomness: u64) -> Decision {
        match self {
            Self::Threshold(threshold) if threshold.keeps(randomness) => Decision::RecordAndSample {
                threshold: Some(threshold),
            },
            Self::Keep => Decision::RecordAndSample { threshold: None },
            Self::Threshold(_) | Self::Never | Self::Drop => Decision::Drop,
        }
    }
}

impl From<Threshold> for SamplingIntent {
    fn from(threshold: Threshold) -> Self {
        Self::Threshold(threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_threshold_looks_at_the_randomness() {
        let threshold = Threshold::for_probability(0.25);
        let quarter = SamplingIntent::from(threshold.unwrap());
        assert_eq!(quarter.decide((0xc0 << 48) - 1), Decision::Drop);
        assert_eq!(
            quarter.decide(0xc0 << 48),
            Decision::RecordAndSample { threshold }
        );
        for randomness in [0, (1 << 56) - 1] {
            assert_eq!(SamplingIntent::Never.decide(randomness), Decision::Drop);
            assert_eq!(SamplingIntent::Drop.decide(randomness), Decision::Drop);
            let unknown = Decision::RecordAndSample { threshold: None };
            assert_eq!(SamplingIntent::Keep.decide(randomness), unknown);
            let threshold = Some(Threshold::ALWAYS);
            let one = Decision::RecordAndSample { threshold };
            assert_eq!(SamplingIntent::ALWAYS.decide(randomness), one);
        }
    }
}
