use std::sync::atomic::{AtomicU64, Ordering};

/// How far apart the seeds of numbers in a row are: the generator makes numbers that go together of seeds that are near.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Random numbers: of each thread's own generator, or the same ones in every run.
#[derive(Debug, Default)]
pub(crate) struct Random {
    seeded: Option<AtomicU64>,
}

impl Random {
    pub(crate) const fn seeded(seed: u64) -> Self {
        Self {
            seeded: Some(AtomicU64::new(seed)),
        }
    }

    /// Returns a number of `0.0..1.0`.
    pub(crate) fn unit(&self) -> f64 {
        match &self.seeded {
            None => fastrand::f64(),
            Some(state) => fastrand::Rng::with_seed(state.fetch_add(STEP, Ordering::Relaxed)).f64(),
        }
    }
}

#[cfg(all(test, not(cortex_loom)))]
mod tests {
    use super::*;

    /// Shares of numbers, of those after a small one, and of every second one.
    #[test]
    fn numbers_in_a_row_are_independent() {
        for random in [Random::seeded(1), Random::seeded(u64::MAX), Random::default()] {
            let pairs: Vec<_> = (0..20_000).map(|_| (random.unit(), random.unit())).collect();
            let few = pairs.iter().filter(|pair| pair.0 < 0.1).count();
            let most = pairs.iter().filter(|pair| pair.1 < 0.9).count();
            let both = pairs.iter().filter(|pair| pair.0 < 0.1 && pair.1 < 0.5).count();
            assert!((1800..2200).contains(&few), "{few}");
            assert!((17_800..18_200).contains(&most), "{most}");
            assert!((850..1150).contains(&both), "{both}");
        }
    }
}
