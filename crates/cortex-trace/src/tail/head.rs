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
    /// A rule matches: all its spans are exported.
    Matched(Match),
    /// The sampler keeps it: each span is as the sampler said.
    Sampled,
    /// Nobody keeps it, but for spans below the root that the sampler was asked about as well, and has kept.
    Discard,
}

/// What a match counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Match {
    /// The randomness from which on all such traces are kept; `None` if some may have been lost.
    from: Option<u64>,
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

    pub(super) const fn threshold(&self) -> Option<u64> {
        self.threshold
    }

    /// Returns the threshold of the root after a match.
    pub(super) fn threshold_after(&self, matched: Match) -> Option<Threshold> {
        matched.threshold(self.threshold)
    }

    /// Decides at the end. `rule` is the threshold of the rules that match; `lossless` says that no trace that they may
    /// have matched was lost of late.
    ///
    /// With T for thresholds and R for the randomness, a match keeps where R >= max(`T_rule`, `T_rec`), as only that is
    /// sure to have been recorded, and the sampler keeps where R >= `T_head`: together where R is not below the smaller.
    pub(super) fn verdict(self, rule: Option<u64>, lossless: bool) -> Verdict {
        let rule = rule.map(|rule| rule.max(self.recorded_from));
        if let Some(rule) = rule.filter(|rule| self.randomness >= *rule) {
            return Verdict::Matched(Match {
                from: lossless.then_some(rule),
            });
        }
        if self.is_sampled() {
            Verdict::Sampled
        } else {
            Verdict::Discard
        }
    }
}

impl Match {
    /// Returns the threshold of a span that the sampler keeps from the randomness `sampled` on, [`END`] if never, `None`
    /// if nobody knows.
    pub(super) fn threshold(self, sampled: Option<u64>) -> Option<Threshold> {
        let bits = match (self.from?, sampled) {
            (from, Some(sampled)) => from.min(sampled),
            // Somebody elsewhere may have kept it with any share; what is kept always counts for one all the same.
            (0, None) => 0,
            (_, None) => return None,
        };
        Threshold::from_bits(bits)
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

    /// What the root counts after a match.
    fn matched(head: Head, rule: u64, lossless: bool) -> Option<u64> {
        match head.verdict(Some(rule), lossless) {
            Verdict::Matched(matched) => head.threshold_after(matched).map(Threshold::bits),
            verdict => panic!("{verdict:?}"),
        }
    }

    #[test]
    fn a_kept_error_counts_one_whatever_the_sampler_would_have_kept() {
        let percent = SamplingIntent::Threshold(Threshold::for_probability(0.01).unwrap());
        assert_eq!(matched(head(percent, 5, 0), 0, true), Some(0));
        assert_eq!(matched(head(percent, END - 1, 0), 0, true), Some(0));
        assert_eq!(head(percent, END - 1, 0).verdict(None, true), Verdict::Sampled);
        assert_eq!(head(percent, 5, 0).verdict(None, true), Verdict::Discard);
        assert_eq!(matched(head(SamplingIntent::Never, 5, 0), 0, true), Some(0));
    }

    #[test]
    fn a_caller_that_does_not_tell_its_share_is_counted_only_where_everything_is_kept() {
        for intent in [SamplingIntent::Keep, SamplingIntent::Drop] {
            assert_eq!(matched(head(intent, 9, 0), 0, true), Some(0));
            assert_eq!(matched(head(intent, 9, 1), 0, true), None);
            assert_eq!(matched(head(intent, 9, 0), 1, true), None);
        }
        let verdict = |intent| head(intent, 9, 0).verdict(None, true);
        assert_eq!(verdict(SamplingIntent::Keep), Verdict::Sampled);
        assert_eq!(verdict(SamplingIntent::Drop), Verdict::Discard);
    }

    #[test]
    fn after_losses_a_match_does_not_say_what_it_counts() {
        let all = SamplingIntent::ALWAYS;
        assert_eq!(matched(head(all, 9, 0), 0, false), None);
        assert_eq!(head(all, 9, 0).verdict(None, false), Verdict::Sampled);
    }

    proptest! {
        #[test]
        fn what_is_published_is_exactly_the_bound_between_kept_and_not(
            head_bits in 0..=END, rule in 0..=END, recorded_from in 0..END, randomness in 0..END,
        ) {
            let intent = Threshold::from_bits(head_bits).map_or(SamplingIntent::Never, SamplingIntent::Threshold);
            for rule in [None, Some(rule)] {
                let effective = rule.map_or(head_bits, |rule| head_bits.min(rule.max(recorded_from)));
                let head = head(intent, randomness, recorded_from);
                let published = match head.verdict(rule, true) {
                    Verdict::Matched(matched) => head.threshold_after(matched).map(Threshold::bits),
                    Verdict::Sampled => Some(head_bits),
                    Verdict::Discard => None,
                };
                prop_assert_eq!(published, (randomness >= effective).then_some(effective));
            }
        }
    }
}
