//! What was decided at the start of a local trace, and what that is worth at its end.

use crate::Threshold;
use crate::sampler::{Decision, END, SamplingIntent};

/// The decision at a local root, before a tail looked at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) decision: Decision,
    /// The 56 bits of the sampler's threshold, [`END`] if it keeps nothing; `None` if nobody knows.
    threshold: Option<u64>,
    pub(super) randomness: u64,
    /// The randomness from which on traces are recorded that the sampler has dropped.
    pub(super) recorded_from: u64,
}

/// What becomes of a local trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Keep {
        by_rule: bool,
        /// What all its spans are published with.
        threshold: Option<Threshold>,
    },
    Discard,
}

impl Head {
    pub(crate) const fn new(intent: SamplingIntent, randomness: u64) -> Self {
        Self {
            decision: intent.decide(randomness),
            threshold: match intent {
                SamplingIntent::Threshold(threshold) => Some(threshold.bits()),
                SamplingIntent::Never => Some(END),
                SamplingIntent::Keep | SamplingIntent::Drop => None,
            },
            randomness,
            recorded_from: 0,
        }
    }

    pub(super) const fn is_sampled(&self) -> bool {
        matches!(self.decision, Decision::RecordAndSample { .. })
    }

    /// Decides at the end. `rule` is the threshold of the rules that match; `lossless` says that no trace that they may
    /// have matched was lost of late.
    ///
    /// With T for thresholds and R for the randomness, a match keeps where R >= max(`T_rule`, `T_rec`), as only that is
    /// sure to have been recorded, and the sampler keeps where R >= `T_head`: together where R is not below the smaller.
    pub(super) fn verdict(self, rule: Option<u64>, lossless: bool) -> Verdict {
        let rule = rule.map(|rule| rule.max(self.recorded_from));
        if let Some(rule) = rule.filter(|rule| self.randomness >= *rule) {
            let threshold = match self.threshold {
                _ if !lossless => None,
                Some(head) => Some(head.min(rule)),
                // Somebody elsewhere may have kept it with any share; what is kept always counts for one all the same.
                None => (rule == 0).then_some(0),
            };
            return Verdict::Keep {
                by_rule: true,
                threshold: threshold.and_then(Threshold::from_bits),
            };
        }
        if self.is_sampled() {
            return Verdict::Keep {
                by_rule: false,
                threshold: self.threshold.and_then(Threshold::from_bits),
            };
        }
        Verdict::Discard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn head(intent: SamplingIntent, randomness: u64, recorded_from: u64) -> Head {
        Head {
            recorded_from,
            ..Head::new(intent, randomness)
        }
    }

    fn kept(by_rule: bool, bits: u64) -> Verdict {
        Verdict::Keep {
            by_rule,
            threshold: Threshold::from_bits(bits),
        }
    }

    const UNKNOWN: u64 = END;

    #[test]
    fn a_kept_error_counts_one_whatever_the_sampler_would_have_kept() {
        let percent = SamplingIntent::Threshold(Threshold::for_probability(0.01).unwrap());
        let bits = Threshold::for_probability(0.01).unwrap().bits();
        assert_eq!(head(percent, 5, 0).verdict(Some(0), true), kept(true, 0));
        assert_eq!(head(percent, END - 1, 0).verdict(Some(0), true), kept(true, 0));
        assert_eq!(head(percent, END - 1, 0).verdict(None, true), kept(false, bits));
        assert_eq!(head(percent, 5, 0).verdict(None, true), Verdict::Discard);
        assert_eq!(
            head(SamplingIntent::Never, 5, 0).verdict(Some(0), true),
            kept(true, 0)
        );
    }

    #[test]
    fn a_caller_that_does_not_tell_its_share_is_counted_only_where_everything_is_kept() {
        for intent in [SamplingIntent::Keep, SamplingIntent::Drop] {
            assert_eq!(head(intent, 9, 0).verdict(Some(0), true), kept(true, 0));
            assert_eq!(head(intent, 9, 1).verdict(Some(0), true), kept(true, UNKNOWN));
            assert_eq!(head(intent, 9, 0).verdict(Some(1), true), kept(true, UNKNOWN));
        }
        assert_eq!(
            head(SamplingIntent::Keep, 9, 0).verdict(None, true),
            kept(false, UNKNOWN)
        );
        assert_eq!(
            head(SamplingIntent::Drop, 9, 0).verdict(None, true),
            Verdict::Discard
        );
    }

    #[test]
    fn after_losses_a_match_does_not_say_what_it_counts() {
        let all = SamplingIntent::ALWAYS;
        assert_eq!(head(all, 9, 0).verdict(Some(0), false), kept(true, UNKNOWN));
        assert_eq!(head(all, 9, 0).verdict(None, false), kept(false, 0));
    }

    proptest! {
        #[test]
        fn what_is_published_is_exactly_the_bound_between_kept_and_not(
            head_bits in 0..=END, rule in 0..=END, recorded_from in 0..END, randomness in 0..END,
        ) {
            let intent = Threshold::from_bits(head_bits).map_or(SamplingIntent::Never, SamplingIntent::Threshold);
            for rule in [None, Some(rule)] {
                let effective = rule.map_or(head_bits, |rule| head_bits.min(rule.max(recorded_from)));
                let verdict = head(intent, randomness, recorded_from).verdict(rule, true);
                if randomness >= effective {
                    let Verdict::Keep { threshold, .. } = verdict else { panic!("{verdict:?}") };
                    prop_assert_eq!(threshold.map(Threshold::bits), Some(effective));
                } else {
                    prop_assert_eq!(verdict, Verdict::Discard);
                }
            }
        }
    }
}
