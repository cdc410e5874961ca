use std::collections::{BTreeMap, BTreeSet};

/// The medians of an area's benchmarks, one map for each round.
#[derive(Debug, Default)]
pub(super) struct Results {
    pub(super) rounds: Vec<BTreeMap<String, f64>>,
}

impl Results {
    /// Lists every benchmark that ran.
    pub(super) fn ids(&self) -> BTreeSet<&str> {
        self.rounds
            .iter()
            .flat_map(|round| round.keys().map(String::as_str))
            .collect()
    }

    /// Returns the median of the rounds' medians, or `None` if the benchmark did not run in each of them.
    pub(super) fn median(&self, id: &str) -> Option<f64> {
        median(self.each(id)?)
    }

    /// Returns the median of the rounds' ratios: a round that the machine slowed down slowed down both.
    pub(super) fn ratio(&self, ours: &str, peer: &str) -> Option<f64> {
        let (ours, peer) = (self.each(ours)?, self.each(peer)?);
        median(ours.iter().zip(peer).map(|(ours, peer)| ours / peer).collect())
    }

    fn each(&self, id: &str) -> Option<Vec<f64>> {
        self.rounds.iter().map(|round| round.get(id).copied()).collect()
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(values[middle - 1], upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(rounds: &[&[(&str, f64)]]) -> Results {
        let round = |round: &&[(&str, f64)]| {
            round
                .iter()
                .map(|(id, nanos)| ((*id).to_owned(), *nanos))
                .collect()
        };
        Results {
            rounds: rounds.iter().map(round).collect(),
        }
    }

    #[test]
    fn one_slow_round_changes_nothing() {
        let results = results(&[
            &[("ours", 10.0), ("peer", 20.0)],
            &[("ours", 900.0), ("peer", 1800.0)],
            &[("ours", 11.0), ("peer", 20.0)],
        ]);
        assert_eq!(results.median("ours"), Some(11.0));
        assert_eq!(results.ratio("ours", "peer"), Some(0.5));
        assert_eq!(results.ids().into_iter().collect::<Vec<_>>(), ["ours", "peer"]);
    }

    #[test]
    fn a_benchmark_that_did_not_always_run_has_no_result() {
        let results = results(&[&[("ours", 1.0), ("peer", 1.0)], &[("ours", 1.0)]]);
        assert_eq!(results.median("peer"), None);
        assert_eq!(results.ratio("ours", "peer"), None);
        assert_eq!(results.ratio("ours", "nobody"), None);
        assert_eq!(results.median("ours"), Some(1.0));
        assert_eq!(Results::default().median("ours"), None);
    }
}
