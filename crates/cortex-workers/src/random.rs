use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// How far apart the states of the generator are in a row: the golden ratio, so that all bits change.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Random numbers, the same ones for the same seed (`SplitMix64`): they spread delays, and guard nothing.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// Returns a seed that differs from run to run.
    pub(crate) fn any_seed() -> u64 {
        RandomState::new().hash_one(STEP)
    }

    /// Makes the generator of a thread: those of one seed go different ways.
    pub(crate) fn of_thread(seed: u64, index: usize) -> Self {
        let index = u64::try_from(index).unwrap_or(u64::MAX);
        Self(mix(seed ^ mix(index.wrapping_add(1).wrapping_mul(STEP))))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Returns anything from half of a time to half as much again.
    pub(crate) fn around(&mut self, time: Duration) -> Duration {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let more = (u128::from(nanos) * u128::from(self.next())) >> 64;
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        Duration::from_nanos((nanos / 2).saturating_add(more))
    }
}

const fn mix(mut state: u64) -> u64 {
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_spread_evenly_by_half_and_are_the_same_for_the_same_seed() {
        let times = |index| {
            let mut random = Random::of_thread(7, index);
            let times: Vec<_> = (0..10_000)
                .map(|_| random.around(Duration::from_micros(10)))
                .collect();
            times
        };
        let (first, second) = (times(0), times(1));
        assert_eq!(first, times(0));
        assert_ne!(first, second, "another thread has others");
        for times in [first, second] {
            for tenth in 0..10 {
                let from = Duration::from_micros(5 + tenth);
                let there = times
                    .iter()
                    .filter(|&&time| time >= from && time < from + Duration::from_micros(1));
                assert!((850..1150).contains(&there.count()), "from {from:?}");
            }
        }
        let longest = Random::of_thread(1, 1).around(Duration::MAX);
        assert!(longest >= Duration::from_nanos(u64::MAX / 2));
    }
}
