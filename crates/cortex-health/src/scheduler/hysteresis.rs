use crate::status::Status;

/// Turns what runs found into a status that does not flicker.
///
/// Getting worse takes `fall` results in a row at the new level or worse, getting better `rise` in a row at the new
/// level or better. The first result after [`Status::Unknown`] counts at once.
#[derive(Clone, Debug)]
pub(crate) struct Hysteresis {
    fall: u32,
    rise: u32,
    status: Status,
    last: Status,
    /// Results in a row at this level or worse: degraded, down.
    worse: [u32; 2],
    /// Results in a row at this level or better: up, degraded.
    better: [u32; 2],
}

impl Hysteresis {
    pub(crate) const fn new(fall: u32, rise: u32) -> Self {
        Self {
            fall,
            rise,
            status: Status::Unknown,
            last: Status::Unknown,
            worse: [0; 2],
            better: [0; 2],
        }
    }

    pub(crate) const fn status(&self) -> Status {
        self.status
    }

    /// Returns the last result.
    pub(crate) const fn last(&self) -> Status {
        self.last
    }

    /// Says whether the last result differs from the status: the next one is worth hurrying for.
    pub(crate) fn is_pending(&self) -> bool {
        self.last != self.status
    }

    /// Counts a result and returns the status.
    pub(crate) fn count(&mut self, found: Status) -> Status {
        let rank = found.rank();
        for (level, streak) in (1..).zip(&mut self.worse) {
            *streak = if rank >= level {
                streak.saturating_add(1)
            } else {
                0
            };
        }
        for (level, streak) in (0..).zip(&mut self.better) {
            *streak = if rank <= level {
                streak.saturating_add(1)
            } else {
                0
            };
        }
        self.last = found;
        self.status = match self.status {
            Status::Unknown => found,
            Status::Up | Status::Degraded if self.worse[1] >= self.fall => Status::Down,
            Status::Up if self.worse[0] >= self.fall => Status::Degraded,
            Status::Down | Status::Degraded if self.better[0] >= self.rise => Status::Up,
            Status::Down if self.better[1] >= self.rise => Status::Degraded,
            same => same,
        };
        self.status
    }

    /// Says whether the last results were failures, so many of them.
    pub(crate) const fn is_down_for(&self, results: u32) -> bool {
        self.worse[1] >= results
    }

    /// Forgets all results.
    pub(crate) fn forget(&mut self) {
        *self = Self::new(self.fall, self.rise);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule word by word: the best of the last `fall` results, or the worst of the last `rise`.
    pub(in super::super) fn by_the_rule(results: &[Status], fall: usize, rise: usize) -> Status {
        let mut status = results[0];
        for end in 2..=results.len() {
            let ranks = |count: usize| {
                results[end.saturating_sub(count)..end]
                    .iter()
                    .map(|found| found.rank())
            };
            let level = |rank| [Status::Up, Status::Degraded, Status::Down][usize::from(rank)];
            let (best, worst) = (ranks(fall).min().unwrap(), ranks(rise).max().unwrap());
            if end >= fall && best > status.rank() {
                status = level(best);
            } else if end >= rise && worst < status.rank() {
                status = level(worst);
            }
        }
        status
    }

    fn found() -> impl Strategy<Value = Status> {
        prop_oneof![Just(Status::Up), Just(Status::Degraded), Just(Status::Down)]
    }

    proptest! {
        #[test]
        fn follows_the_rule(
            results in prop::collection::vec(found(), 1..40),
            fall in 1u32..5,
            rise in 1u32..5,
        ) {
            let mut hysteresis = Hysteresis::new(fall, rise);
            for end in 1..=results.len() {
                let status = hysteresis.count(results[end - 1]);
                prop_assert_eq!(status, by_the_rule(&results[..end], fall as usize, rise as usize));
                prop_assert_eq!(hysteresis.is_pending(), status != results[end - 1]);
            }
        }
    }

    #[test]
    fn after_unknown_the_first_result_counts() {
        let mut hysteresis = Hysteresis::new(3, 3);
        assert_eq!(hysteresis.count(Status::Down), Status::Down);
        assert_eq!(hysteresis.count(Status::Up), Status::Down);
        hysteresis.forget();
        assert!(hysteresis.status() == Status::Unknown && !hysteresis.is_pending());
        assert_eq!(hysteresis.count(Status::Up), Status::Up);
    }
}
