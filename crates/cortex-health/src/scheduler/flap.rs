use crate::status::Status;

/// So many changes between results are remembered: of 21 results.
const CHANGES: u32 = 20;

/// Flapping begins at this score and ends at the other.
const ON: f64 = 0.30;
const OFF: f64 = 0.20;

/// The share of results that differ from the one before, the newest of them with the most weight.
#[derive(Clone, Debug, Default)]
pub(super) struct Flap {
    last: Option<Status>,
    /// One bit for each change that could be; the lowest is the newest.
    changes: u32,
    flapping: bool,
}

impl Flap {
    /// Counts a result; `true` if flapping has begun or ended by it.
    pub(super) fn count(&mut self, found: Status) -> bool {
        if let Some(last) = self.last.replace(found) {
            let change = u32::from(last != found);
            self.changes = (self.changes << 1 | change) & ((1 << CHANGES) - 1);
        }
        let score = self.score();
        let before = self.flapping;
        self.flapping = if before { score > OFF } else { score >= ON };
        before != self.flapping
    }

    pub(super) const fn is_flapping(&self) -> bool {
        self.flapping
    }

    /// Returns the score, from 0 (steady) to 1 (other than the last time, every time).
    ///
    /// The weights fall in a line from 1.2 for the newest change to 0.8 for the oldest.
    pub(super) fn score(&self) -> f64 {
        let changed = (0..CHANGES).filter(|&age| self.changes >> age & 1 == 1);
        // In units of 1/190: exact, so that the bounds are met as they are written.
        let sum: u32 = changed.map(|age| 228 - 4 * age).sum();
        f64::from(sum) / f64::from(190 * CHANGES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_other_result_is_the_highest_score() {
        let mut flap = Flap::default();
        for turn in 0..40 {
            flap.count(if turn % 2 == 0 { Status::Up } else { Status::Down });
        }
        assert!((flap.score() - 1.0).abs() < 1e-9);
        assert!(flap.is_flapping());
    }

    #[test]
    fn one_outage_is_no_flapping() {
        let mut flap = Flap::default();
        for found in [Status::Up, Status::Down, Status::Down, Status::Up, Status::Up] {
            assert!(!flap.count(found));
        }
        assert!(flap.score() > 0.1 && !flap.is_flapping());
    }

    #[test]
    fn it_ends_later_than_it_begins() {
        let mut flap = Flap::default();
        let mut scores = Vec::new();
        let mut results = 0;
        while !flap.count(if results % 2 == 0 {
            Status::Up
        } else {
            Status::Degraded
        }) {
            results += 1;
        }
        assert_eq!(results, 6, "six changes, of which five are not enough");
        while flap.is_flapping() {
            flap.count(Status::Up);
            scores.push(flap.score());
        }
        assert!(scores[0] >= 0.3, "{scores:?}");
        let (last, before) = (scores.pop().unwrap(), scores.pop().unwrap());
        assert!(last <= OFF && before > OFF, "{before} {last}");
        assert!(
            scores.iter().any(|&score| score < ON),
            "between the bounds it went on"
        );
    }

    /// The definition word by word, in floating point.
    fn by_the_rule(results: &[Status]) -> f64 {
        let last = &results[results.len().saturating_sub(21)..];
        let ages = last.windows(2).rev().zip(0u32..);
        let changed = ages.filter(|(pair, _)| pair[0] != pair[1]);
        changed
            .map(|(_, age)| 1.2 - 0.4 * f64::from(age) / 19.0)
            .sum::<f64>()
            / 20.0
    }

    proptest! {
        #[test]
        fn the_score_follows_the_rule(
            results in prop::collection::vec(
                prop_oneof![Just(Status::Up), Just(Status::Degraded), Just(Status::Down)], 1..60),
        ) {
            let mut flap = Flap::default();
            let mut flapping = false;
            for end in 1..=results.len() {
                let turned = flap.count(results[end - 1]);
                let score = by_the_rule(&results[..end]);
                prop_assert!((flap.score() - score).abs() < 1e-9);
                prop_assert!((0.0..=1.0 + 1e-9).contains(&score));
                prop_assert_eq!(turned, flap.is_flapping() != flapping);
                flapping = flap.is_flapping();
                prop_assert!(flapping || score < ON + 1e-9);
                prop_assert!(!flapping || score > OFF - 1e-9);
            }
        }
    }
}
