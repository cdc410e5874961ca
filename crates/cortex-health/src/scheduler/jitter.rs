use std::time::Duration;

/// Spreads intervals by up to a tenth to either side, so that replicas don't probe a dependency in step.
#[derive(Clone, Debug)]
pub(crate) struct Jitter {
    state: u64,
}

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn spread(&mut self, interval: Duration) -> Duration {
        // A factor of 900 to 1100 thousandths; 201 does not divide 2^64, which shifts the mean by nothing that matters.
        let thousandths = 900 + self.next() % 201;
        let nanos = interval.as_nanos().saturating_mul(u128::from(thousandths)) / 1000;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// `SplitMix64` (Steele, Lea and Flood, 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_over_a_fifth_and_by_the_seed_alone() {
        let interval = Duration::from_secs(10);
        let draw = |seed| {
            let mut jitter = Jitter::new(seed);
            (0..1000).map(|_| jitter.spread(interval)).collect::<Vec<_>>()
        };
        let drawn = draw(1);
        assert_eq!(drawn, draw(1));
        assert_ne!(drawn, draw(2));
        let (least, most) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
        assert!(
            (Duration::from_secs(9)..Duration::from_millis(9100)).contains(least),
            "{least:?}"
        );
        assert!(
            (Duration::from_millis(10900)..=Duration::from_secs(11)).contains(most),
            "{most:?}"
        );
        let mean = drawn.iter().sum::<Duration>() / 1000;
        assert!(mean.abs_diff(interval) < Duration::from_millis(60), "{mean:?}");
    }

    #[test]
    fn the_longest_interval_does_not_overflow() {
        assert!(Jitter::new(0).spread(Duration::MAX) > Duration::from_hours(1000));
    }
}
