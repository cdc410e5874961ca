//! How a budget is divided among those who want of it.

/// A division that is max-min fair: who wants little gets all of it, and the others get the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Division {
    /// Everybody gets what it wants, and this is left.
    Enough { left: f64 },
    /// Nobody gets more than this.
    Level(f64),
}

impl Division {
    /// Divides `budget`; sorts the demands.
    pub(super) fn of(budget: f64, demands: &mut [f64]) -> Self {
        demands.sort_unstable_by(f64::total_cmp);
        let mut left = budget;
        let mut others = as_f64(demands.len());
        for demand in demands {
            let level = left / others;
            if *demand > level {
                return Self::Level(level);
            }
            left -= *demand;
            others -= 1.0;
        }
        Self::Enough { left: left.max(0.0) }
    }

    /// Returns what somebody gets who wants so much.
    pub(super) fn share(self, demand: f64) -> f64 {
        match self {
            Self::Enough { .. } => demand,
            Self::Level(level) => demand.min(level),
        }
    }

    /// Returns what somebody who wants so much could get if it wanted more.
    pub(super) fn most(self, demand: f64) -> f64 {
        match self {
            Self::Enough { left } => demand + left,
            Self::Level(level) => level,
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "at most a few hundred")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn who_wants_little_gets_all_of_it() {
        let division = Division::of(100.0, &mut [500.0, 1.0, 9.0, 300.0]);
        assert_eq!(division, Division::Level(45.0));
        let shares = [500.0, 1.0, 9.0, 300.0].map(|demand| division.share(demand));
        assert_eq!(shares, [45.0, 1.0, 9.0, 45.0]);
        assert_eq!(
            Division::of(10.0, &mut [1.0, 2.0]),
            Division::Enough { left: 7.0 }
        );
        assert_eq!(Division::of(10.0, &mut [1.0, 2.0]).most(2.0), 9.0);
        assert_eq!(Division::of(10.0, &mut []), Division::Enough { left: 10.0 });
    }

    proptest! {
        #[test]
        fn a_division_is_max_min_fair(
            budget in 0.0_f64..1000.0,
            demands in proptest::collection::vec(0.0_f64..500.0, 1..40),
        ) {
            let division = Division::of(budget, &mut demands.clone());
            let shares: Vec<_> = demands.iter().map(|demand| division.share(*demand)).collect();
            let (given, wanted): (f64, f64) = (shares.iter().sum(), demands.iter().sum());
            // Nothing is wasted and nothing is invented.
            prop_assert!((given - budget.min(wanted)).abs() < 1e-6, "{} of {} to {}", given, budget, wanted);
            let most = shares.iter().copied().fold(0.0, f64::max);
            for (share, demand) in shares.iter().zip(&demands) {
                prop_assert!(share <= demand);
                // Who gets less than it wants gets as much as anybody.
                prop_assert!(*share >= *demand || (most - share).abs() < 1e-9);
                prop_assert!(division.most(*demand) >= *share);
            }
        }
    }
}
