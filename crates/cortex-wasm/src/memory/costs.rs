use std::time::Duration;

/// How an instance is made new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Way {
    /// Those pages are copied from the image that are known to have changed.
    Pages,
    /// The image is copied, and the rest is zeroed.
    Copy,
    /// What the guest wrote is thrown away, so that the image that lies below shows again.
    Discard,
    /// It is replaced by another instance.
    Reinstantiate,
}

impl Way {
    /// Returns its name, as metrics have it.
    #[expect(dead_code, reason = "used by the statistics")]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Copy => "copy",
            Self::Discard => "discard",
            Self::Reinstantiate => "reinstantiate",
        }
    }
}

/// How long each way took, so that the cheapest is gone.
///
/// An average that follows: what was measured last counts for an eighth. What is not the cheapest is tried again once
/// in 64 times, since a guest may begin to write more, or less.
#[derive(Clone, Debug, Default)]
pub(crate) struct Costs {
    nanos: [Option<u64>; 4],
    chosen: u64,
}

/// A way that isn't the cheapest is tried once in so many times.
const TRIED: u64 = 64;

impl Costs {
    /// Notes how long a way took.
    pub(crate) fn note(&mut self, way: Way, took: Duration) {
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let average = &mut self.nanos[way as usize];
        *average = Some(match *average {
            None => took,
            Some(before) => before - before / 8 + took / 8,
        });
    }

    /// Returns how long a way takes, if it was gone before.
    #[cfg_attr(not(test), expect(dead_code, reason = "used by the statistics"))]
    pub(crate) fn average(&self, way: Way) -> Option<Duration> {
        self.nanos[way as usize].map(Duration::from_nanos)
    }

    /// Chooses one of these ways: one that wasn't tried, else the cheapest, and now and then another one.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub(crate) fn choose(&mut self, ways: &[Way]) -> Way {
        let cost = |way: &Way| self.nanos[*way as usize].unwrap_or(0);
        let cheapest = *ways.iter().min_by_key(|way| cost(way)).expect("there is a way");
        self.chosen += 1;
        let round = self.chosen / TRIED;
        if !self.chosen.is_multiple_of(TRIED) {
            return cheapest;
        }
        let others = ways.iter().filter(|way| **way != cheapest).count() as u64;
        let nth = round
            .checked_rem(others)
            .and_then(|nth| usize::try_from(nth).ok());
        let mut others = ways.iter().filter(|way| **way != cheapest);
        nth.and_then(|nth| others.nth(nth)).copied().unwrap_or(cheapest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAYS: [Way; 3] = [Way::Copy, Way::Discard, Way::Reinstantiate];

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn each_way_is_tried_and_then_the_cheapest_gone() {
        let mut costs = Costs::default();
        for (way, took) in [(Way::Copy, 9), (Way::Discard, 3), (Way::Reinstantiate, 20)] {
            assert_eq!(costs.choose(&WAYS), way);
            costs.note(way, micros(took));
        }
        let chosen: Vec<_> = (3..10 * TRIED - 1).map(|_| costs.choose(&WAYS)).collect();
        let count = |way| chosen.iter().filter(|it| **it == way).count();
        assert_eq!((count(Way::Copy), count(Way::Reinstantiate)), (4, 5));
        assert_eq!(
            costs.choose(&[Way::Copy, Way::Reinstantiate]),
            Way::Reinstantiate,
            "the 640th"
        );
        assert_eq!(costs.choose(&[Way::Copy, Way::Reinstantiate]), Way::Copy);
    }

    #[test]
    fn it_follows_a_guest_that_changes() {
        let mut costs = Costs::default();
        costs.note(Way::Discard, micros(1));
        costs.note(Way::Copy, micros(6));
        costs.note(Way::Reinstantiate, micros(50));
        for _ in 0..8 {
            costs.note(Way::Discard, micros(100));
        }
        assert_eq!(costs.choose(&WAYS), Way::Copy);
        let average = costs.average(Way::Discard).unwrap();
        assert!(average > micros(60) && average < micros(70), "{average:?}");
        assert_eq!(costs.average(Way::Pages), None);
    }
}
